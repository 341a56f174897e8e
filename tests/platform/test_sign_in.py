"""Signing in and up: who gets an account, what is counted and refused, what a new password ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.contrib.auth.models import User
from django.core import mail
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, RequestFactory

from crucible.accounts.addresses import client_address
from crucible.accounts.models import Invitation
from crucible.accounts.services import token_create
from crucible.roles.models import Act
from crucible.roles.services import rights_of

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]
PASSWORD, NEW = "a long passphrase", "another long passphrase"


@pytest.fixture(autouse=True)
def _quick(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def mailing(settings):
    """A site that sends mail, kept in `mail.outbox`."""
    settings.EMAIL_HOST = "smtp.invalid"
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    settings.ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]


def log_in(client: Client, name: str, password: str = PASSWORD, **where: str):
    return client.post("/login/", {"login": name, "password": password}, **where)


def signed_in(client: Client) -> bool:
    return client.get("/account/").status_code == 200


def sign_up(client: Client, name: str = "carol", email: str = "carol@example.org"):
    fields = {"username": name, "email": email, "password1": PASSWORD, "password2": PASSWORD}
    return client.post("/signup/", fields)


def printed(*command: str) -> str:
    out = StringIO()
    call_command(*command, stdout=out)
    return out.getvalue().strip()


def path_of(link: str) -> str:
    assert link.startswith("http://127.0.0.1:8000/")
    return link.removeprefix("http://127.0.0.1:8000")


# -- attempts --------------------------------------------------------------------------------------
def test_five_wrong_passwords_lock_the_account_and_no_other(alice, bob):
    for _ in range(5):
        assert "not correct" in log_in(Client(), "alice", "wrong").text
    client = Client()
    assert "Too many failed login attempts" in log_in(client, "alice").text
    assert not signed_in(client)
    assert log_in(client, "bob").status_code == 302


def test_the_lock_counts_the_account_however_host_port_and_address_vary(alice, settings):
    for n in range(5):
        where = {"headers": {"host": f"127.0.0.1:{n + 1}"}, "REMOTE_ADDR": f"10.0.0.{n}"}
        log_in(Client(), "alice", "wrong", **where)
    client = Client()
    log_in(client, "alice", headers={"host": "localhost"}, REMOTE_ADDR="10.0.0.99")
    assert not signed_in(client)


def test_many_wrong_names_from_one_address_are_stopped_and_from_others_not(alice):
    for n in range(30):
        log_in(Client(), f"nobody{n}", "wrong", REMOTE_ADDR="10.1.0.1")
    here, elsewhere = Client(), Client()
    assert "Too many failed" in log_in(here, "alice", REMOTE_ADDR="10.1.0.1").text
    assert log_in(elsewhere, "alice", REMOTE_ADDR="10.1.0.2").status_code == 302


def test_attempts_are_counted_for_all_processes_together(alice):
    """In a table: a cache in a process's memory would give each process its own five attempts."""
    log_in(Client(), "alice", "wrong")
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from site_cache where cache_key like '%%login_failed%%'")
        assert cursor.fetchone()[0] == 2  # the address, the account
    assert type(caches["default"]).__name__ == "DatabaseCache"


def test_the_admin_has_no_door_of_its_own(staff):
    answer = Client().post("/admin/login/", {"username": "staff", "password": PASSWORD})
    assert answer.url.startswith("/login/?next=")
    client = Client()
    log_in(client, "staff")
    assert client.get("/admin/").status_code == 200
    assert client.get("/admin/password_change/").url == "/password/change/"


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "address"),
    [
        ([], "10.0.0.1", "1.2.3.4", "10.0.0.1"),  # nobody is trusted: the header is the client's
        (["10.0.0.0/8"], "10.0.0.1", "1.2.3.4", "1.2.3.4"),
        (["10.0.0.0/8"], "10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),  # what the client put first
        (["10.0.0.0/8"], "10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),  # two proxies
        (["10.0.0.0/8"], "10.0.0.1", "nonsense", "10.0.0.1"),
        (["10.0.0.0/8"], "10.0.0.1", "", "10.0.0.1"),
        (["10.0.0.0/8"], "9.9.9.9", "1.2.3.4", "9.9.9.9"),
        (["::1"], "::1", "2001:db8::7", "2001:db8::7"),
        (["127.0.0.1"], "::ffff:127.0.0.1", "1.2.3.4", "1.2.3.4"),
        ([], "", "1.2.3.4", "0.0.0.0"),
    ],
)
def test_a_client_cannot_choose_its_address(settings, proxies, peer, forwarded, address):
    settings.CRUCIBLE_PROXIES = proxies
    request = RequestFactory().get("/", REMOTE_ADDR=peer, headers={"X-Forwarded-For": forwarded})
    assert client_address(request) == address


# -- signing up ------------------------------------------------------------------------------------
def test_without_an_invitation_nobody_signs_up(client, settings):
    for how in ("invitation", "closed"):
        settings.CRUCIBLE_SIGN_UP = how
        assert "needs an invitation" in client.get("/signup/").text
        sign_up(client)
        assert not User.objects.filter(username="carol").exists()


def test_an_invitation_is_for_one_account(settings):
    link = path_of(printed("invite", "Carol of the summer school"))
    assert str(Invitation.objects.values().get()).find(link.split("/")[2]) == -1  # only its hash
    first, second = Client(), Client()
    for visitor in (first, second):  # both hold the link, both open the form
        assert visitor.get(link, follow=True).redirect_chain[-1][0] == "/signup/"
    assert sign_up(first).url == "/submissions/"
    assert signed_in(first)
    used = Invitation.objects.get()
    assert used.used_by == User.objects.get(username="carol")
    assert rights_of(used.used_by) == {"participant"}
    act = Act.objects.get()
    assert (act.actor, act.what, act.about) == (None, "added", f"invitation {used.pk}")
    assert "needs an invitation" in sign_up(second, "dave", "dave@example.org").text
    assert not User.objects.filter(username="dave").exists()
    assert Client().get(link).status_code == 404


def test_of_two_who_use_an_invitation_at_once_one_gets_an_account(rf, monkeypatch):
    link = path_of(printed("invite"))
    client = Client()
    client.get(link)
    monkeypatch.setattr("crucible.accounts.adapters.may_sign_up", lambda request: True)
    Invitation.objects.update(used_at="2026-01-01T00:00Z")  # the other was quicker
    assert sign_up(client).status_code == 403
    assert not User.objects.exists()


def test_invitations_end_and_are_not_made_for_a_closed_site(client, settings):
    link = path_of(printed("invite", "--days", "0.0000001"))
    assert client.get(link).status_code == 404
    settings.CRUCIBLE_SIGN_UP = "closed"
    with pytest.raises(CommandError, match="closed"):
        printed("invite")


def test_names_of_the_site_and_look_alikes_are_refused(client, settings):
    settings.CRUCIBLE_SIGN_UP = "open"
    User.objects.create_user("alice")
    for name in ("crucible", "Forgotten-7", "ALICE", "аlice"):  # the last one is Cyrillic
        answer = sign_up(client, name)
        assert answer.status_code == 200, name
    assert User.objects.count() == 1


def test_who_signs_up_is_told_of_a_lookalike(client, settings, caplog):
    settings.CRUCIBLE_SIGN_UP, settings.ACCOUNT_EMAIL_VERIFICATION = "open", "none"
    User.objects.create_user("alice")
    sign_up(client, "a1ice")
    assert "Your name looks like the user alice" in client.get("/submissions/").text
    assert "looks like that of alice" in caplog.text
    client.logout()
    sign_up(client, "dave", "dave@example.org")
    assert "looks like" not in client.get("/submissions/").text


def test_who_signs_up_confirms_the_address_before_signing_in(client, settings, mailing):
    settings.CRUCIBLE_SIGN_UP = "open"
    sign_up(client)
    assert not signed_in(client)
    log_in(client, "carol")
    assert not signed_in(client)
    assert mail.outbox[0].to == ["carol@example.org"]
    link = re.search(r"http://\S+", mail.outbox[0].body).group()
    page = client.get(path_of(link))
    assert "carol@example.org" in page.text
    assert not EmailAddress.objects.get().verified  # a scanner of mails opens links too
    client.post(path_of(link))
    log_in(client, "carol")
    assert signed_in(client)


def test_accounts_that_an_organiser_made_wait_for_no_mail(client, mailing):
    User.objects.create_user("erin", "erin@example.org", PASSWORD)
    log_in(client, "erin")
    assert signed_in(client)
    client.get("/email/")  # from here on the address is one that waits
    again = Client()
    log_in(again, "erin")
    assert signed_in(again)


def test_an_address_that_has_an_account_is_not_told_to_others(client, settings, mailing):
    settings.CRUCIBLE_SIGN_UP = "open"
    sign_up(client)
    answers = [sign_up(Client(), "mallory", "carol@example.org"),
               sign_up(Client(), "trent", "trent@example.org")]  # fmt: skip
    assert answers[0].url == answers[1].url == "/confirm-email/"
    assert not User.objects.filter(username="mallory").exists()


# -- links: by mail, or from the organiser's hand --------------------------------------------------
def test_a_forgotten_password_by_mail_names_the_site_and_not_the_host_of_the_request(
    client, alice, mailing
):
    alice.email = "alice@example.org"
    alice.save()
    client.post("/password/reset/", {"email": alice.email}, headers={"host": "localhost:666"})
    link = re.search(r"http://\S+", mail.outbox[0].body).group()
    assert "666" not in mail.outbox[0].body
    form = client.get(path_of(link), follow=True)
    client.post(form.redirect_chain[-1][0], {"password1": NEW, "password2": NEW})
    assert log_in(client, "alice", NEW).status_code == 302
    assert "used already" in Client().get(path_of(link), follow=True).text


def test_strangers_get_no_mail_and_learn_nothing(client, alice, mailing):
    alice.email = "alice@example.org"
    alice.save()
    answers = [client.post("/password/reset/", {"email": email}).url
               for email in ("nobody@example.org", "alice@example.org")]  # fmt: skip
    assert answers[0] == answers[1]
    assert [message.to for message in mail.outbox] == [["alice@example.org"]]


def test_a_mail_server_that_is_away_costs_a_line_of_the_log(
    client, alice, mailing, monkeypatch, caplog
):
    def away(self, **kwargs):
        raise ConnectionRefusedError("no route")

    monkeypatch.setattr("django.core.mail.EmailMessage.send", away)
    alice.email = "alice@example.org"
    alice.save()
    assert client.post("/password/reset/", {"email": alice.email}).status_code == 302
    assert "was not sent: no route" in caplog.text


def test_an_organiser_hands_out_a_link_for_a_password(client, alice):
    for _ in range(6):
        log_in(client, "alice", "wrong")
    link = path_of(printed("account_link", "alice"))
    form = client.get(link, follow=True).redirect_chain[-1][0]
    client.post(form, {"password1": NEW, "password2": NEW})
    assert log_in(client, "alice", NEW).status_code == 302  # and the lock is off
    with pytest.raises(CommandError, match="no user"):
        printed("account_link", "nobody")


def test_an_organiser_hands_out_a_link_that_confirms_an_address(client, settings):
    settings.CRUCIBLE_SIGN_UP = "open"  # and no mail server
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    assert "ask the organiser" in client.post(
        "/signup/", {"username": "carol", "email": "carol@example.org", "password1": PASSWORD,
                     "password2": PASSWORD}, follow=True).text  # fmt: skip
    client.post(path_of(printed("account_link", "carol", "--confirm")))
    log_in(client, "carol")
    assert signed_in(client)
    with pytest.raises(CommandError, match="no address"):
        printed("account_link", "carol", "--confirm")


# -- a new password --------------------------------------------------------------------------------
def test_a_new_password_ends_the_other_sessions_and_the_tokens_and_keeps_ones_own(alice):
    here, elsewhere = Client(), Client()
    for client in (here, elsewhere):
        log_in(client, "alice")
    _, secret = token_create(user=alice, label="laptop")
    fields = {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}
    here.post("/password/change/", fields)
    assert signed_in(here)
    assert not signed_in(elsewhere)
    answer = Client().get("/api/submissions", headers={"authorization": f"Bearer {secret}"})
    assert answer.status_code == 401
    assert "this token was revoked on" in answer.json()["message"]


def test_so_does_one_that_an_administrator_sets_and_signing_in_does_not(alice, staff, settings):
    token, _ = token_create(user=alice, label="laptop")
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher",
                                 *settings.PASSWORD_HASHERS]  # fmt: skip
    log_in(Client(), "alice")  # stores the password anew, under the better hash
    alice.refresh_from_db()
    assert alice.password.startswith("pbkdf2")
    token.refresh_from_db()
    assert token.revoked_at is None
    client = Client()
    client.force_login(staff)
    client.post(
        f"/admin/auth/user/{alice.pk}/password/",
        {"password1": NEW, "password2": NEW, "usable_password": "true"},
    )
    token.refresh_from_db()
    assert token.revoked_at is not None


# -- the second factor -----------------------------------------------------------------------------
def code_of(secret: str) -> str:
    counter = next(iter(yield_hotp_counters_from_time()))
    return format_hotp_value(hotp_value(secret, counter))


def with_second_factor(client: Client) -> tuple[str, list[str]]:
    """Adds an authenticator; returns its key and the recovery codes."""
    client.post("/reauthenticate/", {"password": PASSWORD})
    page = client.get("/2fa/totp/activate/")
    secret = re.search(r'class="secret">(\w+)<', page.text).group(1)
    assert "no-store" in page.headers["Cache-Control"]
    assert "data:image/svg+xml" in page.text
    client.post("/2fa/totp/activate/", {"code": code_of(secret)})
    return secret, re.findall(r"^(\d{8})$", client.get("/2fa/recovery-codes/download/").text, re.M)


def test_a_second_factor_is_asked_for_and_a_recovery_code_works_once(alice):
    mine = Client()
    log_in(mine, "alice")
    secret, codes = with_second_factor(mine)
    assert len(codes) == 10
    stored = json.dumps(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret not in stored
    client = Client()
    assert log_in(client, "alice").url == "/2fa/authenticate/"
    assert not signed_in(client)
    client.post("/2fa/authenticate/", {"code": codes[0]})
    assert signed_in(client)
    again = Client()
    log_in(again, "alice")
    assert "Incorrect code" in again.post("/2fa/authenticate/", {"code": codes[0]}).text
    assert not signed_in(again)


def test_codes_cannot_be_tried_out(alice):
    mine = Client()
    log_in(mine, "alice")
    _, codes = with_second_factor(mine)
    client = Client()
    log_in(client, "alice")
    for n in range(5):
        client.post("/2fa/authenticate/", {"code": f"00000{n}"})
    answer = client.post("/2fa/authenticate/", {"code": codes[1]})
    assert "Too many failed" in answer.text
    assert not signed_in(client)


def test_who_lost_the_second_factor_gets_in_by_the_organisers_link(alice):
    mine = Client()
    log_in(mine, "alice")
    with_second_factor(mine)
    assert printed("account_link", "alice", "--without-second-factor")
    about = f"second factor of user {alice.pk}"
    assert list(Act.objects.values_list("what", "about", "on_whom")) == [
        ("deleted", about, alice.pk),
        ("link made", f"user {alice.pk}", alice.pk),
    ]
    client = Client()
    assert log_in(client, "alice").url == "/submissions/"


# -- configuration ---------------------------------------------------------------------------------
PROBE = """
import django
django.setup()
from django.conf import settings
from django.template.loader import render_to_string
from django.test import RequestFactory
from django.urls import reverse
from allauth.core.context import request_context
from allauth.socialaccount.models import SocialApp
SocialApp.objects.on_site = lambda request: SocialApp.objects.none()  # no database here
request = RequestFactory().get("/login/", headers={"host": "localhost"})
with request_context(request):
    print(render_to_string("socialaccount/providers.html", {"process": "login"}, request))
print(reverse("github_login"), settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]["form-action"])
"""


def test_other_sites_accounts_come_by_configuration_only(tmp_path, client):
    assert client.get("/3rdparty/").status_code == 404
    assert "elsewhere" not in client.get("/login/").text
    chosen = tmp_path / "social.json"
    app = {"client_id": "id", "secret": "a secret"}
    chosen.write_text(json.dumps({"github": {"APPS": [app]}}))
    environment = {
        "CRUCIBLE_SOCIAL": str(chosen), "CRUCIBLE_HOME": str(tmp_path), "PATH": "/usr/bin",
        "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}", "DJANGO_SETTINGS_MODULE": "crucible.settings",
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Go on with GitHub" in done.stdout
    assert "/github/login/ [\"'self'\", 'https:']" in done.stdout
