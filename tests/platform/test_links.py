"""What organisers do in the admin about accounts: links to hand out, invitations."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from crucible.accounts.models import Invitation
from crucible.roles.models import Act
from crucible.roles.services import Role, role_give
from tests.platform.test_sign_in import path_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def olga():
    """An organiser."""
    user = User.objects.create_user("olga")
    role_give(user=user, role=Role.ORGANISER, actor=None)
    return User.objects.get(pk=user.pk)


def test_links_in_the_admin_are_acts_and_open_no_account_above_a_participants(
    alice, bob, olga, staff
):
    bob.user_permissions.set(Permission.objects.filter(codename="read_metrics"))
    rita = User.objects.create_user("rita")
    role_give(user=rita, role=Role.REVIEWER, actor=None)
    client, before = Client(), Act.objects.count()
    client.force_login(olga)
    everybody = [user.pk for user in (alice, bob, olga, rita, staff)]
    chosen = {"action": "password_links", "_selected_action": everybody}
    answer = client.post("/admin/auth/user/", chosen)
    links = re.findall(r"<code>(http\S+)</code>", answer.text)
    assert len(links) == 1
    assert "no-store" in answer.headers["Cache-Control"]
    assert "Set a new password" in Client().get(path_of(links[0]), follow=True).text
    (act,) = Act.objects.all()[: Act.objects.count() - before]
    assert (act.actor, act.what, act.on_whom) == (olga, "link made", alice)
    assert act.detail == "to set a password"
    client.force_login(staff)
    assert client.post("/admin/auth/user/", chosen).text.count("<code>http") == len(everybody)


def test_who_may_only_look_at_accounts_makes_no_links(alice, bob):
    User.objects.filter(pk=bob.pk).update(is_staff=True)
    bob.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "change_user"]))
    client = Client()
    client.force_login(User.objects.get(pk=bob.pk))
    chosen = {"action": "password_links", "_selected_action": [alice.pk]}
    assert "<code>http" not in client.post("/admin/auth/user/", chosen, follow=True).text
    assert not Act.objects.filter(what="link made").exists()


def test_an_organiser_invites_in_the_admin_and_withdraws(olga, settings):
    client = Client()
    client.force_login(olga)
    answer = client.post("/admin/accounts/invitation/add/", {"note": "Carol"})
    (link,) = re.findall(r"<code>(http\S+)</code>", answer.text)
    assert "no-store" in answer.headers["Cache-Control"]
    made = Invitation.objects.get()
    assert (made.note, made.made_by) == ("Carol", olga)
    act = Act.objects.first()
    assert (act.actor, act.what, act.about) == (olga, "added", f"invitation {made.pk}")
    assert Client().get(path_of(link)).url == "/signup/"
    page = client.get(f"/admin/accounts/invitation/{made.pk}/change/").text
    assert made.digest not in page
    client.post(f"/admin/accounts/invitation/{made.pk}/delete/", {"post": "yes"})
    assert Client().get(path_of(link)).status_code == 404
    assert Act.objects.first().what == "deleted"
    hidden = client.post("/admin/accounts/invitation/add/", {"note": "a\u202eb"})
    assert "U+202E" in hidden.text
    settings.CRUCIBLE_SIGN_UP = "closed"
    assert client.get("/admin/accounts/invitation/add/").status_code == 403


def test_allauths_own_tables_are_not_in_the_admin(staff):
    client = Client()
    client.force_login(staff)
    for table in ("account/emailaddress", "mfa/authenticator"):
        assert client.get(f"/admin/{table}/").status_code == 404
