"""Six roles, and one object of every kind, none of which belongs to any of the six."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from allauth.account.models import EmailAddress
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models import Model
from django.test import Client

from crucible.accounts.invitations import invitation_create
from crucible.accounts.links import confirmation_link, password_link
from crucible.accounts.scopes import scopes_offered
from crucible.accounts.services import token_create
from crucible.budgets.models import Membership, Team
from crucible.budgets.services import allowance_grant
from crucible.entries.models import Shard, Submission, Upload
from crucible.entries.moves import submission_move
from crucible.intake import uploads
from crucible.jobs.models import Attempt, Lane
from crucible.leaderboard.models import Baseline
from crucible.notifications.models import Notice, Webhook
from crucible.profiles.models import DatasetProfile
from crucible.review.models import Appeal, HoldRule, Verdict
from crucible.review.services import scan_record
from crucible.roles.models import Act
from evaluation.suite import load_suite
from submissions.codec import to_json
from submissions.failures import Failure
from submissions.states import State
from tests.profile_example import example_profile, write_example

ROLES = ("visitor", "participant", "staff", "reviewer", "organiser", "administrator")
LINE = b'{"text": "A document."}\n'
TASK = load_suite("smoke").tasks[0].label


def user_as(role: str) -> User:
    """A user who has this role and no other; `staff` has the door of the admin and nothing else."""
    user: User = User.objects.create(
        username=f"the {role}",
        is_staff=role not in ("participant",),
        is_superuser=role == "administrator",
    )
    user.groups.set(Group.objects.filter(name=role))
    return user


@dataclass
class Visitor:
    """Somebody with this role: the pages' session and the API's token, both empty for a visitor."""

    role: str
    client: Client
    headers: dict[str, str]
    upload: str  # the number of an own upload


def visitor_as(role: str) -> Visitor:
    client, headers, upload = Client(), {}, ""
    if role != "visitor":
        user = user_as(role)
        made = Upload.objects.create(user=user)
        Shard.objects.create(upload=made, name="a.jsonl", bytes=len(LINE), sha256="ab" * 32)
        upload = str(made.id)
        client.force_login(user)
        _, secret = token_create(user=user, label="test", scopes=scopes_offered(user))
        headers["authorization"] = f"Bearer {secret}"
    return Visitor(role, client, headers, upload)


def report() -> dict[str, Any]:
    counts = {"examples": 60, "checkable": 60, "high": 1, "medium": 0, "review": 0, "passage": 0}
    found = {"task": TASK, "index": 1, "severity": "high", "shard": "a.jsonl", "line": 1,
             "question_coverage": 1.0, "text": "A document."}  # fmt: skip
    return {"index_hash": "ab" * 32, "documents": 1, "bytes": 24, "seconds": 0.1,
            "examples": [], "tasks": {TASK: counts}, "findings": [found]}  # fmt: skip


class World:
    """Alice's things. `objects` has one for each table of the admin, by its label."""

    def __init__(self, alice: User, make_submission: Any, publish: Any) -> None:
        judge = User.objects.create(username="judge")
        published = publish(alice)
        self.submission: Submission = make_submission(alice)
        self.failed = self._failed(make_submission(alice))
        self.held: Submission = make_submission(alice)
        Submission.objects.filter(id=self.held.id).update(held_for="a question")
        upload = uploads.upload_create(user=alice)
        token, _ = token_create(user=alice, label="laptop")
        invitation, secret = invitation_create(note="Carol", made_by=None)
        EmailAddress.objects.create(user=alice, email="alice@example.org", primary=True)
        confirmation = confirmation_link(alice).split("/")[-2]
        uid, _, reset = password_link(alice).split("/")[-2].partition("-")
        webhook = Webhook.objects.create(user=alice, url="https://example.org/hook")
        profile = DatasetProfile.objects.create(
            submission=self.submission, figures=to_json(example_profile())
        )
        write_example(profile.folder)
        item = scan_record(submission=self.submission, report=report()).items.get()
        verdict = Verdict.objects.create(item=item, kind="accept_with_mark", reason="So.",
                                         reviewer=judge)  # fmt: skip
        attempt = Attempt.objects.create(submission=self.submission, stage="validate", number=1,
                                         key=f"{self.submission.id}-validate-a1")  # fmt: skip
        team, spare = (Team.objects.create(name=name) for name in ("laboratory", "spare"))
        Membership.objects.create(team=team, user=alice)
        allowance = allowance_grant(team=team, scale="smoke", concurrent=9, hours=10, reason="So.",
                                    actor=judge)  # fmt: skip
        self.objects: dict[str, Model] = {
            "accounts.apitoken": token,
            "accounts.invitation": invitation,
            "auth.group": Group.objects.create(name="auditor"),
            "auth.user": alice,
            "budgets.allowance": allowance,
            "budgets.entry": allowance.entries.get(),
            "budgets.team": spare,
            "entries.event": self.submission.events.get(),
            "entries.shard": self.submission.upload.shards.get(),
            "entries.submission": self.submission,
            "entries.upload": upload,
            "jobs.attempt": attempt,
            "jobs.lane": Lane.objects.create(backend="local", scale="smoke"),
            "leaderboard.baseline": Baseline.objects.create(
                origin="DCLM", reference="one", name="pool", scale="smoke", source="-", scores={}
            ),
            "leaderboard.score": published.scores.first(),
            "notifications.notice": Notice.objects.create(event=self.submission.events.get()),
            "notifications.webhook": webhook,
            "review.appeal": Appeal.objects.create(submission=self.submission, text="Why?"),
            "review.holdrule": HoldRule.objects.create(scale="smoke", severity="high"),
            "review.item": item,
            "review.scan": item.scan,
            "review.verdict": verdict,
            "roles.act": Act.objects.create(actor=judge, what="held", about="submission 1"),
        }
        self.parts = {
            "track": "filtering", "scale": "smoke", "source": "1b-1x", "target": "7b-1x",
            "submission_id": self.submission.id,
            "stage": "validate", "item_id": item.id, "token_id": token.pk,
            "webhook_id": webhook.pk, "upload_id": upload.pk, "name": "a.jsonl",
            "app_label": "review", "content_type_id": ContentType.objects.get_for_model(User).id,
            "object_id": alice.pk, "url": "nothing/", "key_id": 1,
            "secret": secret,
            "baseline_id": self.objects["leaderboard.baseline"].pk,
        }  # fmt: skip
        self.special: dict[str, dict[str, Any]] = {
            "/docs/<slug:name>/": {"name": "participant"},
            # Links of alice's.
            "/confirm-email/<key>/": {"key": confirmation},
            "/password/reset/key/<uidb36>-<key>/": {"uidb36": uid, "key": reset},
            # Routes that need another submission than the one that has just begun.
            "/submissions/<int:submission_id>/retry/": {"submission_id": self.failed.id},
            "/api/submissions/<submission_id>/retry": {"submission_id": self.failed.id},
        }
        self.forms: dict[str, dict[str, Any]] = {  # of the admin, for a new object or a verdict
            "accounts.invitation": {"note": "Dave"},
            "auth.group": {"name": "helper"},
            "auth.user": {"username": "new", "usable_password": "false"},
            "budgets.allowance": {"team": spare.pk, "scale": "smoke", "concurrent": 1, "hours": 0},
            "budgets.team": {"name": "another"},
            "jobs.lane": {"backend": "slurm", "scale": "smoke"},
            "review.holdrule": {"track": "mixing", "severity": "high", "examples": 1},
            "review.item": {"kind": "false_alarm", "reason": "A saying."},
        }

    def _failed(self, submission: Submission) -> Submission:
        """By the platform."""
        submission_move(
            submission=submission, to=State.FAILED, failure=Failure("disk_full", "full").as_dict()
        )
        return submission

    def body(self, route: str, who: Visitor) -> dict[str, Any]:
        """What a page or an endpoint needs to do something."""
        mine = {"name": "mine", "track": "filtering", "scale": "smoke"}
        bodies: dict[str, dict[str, Any]] = {
            "/submissions/new/": mine | {"shards": SimpleUploadedFile("a.jsonl", LINE)},
            "/submissions/<int:submission_id>/appeal/": {"text": "No."},
            "/account/tokens/": {"label": "new", "scopes": ["read"], "days": "1"},
            "/email/": {"email": "new@example.org", "action_add": ""},
            "/password/reset/": {"email": "alice@example.org"},
            "/account/mail/": {"wanted": "no"},
            "/account/webhooks/": {"url": "https://example.com/"},
            "/api/submissions": mine | {"upload": who.upload},
            "/api/leaderboard": {"track": "filtering", "scale": "smoke"},
        }
        return bodies.get(route, {})

    def target(self, label: str, action: str) -> Model:
        """The object that an action of the admin can change."""
        return {"retry": self.failed, "release": self.held}.get(action) or self.objects[label]
