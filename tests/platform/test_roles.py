"""Roles: who gets them and how, what they open, and the record of what was done by them."""

from __future__ import annotations

import importlib
import logging
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.test import Client

from crucible.budgets.models import Team
from crucible.entries.models import Submission
from crucible.intake.services import submission_cancel
from crucible.review.services import verdict_give
from crucible.roles.models import Act
from crucible.roles.services import Role, rights_of, role_give, role_take
from submissions.failures import Failure

DOCS = Path(__file__).resolve().parents[2] / "docs"


def run(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def fresh(user: User) -> User:
    """As the next request reads it: without permissions that were looked up before."""
    return User.objects.get(pk=user.pk)


def acts() -> list[tuple[Any, ...]]:
    return [(a.actor, a.what, a.about, a.on_whom, a.detail) for a in Act.objects.order_by("id")]


@pytest.fixture
def olga(db: None) -> User:
    """An organiser."""
    user = User.objects.create(username="olga")
    role_give(user=user, role=Role.ORGANISER, actor=None)
    return fresh(user)


def as_user(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_everybody_with_an_account_is_a_participant_until_that_is_taken(
    alice: User, api: Any
) -> None:
    assert rights_of(alice) == {"participant"}
    role_take(user=alice, role=Role.PARTICIPANT, actor=None)
    page = as_user(alice).get("/submissions/new/")
    assert page.status_code == 403
    assert "Your account may not submit datasets. Ask the administrator" in page.text
    status, answer = api(fresh(alice), "POST", "/uploads")
    assert (status, answer["code"]) == (403, "not_permitted")
    assert answer["message"] == "your account may not submit datasets"
    assert "Submit</a>" not in as_user(alice).get("/submissions/").text


def test_a_door_is_no_permission(bob: User, alice: User, make_submission: Any) -> None:
    """What `is_staff` alone opened before: others' submissions, and cancelling them."""
    submission = make_submission(alice)
    User.objects.filter(id=bob.id).update(is_staff=True)
    with pytest.raises(Failure, match="you have no submission"):
        submission_cancel(submission_id=submission.id, actor=fresh(bob))
    bob.user_permissions.add(Permission.objects.get(codename="view_submission"))
    with pytest.raises(Failure, match="may not cancel submissions of others"):
        submission_cancel(submission_id=submission.id, actor=fresh(bob))
    with pytest.raises(Failure, match="may not judge findings"):
        verdict_give(item_id=0, reviewer=fresh(bob), kind="false_alarm", reason="No.")
    page = as_user(bob).get(f"/submissions/{submission.id}/").text
    assert "History" in page
    assert "Cancel this submission" not in page
    assert Submission.objects.get(id=submission.id).state == "submitted"


def test_an_act_says_who_did_what_to_whom_and_nobody_can_change_it(
    alice: User, bob: User, olga: User, make_submission: Any, caplog: Any,
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    mine, others = make_submission(alice), make_submission(bob)
    before = Act.objects.count()
    submission_cancel(submission_id=mine.id, actor=alice)  # one's own: no act, but an event
    assert Act.objects.count() == before
    with caplog.at_level(logging.INFO), django_capture_on_commit_callbacks(execute=True):
        submission_cancel(submission_id=others.id, actor=olga)
        submission_cancel(submission_id=others.id, actor=olga)  # again: nothing more to do
    assert acts()[before:] == [(olga, "cancelled", f"submission {others.id}", bob, "")]
    assert f"by olga: cancelled, submission {others.id} of bob" in caplog.text
    page = as_user(olga).get("/admin/roles/act/").text
    assert f"submission {others.id}" in page
    for change in (lambda: Act.objects.update(what="held"), lambda: Act.objects.all().delete()):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()


def test_the_command_gives_shows_and_takes_roles(alice: User) -> None:
    assert run("role", "alice", "--give", "reviewer") == "alice: participant, reviewer\n"
    assert fresh(alice).is_staff
    run("role", "alice", "--give", "organiser")
    run("role", "alice", "--take", "reviewer")
    assert fresh(alice).is_staff  # an organiser still
    assert run("role") == "alice: organiser, participant\n"
    assert run("role", "alice", "--take", "organiser") == (
        "alice: participant (not in the admin)\n"
    )
    assert not fresh(alice).is_staff
    about = f"user {alice.pk}"
    assert acts() == [
        (None, "given", about, alice, "reviewer"), (None, "given", about, alice, "organiser"),
        (None, "taken", about, alice, "reviewer"), (None, "taken", about, alice, "organiser"),
    ]  # fmt: skip
    for words in (["role", "nobody"], ["role", "--give", "reviewer"],
                  ["role", "alice", "--give", "king"]):  # fmt: skip
        with pytest.raises(CommandError):
            run(*words)


def test_there_is_always_an_administrator(staff: User, alice: User) -> None:
    with pytest.raises(CommandError, match="the only one"):
        run("role", "staff", "--take", "administrator")
    client = as_user(staff)
    page = client.get(f"/admin/auth/user/{staff.pk}/change/")
    form = page.context["adminform"].form.initial | {"is_superuser": "", "groups": []}
    form = {k: v for k, v in form.items() if v not in (None, "")}
    refused = client.post(f"/admin/auth/user/{staff.pk}/change/", form)
    assert "This is the only administrator" in refused.text
    assert fresh(staff).is_superuser
    run("role", "alice", "--give", "administrator")
    run("role", "staff", "--take", "administrator")
    assert (fresh(staff).is_superuser, fresh(staff).is_staff) == (False, False)


def test_an_account_can_be_made_with_a_role(db: None) -> None:
    assert len(run("create_user", "rita", "--role", "reviewer").strip()) > 10
    rita = User.objects.get(username="rita")
    assert (rights_of(rita), rita.is_staff) == ({"participant", "reviewer"}, True)
    assert [act.what for act in Act.objects.order_by("id")] == ["account created", "given"]


def test_the_administrator_gives_a_role_on_a_page(staff: User, alice: User) -> None:
    client = as_user(staff)
    address = f"/admin/auth/user/{alice.pk}/change/"
    page = client.get(address)
    assert page.text.count('type="checkbox" name="groups"') == 3
    groups = [g.pk for g in Group.objects.filter(name__in=["participant", "reviewer"])]
    answer = client.post(address, {"username": "alice", "is_active": "on", "groups": groups},
                         follow=True)  # fmt: skip
    assert "The role lets alice enter this administration." in answer.text
    assert rights_of(alice) == {"participant", "reviewer"}
    assert fresh(alice).is_staff
    given = (staff, "given", f"user {alice.pk}", alice, "reviewer")
    assert given in acts()
    assert as_user(fresh(alice)).get("/admin/review/item/").status_code == 200


def test_nobody_but_the_administrator_gives_rights(olga: User, alice: User) -> None:
    """Not even with Django's permissions to change users and groups."""
    olga.user_permissions.set(Permission.objects.filter(content_type__app_label="auth"))
    client = as_user(fresh(olga))
    for address in (f"/admin/auth/user/{olga.pk}/change/", f"/admin/auth/user/{alice.pk}/password/",
                    f"/admin/auth/group/{Group.objects.first().pk}/change/",
                    "/admin/auth/user/add/"):  # fmt: skip
        data = {"username": "olga", "is_superuser": "on", "is_staff": "on", "name": "x"}
        assert client.post(address, data).status_code == 403
    assert not User.objects.filter(is_superuser=True).exists()
    page = client.get(f"/admin/auth/user/{alice.pk}/change/").text
    assert "pbkdf2" not in page
    assert "alice" in page


def test_a_group_that_is_a_role_keeps_its_name_and_says_what_changed(staff: User) -> None:
    client, group = as_user(staff), Group.objects.get(name="reviewer")
    more = Permission.objects.get(codename="cancel_submission")
    kept = [*group.permissions.values_list("pk", flat=True), more.pk]
    client.post(f"/admin/auth/group/{group.pk}/change/", {"name": "x", "permissions": kept})
    assert Group.objects.get(pk=group.pk).name == "reviewer"
    assert (staff, "given", f"group {group.pk}", None,
            "permission entries.cancel_submission") in acts()  # fmt: skip
    assert client.post(f"/admin/auth/group/{group.pk}/delete/", {"post": "yes"}).status_code == 403
    data = {"action": "delete_selected", "_selected_action": group.pk, "post": "yes"}
    client.post("/admin/auth/group/", data)
    assert Group.objects.filter(name="reviewer").exists()


def test_who_enters_a_team_is_an_act_on_that_user(olga: User, alice: User) -> None:
    team = Team.objects.create(name="laboratory")
    form = {"name": "laboratory", "memberships-TOTAL_FORMS": 1, "memberships-INITIAL_FORMS": 0,
            "memberships-0-user": alice.pk}  # fmt: skip
    as_user(olga).post(f"/admin/budgets/team/{team.pk}/change/", form)
    found = [
        (a.actor, a.what, a.about, a.on_whom) for a in Act.objects.filter(about=f"team {team.pk}")
    ]
    assert (olga, "member added", f"team {team.pk}", alice) in found
    assert not Act.objects.filter(detail__contains="alice").exists()


def migrated() -> None:
    """The migration once more, on the models as it finds them."""
    state = MigrationLoader(connection).project_state()
    importlib.import_module("crucible.roles.migrations.0003_groups").make(state.apps, None)


def test_what_an_older_site_has_becomes_roles(alice: User, bob: User, staff: User) -> None:
    Group.objects.all().delete()
    rita = User.objects.create(username="rita", is_staff=True)
    rita.user_permissions.add(Permission.objects.get(codename="add_verdict"))
    older = Group.objects.create(name="organiser")
    older.user_set.add(bob)
    User.objects.filter(id=bob.id).update(is_staff=True)
    gone = User.objects.create(username="forgotten-7", is_active=False)
    migrated()
    assert rights_of(alice) == {"participant"}
    assert rights_of(rita) == {"participant", "reviewer", "permission review.add_verdict"}
    # Staff who may not judge, and a group of the same name, get nothing that they had not.
    assert rights_of(bob) == {"participant", "organiser (older)"}
    assert not fresh(bob).has_perm("entries.view_submission")
    assert rights_of(staff) == {"participant", "administrator"}
    assert rights_of(gone) == set()


def test_the_page_on_security_says_what_each_role_has(db: None) -> None:
    text = (DOCS / "security.md").read_text().split("## Roles")[1].split("\n## ")[0]
    written: dict[str, set[str]] = {"participant": set(), "reviewer": set(), "organiser": set()}
    for cells in re.findall(r"^\| `([\w., `]+)` \| ([\w, ]+) \|", text, re.MULTILINE):
        for role in cells[1].split(", "):
            written[role] |= set(re.findall(r"[\w.]+", cells[0]))
    assert {
        group.name: {f"{p.content_type.app_label}.{p.codename}" for p in group.permissions.all()}
        for group in Group.objects.all()
    } == written
