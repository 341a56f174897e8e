"""API tokens: scopes, expiry, limits, and what happens to those of an older database."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from io import StringIO

import pytest
import requests
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from crucible.accounts.models import ApiToken
from crucible.accounts.scopes import CARRIED, USUAL, Scope, powers_limit, scopes_offered
from crucible.accounts.services import token_create
from crucible.api.tokens import Token
from crucible.api.views import api as routes
from crucible.roles.models import Act
from crucible.roles.permissions import Permission as Asked
from crucible.roles.permissions import may, require
from crucible.roles.services import Role, role_give
from submissions.cli import main
from submissions.failures import Failure

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quick(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def ask(secret: str, path: str = "/submissions", method: str = "GET", **where: str):
    return Client().generic(
        method, f"/api{path}", content_type="application/json",
        headers={"authorization": f"Bearer {secret}"}, **where,
    )  # fmt: skip


# A new route belongs here, with the scope that it asks for.
ASKED = {
    ("POST", "/uploads"): Scope.SUBMIT,
    ("GET", "/uploads/{upload_id}"): Scope.SUBMIT,
    ("DELETE", "/uploads/{upload_id}"): Scope.SUBMIT,
    ("PUT", "/uploads/{upload_id}/shards/{name}"): Scope.SUBMIT,
    ("POST", "/submissions"): Scope.SUBMIT,
    ("GET", "/submissions"): Scope.READ,
    ("GET", "/submissions/{submission_id}"): Scope.READ,
    ("POST", "/submissions/{submission_id}/cancel"): Scope.SUBMIT,
    ("POST", "/submissions/{submission_id}/retry"): Scope.SUBMIT,
    ("GET", "/submissions/{submission_id}/results"): Scope.READ,
    ("GET", "/leaderboard"): Scope.READ,
}
IDS = {"upload_id": "00000000-0000-0000-0000-000000000000", "name": "a.jsonl", "submission_id": "1"}


def test_every_route_asks_for_a_scope_of_its_own(alice):
    found = {}
    for _, router in routes._routers:
        for path, view in router.path_operations.items():
            for operation in view.operations:
                (auth,) = operation.auth_callbacks
                assert isinstance(auth, Token)
                for method in operation.methods:
                    found[method, path] = auth.scope
    assert found == ASKED


@pytest.mark.parametrize(("method", "path"), ASKED)
def test_a_token_without_the_scope_of_a_route_is_told_so(alice, method, path):
    scope = ASKED[method, path]
    others = [one for one in Scope if one != scope]
    _, secret = token_create(user=alice, label="test", scopes=others)
    answer = ask(secret, path.format(**IDS), method)
    assert (answer.status_code, answer.json()["code"]) == (403, "out_of_scope")
    assert f"needs the scope {scope}; the token has: " in answer.json()["message"]


def test_an_expired_token_says_so_in_one_sentence(alice):
    _, secret = token_create(user=alice, label="test", days=1)
    assert ask(secret).status_code == 200
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(days=3))
    answer = ask(secret)
    assert answer.status_code == 401
    day = timezone.now() - timedelta(days=3)
    assert answer.json()["message"] == f"this token expired on {day:%Y-%m-%d}"
    assert "Create a token" in answer.json()["next_step"]


def test_the_command_says_that_a_token_expired_and_what_to_do(alice, monkeypatch, capsys):
    def through(self, method: str, url: str, **kwargs):
        """The site's answer, in the type in which the command gets it."""
        found = ask(secret, url.partition("/api")[2], method)
        answer = requests.Response()
        answer.status_code, answer._content = found.status_code, found.content
        return answer

    _, secret = token_create(user=alice, label="test")
    ApiToken.objects.update(expires_at="2026-01-02T00:00Z")
    monkeypatch.setattr("requests.Session.request", through)
    monkeypatch.setenv("CRUCIBLE_TOKEN", secret)
    assert main(["status"]) == 1
    said = capsys.readouterr().err
    assert "this token expired on 2026-01-02" in said
    assert "Create a token on the site's account page and set CRUCIBLE_TOKEN." in said


def test_a_token_lasts_as_long_as_the_setting_says(alice, settings):
    settings.CRUCIBLE_TOKEN_DAYS = 7
    token, _ = token_create(user=alice, label="test")
    assert abs(token.expires_at - timezone.now() - timedelta(days=7)) < timedelta(minutes=1)
    client = Client()
    client.force_login(alice)
    fields = {"label": "long", "scopes": ["read"], "days": "8"}
    answer = client.post("/account/tokens/", fields)
    assert answer.status_code == 422
    assert "less than or equal to 7" in answer.text
    assert 'value="long"' in answer.text  # what was right is kept
    assert ApiToken.objects.count() == 1


def test_a_participant_is_offered_no_powers(alice, staff):
    client = Client()
    client.force_login(alice)
    assert 'value="organise"' not in client.get("/account/").text
    fields = {"label": "x", "scopes": ["organise"], "days": "7"}
    assert client.post("/account/tokens/", fields).status_code == 422
    with pytest.raises(CommandError, match="no powers"):
        call_command("create_token", "alice", "--scopes", "read,organise")
    with pytest.raises(CommandError, match="the scopes are read, submit, review, organise"):
        call_command("create_token", "staff", "--scopes", "everything")
    out = StringIO()
    call_command("create_token", "staff", "--scopes", "organise", "--days", "7", stdout=out)
    assert out.getvalue().startswith("crucible_")


def test_without_its_scope_an_organisers_token_has_a_participants_powers(
    alice, staff, make_submission
):
    submission = make_submission(alice)
    usual = token_create(user=staff, label="usual")[1]
    whole = token_create(user=staff, label="whole", scopes=list(Scope))[1]
    path = f"/submissions/{submission.id}"
    assert ask(usual, path).status_code == 404
    assert ask(usual, f"{path}/cancel", "POST").status_code == 404
    assert ask(usual, "/submissions?mine=0").json() == {"submissions": []}
    assert ask(whole, path).status_code == 200
    assert ask(whole, f"{path}/cancel", "POST").status_code == 200
    staff.refresh_from_db()
    assert staff.is_staff  # the limit is never stored
    assert staff.is_superuser


def test_scopes_limit_permissions_given_by_name(bob):
    bob.user_permissions.set(
        Permission.objects.filter(codename__in=["add_verdict", "read_metrics", "link_account"])
    )

    def held(*scopes: Scope) -> set[str]:
        return powers_limit(User.objects.get(pk=bob.pk), scopes).get_all_permissions()

    assert held(Scope.READ) == set()
    assert held(Scope.READ, Scope.SUBMIT) == {"entries.add_submission"}
    assert held(Scope.REVIEW) == {"review.add_verdict"}
    assert held(Scope.ORGANISE) == {"jobs.read_metrics"}
    assert len(held(*Scope)) == 3  # no scope carries links to others' accounts


@pytest.mark.parametrize("role", Role)
def test_no_role_gets_round_the_scopes(role, alice, make_submission):
    """Groups, single permissions and `is_superuser` are ways to a permission: none is left open."""
    user = User.objects.create_user("zoe")
    role_give(user=user, role=role, actor=None)
    whole = User.objects.get(pk=user.pk)
    for number in range(1 << len(Scope)):
        scopes = {scope for place, scope in enumerate(Scope) if number >> place & 1}
        limited = powers_limit(User.objects.get(pk=user.pk), scopes)
        carried = {one for scope in scopes for one in CARRIED[scope]}
        for one in Asked:
            assert may(limited, one) == (may(whole, one) and one in carried), (scopes, one)
            if not may(limited, one):
                with pytest.raises(Failure, match="may not"):
                    require(limited, one)
        assert not limited.get_group_permissions() - {one.value for one in carried}
        assert not limited.is_superuser
    path = f"/submissions/{make_submission(alice).id}"
    usual = token_create(user=whole, label="usual")[1]
    assert ask(usual, path).status_code == 404
    assert ask(usual, f"{path}/cancel", "POST").status_code == 404
    assert ask(usual, "/uploads", "POST").status_code == 201
    review = token_create(user=whole, label="review", scopes=[*USUAL, Scope.REVIEW])[1]
    if role != Role.PARTICIPANT:
        assert ask(review, path).status_code == 200
        answer = ask(review, f"{path}/cancel", "POST")
        assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")


def test_the_scopes_on_offer_are_those_that_open_something(alice):
    def offered(*roles: Role) -> list[Scope]:
        user = User.objects.create_user(f"u{User.objects.count()}")
        for role in roles:
            role_give(user=user, role=role, actor=None)
        return list(scopes_offered(User.objects.get(pk=user.pk)))

    assert offered() == list(USUAL)
    assert offered(Role.REVIEWER) == [*USUAL, Scope.REVIEW]
    assert offered(Role.ORGANISER) == offered(Role.ADMINISTRATOR) == list(Scope)
    User.objects.filter(pk=alice.pk).update(is_staff=True)  # the door of the admin: no power
    assert list(scopes_offered(User.objects.get(pk=alice.pk))) == list(USUAL)


def test_a_label_that_hides_something_is_refused_beside_its_field(alice):
    client = Client()
    client.force_login(alice)
    fields = {"label": "a\u202eb", "scopes": ["read"], "days": "7"}
    answer = client.post("/account/tokens/", fields)
    assert answer.status_code == 422
    assert "U+202E" in answer.text
    with pytest.raises(CommandError, match=r"U\+202E"):
        call_command("create_token", "alice", "--label", "a\u202eb")


def test_a_token_that_a_command_makes_is_an_act(alice):
    call_command("create_token", "alice", "--scopes", "read", stdout=StringIO())
    act = Act.objects.get()
    assert (act.actor, act.what, act.on_whom, act.detail) == (None, "token created", alice, "read")


def test_a_token_is_throttled_and_others_are_not(alice, settings, monkeypatch):
    settings.CRUCIBLE_TOKEN_REQUESTS = 3
    now = [1_000_000.0]
    monkeypatch.setattr("crucible.accounts.services.time.time", lambda: now[0])
    secret, other = (token_create(user=alice, label=name)[1] for name in "ab")
    assert [ask(secret).status_code for _ in range(4)] == [200, 200, 200, 429]
    answer = ask(secret)
    assert (answer.json()["code"], answer.headers["Retry-After"]) == ("too_many_requests", "60")
    assert ask(other).status_code == 200
    now[0] += 60
    assert ask(secret).status_code == 200


def test_refused_tokens_are_throttled_by_address_and_good_ones_pass(alice):
    where = {"REMOTE_ADDR": "10.2.0.1"}
    seen = [ask(f"crucible_{n}", **where).status_code for n in range(31)]
    assert seen == [401] * 30 + [429]
    assert ask("crucible_x", REMOTE_ADDR="10.2.0.2").status_code == 401
    assert ask(token_create(user=alice, label="test")[1], **where).status_code == 200


def test_the_list_shows_what_a_token_may_and_until_when(alice):
    token_create(user=alice, label="mine", scopes=[Scope.READ], days=5)
    ended, _ = token_create(user=alice, label="old", days=1)
    ApiToken.objects.filter(id=ended.id).update(expires_at=timezone.now() - timedelta(days=1))
    client = Client()
    client.force_login(alice)
    page = client.get("/account/")
    assert "no-store" in page.headers["Cache-Control"]
    for said in ("<td>read</td>", f"{timezone.now() + timedelta(days=5):%Y-%m-%d}", "never",
                 ended.prefix, ">expired<"):  # fmt: skip
        assert said in page.text


def test_tokens_of_an_older_database_keep_their_powers_for_a_while(alice, staff):
    migration = import_module("crucible.accounts.migrations.0002_scopes_expiry_invitations")
    for user in (alice, staff):
        token_create(user=user, label=user.username, scopes=[])
    ApiToken.objects.update(expires_at=timezone.now())  # what the new columns begin with
    migration.fill(apps, None)
    found = {token.label: token for token in ApiToken.objects.all()}
    assert found["alice"].scopes == "read submit"
    assert found["staff"].may() == tuple(Scope)
    for token in found.values():
        assert abs(token.expires_at - timezone.now() - timedelta(days=90)) < timedelta(minutes=5)
