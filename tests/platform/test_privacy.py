"""Forgetting a user keeps scores and nothing else; retention removes what is due and no more."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connection, models, transaction
from django.test import Client
from django.utils import timezone

from crucible.accounts.models import ApiToken
from crucible.accounts.services import token_create
from crucible.budgets.models import Entry, Membership, Team
from crucible.budgets.services import allowance_grant
from crucible.entries.models import Event, Submission, Upload
from crucible.intake import uploads
from crucible.jobs import daily
from crucible.jobs.models import Attempt, Beat
from crucible.notifications.models import MailChoice, Notice, Webhook
from crucible.privacy import forget
from crucible.privacy.forget import DECISIONS, relations_to_users
from crucible.privacy.retention import retention_run

pytestmark = pytest.mark.django_db


def test_every_model_that_points_at_a_user_has_a_decision():
    assert relations_to_users() == set(DECISIONS)


def test_a_new_model_without_a_decision_would_be_found(monkeypatch):
    monkeypatch.setattr(
        forget, "DECISIONS", {k: v for k, v in DECISIONS.items() if k != "budgets.membership.user"}
    )
    assert relations_to_users() - set(forget.DECISIONS) == {"budgets.membership.user"}


def everything_about(user, staff):
    """Rows of every kind that points at a user or names one."""
    client = Client()
    client.force_login(user)
    token_create(user=user, label="laptop")
    MailChoice.objects.create(user=user)
    Webhook.objects.create(user=user, url="https://alice.example.org/hook")
    team = Team.objects.create(name="laboratory")
    Membership.objects.create(team=team, user=user)
    allowance_grant(team=team, scale="smoke", concurrent=2, hours=10, reason="start", actor=user)
    user.groups.add(Group.objects.create(name="readers"))
    user.user_permissions.add(Permission.objects.first())
    User.objects.filter(id=user.id).update(
        email="alice@example.org", first_name="Alice", last_name="Aldous"
    )
    LogEntry.objects.create(
        user=staff, action_flag=2, object_repr="alice in laboratory", change_message=""
    )
    LogEntry.objects.create(user=staff, action_flag=2, object_repr="alice2", change_message="")
    uploads.upload_create(user=user)
    return client


def test_a_forgotten_user_leaves_the_scores_and_no_trace(
    alice, staff, publish, django_capture_on_commit_callbacks
):
    submission = publish(alice, name="the best data", description="by Alice Aldous")
    client = everything_about(alice, staff)
    loose = Upload.objects.get(user=alice, closed_at=None)
    events = Event.objects.filter(actor="alice").count()
    assert events
    assert Entry.objects.filter(actor="alice").exists()
    assert client.get("/account/").status_code == 200

    caches["boards"].set("before", "alice")
    with django_capture_on_commit_callbacks(execute=True):
        call_command("forget_user", "alice", "--yes-forget", "alice", stdout=StringIO())
    assert caches["boards"].get("before") is None

    name = f"forgotten-{alice.pk}"
    assert client.get("/account/").status_code == 302  # its session is over
    for model in (ApiToken, Webhook, MailChoice, Membership):
        assert not model.objects.exists()
    user = User.objects.get(id=alice.id)
    assert (user.username, user.email, user.first_name, user.last_name) == (name, "", "", "")
    assert not user.is_active
    assert not user.has_usable_password()
    assert not user.groups.exists()
    assert not user.user_permissions.exists()
    assert not Upload.objects.filter(id=loose.id).exists()
    assert not uploads.folder_of(loose).exists()
    assert Event.objects.filter(actor=name).count() == events
    assert set(LogEntry.objects.values_list("object_repr", flat=True)) == {
        f"{name} in laboratory", "alice2",
    }  # fmt: skip
    assert "alice" not in everything_in_the_database().replace("alice2", "")

    page = Client().get("/leaderboard/filtering/smoke/").content.decode()
    assert "the best data" in page
    assert name in page
    assert "alice" not in page
    assert submission.scores.count() == 1
    assert uploads.folder_of(submission.upload).exists()


def everything_in_the_database():
    """Every row of every table of ours, as text."""
    text = ""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'select to_jsonb(t) from "{table}" t')
            text += json.dumps([row[0] for row in cursor.fetchall()])
    return text.lower()


def test_the_history_is_append_only_again_afterwards(alice, staff, publish):
    publish(alice)
    call_command("forget_user", "alice", "--yes-forget", "alice", stdout=StringIO())
    for statement in ("update entries_event set actor = 'x'", "delete from entries_event"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_who_judges_stays_one_person_without_a_name(staff):
    call_command("forget_user", "staff", "--yes-forget", "staff", stdout=StringIO())
    user = User.objects.get(id=staff.id)
    assert (user.is_staff, user.is_superuser, user.is_active) == (False, False, False)


def test_nobody_is_forgotten_by_mistake(alice, make_submission):
    call = ("forget_user", "alice")
    with pytest.raises(CommandError, match="differ"):
        call_command(*call, "--yes-forget", "alicia")
    with pytest.raises(CommandError):
        call_command(*call)
    with pytest.raises(CommandError, match="no user 'nobody'"):
        call_command("forget_user", "nobody", "--yes-forget", "nobody")
    make_submission(alice)
    with pytest.raises(CommandError, match="1 submissions of 'alice' are under way"):
        call_command(*call, "--yes-forget", "alice")
    User.objects.create_user("crucible")
    with pytest.raises(CommandError, match="calls itself"):
        call_command("forget_user", "crucible", "--yes-forget", "crucible")
    assert User.objects.filter(username="alice", is_active=True).exists()


# -- retention -------------------------------------------------------------------------------------


@pytest.fixture
def keep(settings, tmp_path):
    """Sets how long things are kept; folders are this test's."""
    settings.DATASETS_DIR, settings.WORK_DIR = tmp_path / "datasets", tmp_path / "work"
    settings.JOBS_DIR = tmp_path / "jobs"

    def keep(**days):
        settings.CRUCIBLE_KEEP_DAYS = dict.fromkeys(settings.CRUCIBLE_KEEP_DAYS, 0.0) | days

    return keep


def in_the_future(monkeypatch, days):
    later = timezone.now() + timedelta(days=days)
    monkeypatch.setattr("crucible.privacy.retention.timezone.now", lambda: later)


def folders_of(submission, settings):
    """A work folder and the job folders, as stages leave them."""
    work = settings.WORK_DIR / str(submission.id)
    (work / "train").mkdir(parents=True)
    (work / "train" / "model").write_bytes(bytes(10_000))
    jobs = []
    for attempt in Attempt.objects.filter(submission=submission):
        jobs.append(settings.JOBS_DIR / attempt.key)
        jobs[-1].mkdir(parents=True)
        (jobs[-1] / "log.txt").write_text("a line")
    return work, jobs


def test_by_default_nothing_goes_but_uploads_that_nobody_handed_in(settings):
    assert settings.CRUCIBLE_KEEP_DAYS == {
        "uploads": 14, "datasets": 0, "work": 0, "logs": 0, "rows": 0,
    }  # fmt: skip


def test_what_is_due_goes_and_what_is_not_stays(
    alice, bob, publish, make_submission, keep, settings, monkeypatch
):
    keep(work=30.0, logs=60.0)
    done, running = publish(alice), make_submission(bob)
    work, jobs = folders_of(done, settings)
    other, _ = folders_of(running, settings)
    retention_run(dry_run=False)
    assert work.exists()
    in_the_future(monkeypatch, 31)
    lines = retention_run(dry_run=True)
    assert (
        "would remove 1 work folders of submissions that are over, older than 30 days" in lines[2]
    )
    assert work.exists()
    retention_run(dry_run=False)
    assert not work.exists()
    assert not list(settings.WORK_DIR.glob(".removed-*"))
    assert other.exists()
    assert len(jobs) == 7
    assert all(job.exists() for job in jobs)
    in_the_future(monkeypatch, 61)
    assert any("removed 7 job folders" in line for line in retention_run(dry_run=False))
    assert not any(job.exists() for job in jobs)
    assert uploads.folder_of(done.upload).exists()


def test_datasets_of_scores_stay(alice, bob, publish, make_submission, keep, monkeypatch):
    keep(datasets=10.0)
    published, cancelled = publish(alice), make_submission(bob)
    Submission.objects.filter(id=cancelled.id).update(state="cancelled")
    in_the_future(monkeypatch, 11)
    retention_run(dry_run=False)
    assert uploads.folder_of(published.upload).exists()
    assert not uploads.folder_of(cancelled.upload).exists()


def test_an_upload_goes_when_nothing_happened_in_it(alice, keep, monkeypatch):
    keep(uploads=14.0)
    old, busy = uploads.upload_create(user=alice), uploads.upload_create(user=alice)
    Upload.objects.update(created_at=timezone.now() - timedelta(days=20))
    past = time.time() - 20 * 86400
    os.utime(uploads.folder_of(old), (past, past))
    assert retention_run(dry_run=True)[0].startswith("would remove 1 uploads")
    assert Upload.objects.count() == 2
    retention_run(dry_run=False)
    assert list(Upload.objects.all()) == [busy]
    assert not uploads.folder_of(old).exists()
    assert uploads.folder_of(busy).exists()


def test_rows_that_tell_of_long_ago_go(alice, staff, publish, keep, monkeypatch):
    keep(rows=90.0)
    submission = publish(alice)
    token, _ = token_create(user=alice, label="old")
    token_create(user=alice, label="in use")
    ApiToken.objects.filter(id=token.id).update(revoked_at=timezone.now())
    Client().force_login(alice)
    event = submission.events.last()
    Notice.objects.all().delete()
    Notice.objects.create(event=event, sent_at=timezone.now())
    LogEntry.objects.create(user=staff, action_flag=2, object_repr="x", change_message="")
    in_the_future(monkeypatch, 120)  # a session lasts two weeks
    assert "would remove 4 rows" in retention_run(dry_run=True)[4]
    retention_run(dry_run=False)
    assert [token.label for token in ApiToken.objects.all()] == ["in use"]
    assert not Session.objects.exists()
    assert not Notice.objects.exists()
    assert submission.events.exists()
    assert submission.scores.exists()


def test_a_folder_that_was_only_moved_aside_is_removed_the_next_time(keep, settings):
    keep(work=1.0)
    left = settings.WORK_DIR / ".removed-7"
    left.mkdir(parents=True)
    retention_run(dry_run=True)
    assert left.exists()
    retention_run(dry_run=False)
    assert not left.exists()


def test_the_command_says_what_is_kept_for_ever(keep):
    keep()
    out = StringIO()
    call_command("retention", "--dry-run", stdout=out)
    assert out.getvalue().count("kept for ever (CRUCIBLE_KEEP_") == 5


def test_it_is_run_once_a_day_whoever_asks(monkeypatch):
    runs = []
    monkeypatch.setattr(
        "crucible.privacy.receivers.retention_run", lambda dry_run: runs.append(dry_run) or []
    )
    assert [daily.daily_once(), daily.daily_once()] == [True, False]
    Beat.objects.filter(name=daily.DAILY).update(at=timezone.now() - timedelta(hours=25))
    assert [daily.daily_once(), daily.daily_once()] == [True, False]
    assert runs == [False, False]


def test_an_error_of_the_daily_work_ends_nothing(monkeypatch, caplog):
    def fails(dry_run):
        raise OSError("no such disk")

    monkeypatch.setattr("crucible.privacy.receivers.retention_run", fails)
    assert daily.daily_once()
    assert "no such disk" in caplog.text
    assert issubclass(Beat, models.Model)
