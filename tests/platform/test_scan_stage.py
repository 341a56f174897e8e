"""The scan beside the chain: neither waits for the other before the score, and nothing is left."""

from __future__ import annotations

import pytest

from crucible.intake.services import submission_cancel, submission_retry
from crucible.jobs.backends.base import JobState, JobStatus
from crucible.jobs.models import Attempt
from crucible.jobs.queue import position_of
from crucible.jobs.reconciler import reconcile_once
from crucible.pages.stages import waiting_for
from crucible.review.models import Scan
from submissions.failures import Failure
from submissions.hashing import file_sha256
from tests.platform.steps import advance

pytestmark = pytest.mark.django_db
RUNNING = JobStatus(JobState.RUNNING)
FULL = JobStatus(JobState.FAILED, {}, Failure("disk_full", "no space left").as_dict())


@pytest.fixture
def except_for(backend, succeed):
    """Every job finishes well but those of one stage."""

    def make(stage, outcome):
        backend.outcome = lambda key: outcome if f"-{stage}-" in key else succeed(key)

    return make


def states(submission):
    return dict(submission.attempts.values_list("stage", "state"))


def test_scan_and_tokenize_run_at_once(alice, make_submission, backend, except_for, succeed):
    backend.outcome = lambda key: succeed(key) if "-validate-" in key else RUNNING
    submission = advance(make_submission(alice))
    assert states(submission) == {
        "validate": "succeeded", "scan": "running", "tokenize": "running", "profile": "queued",
    }  # fmt: skip
    spec = backend.specs[f"{submission.id}-scan-a1"]
    assert spec.module == "evaluation.contamination.stage"
    assert spec.document["inputs"]["dataset"]["uri"] == "file:///nowhere/validate"


def test_the_chain_does_not_wait_for_the_scan_but_publication_does(
    alice, make_submission, backend, except_for, succeed
):
    except_for("scan", RUNNING)
    submission = advance(make_submission(alice))
    assert submission.state == "reviewing"
    assert "leaked questions" in waiting_for(submission)
    assert submission.due_at is not None  # the running scan is looked at
    backend.outcome = succeed
    advance(submission)
    assert submission.state == "published"
    assert Scan.objects.get().submission == submission


def test_the_scan_does_not_wait_for_the_chain(alice, make_submission, except_for):
    except_for("train", RUNNING)
    submission = advance(make_submission(alice))
    assert submission.state == "training"
    assert Scan.objects.filter(submission=submission).exists()


def test_a_queued_scan_is_not_what_the_chain_waits_for(alice, make_submission, backend, succeed):
    backend.slots = 1
    backend.outcome = lambda key: RUNNING if "-tokenize-" in key else succeed(key)
    submission = advance(make_submission(alice), 3)
    assert states(submission)["scan"] == "queued"
    assert states(submission)["tokenize"] == "running"
    assert "slot" not in waiting_for(submission)


def test_of_a_queued_chain_and_a_queued_scan_the_chain_is_shown(
    alice, make_submission, backend, except_for, succeed
):
    except_for("validate", RUNNING)
    submission = advance(make_submission(alice), 2)
    backend.slots, backend.outcome = 0, succeed
    submission = advance(submission, 2)
    assert states(submission) == {
        "validate": "succeeded", "scan": "queued", "tokenize": "queued", "profile": "queued",
    }  # fmt: skip
    position = position_of(submission.attempts.get(stage="tokenize"), submission.scale)
    assert position is not None
    assert position.of == 3
    assert f"a free slot: position {position.number} of 3 in the queue" in waiting_for(submission)


def test_a_scan_that_fails_for_good_fails_the_submission_after_the_score(
    alice, make_submission, backend, except_for, succeed, staff
):
    except_for("scan", FULL)
    submission = advance(make_submission(alice), 20)
    assert submission.state == "failed"
    assert submission.failure["code"] == "disk_full"
    assert submission.scores.exists()
    assert submission.attempts.filter(stage="scan").count() == 3
    backend.outcome = succeed
    submission_retry(submission_id=submission.id, actor=alice)
    advance(submission)
    assert submission.state == "published"
    assert submission.attempts.filter(stage="train").count() == 1


def test_a_chain_that_fails_stops_the_scan(alice, make_submission, backend, succeed):
    bad = JobStatus(JobState.FAILED, {}, Failure("not_json", "no JSON", shard="a").as_dict())
    outcomes = {"validate": None, "tokenize": bad, "scan": RUNNING}
    backend.outcome = lambda key: outcomes[key.split("-")[1]] or succeed(key)
    submission = advance(make_submission(alice), 20)
    assert submission.state == "failed"
    assert states(submission)["scan"] == "cancelled"
    assert backend.cancelled == [f"{submission.id}-scan-a1"]


def test_a_scan_that_cannot_be_stopped_at_once_is_stopped_later(
    alice, make_submission, backend, succeed, monkeypatch
):
    bad = JobStatus(JobState.FAILED, {}, Failure("not_json", "no JSON", shard="a").as_dict())
    outcomes = {"validate": None, "tokenize": bad, "scan": RUNNING}
    backend.outcome = lambda key: outcomes[key.split("-")[1]] or succeed(key)
    monkeypatch.setattr(backend, "cancel", lambda key: False)
    submission = advance(make_submission(alice), 20)
    assert (submission.state, states(submission)["scan"]) == ("failed", "running")
    sent = []
    monkeypatch.setattr(
        "crucible.jobs.reconciler.send_hint", lambda number: sent.append(number) or True
    )
    assert reconcile_once() == 1
    assert sent == [submission.id]
    monkeypatch.setattr(backend, "cancel", lambda key: True)
    advance(submission)
    assert states(submission)["scan"] == "cancelled"
    assert reconcile_once() == 0


def test_cancelling_stops_both(alice, make_submission, backend, succeed):
    backend.outcome = lambda key: succeed(key) if "-validate-" in key else RUNNING
    submission = advance(make_submission(alice))
    submission_cancel(submission_id=submission.id, actor=alice)
    advance(submission)
    assert submission.state == "cancelled"
    assert sorted(backend.cancelled) == [
        f"{submission.id}-scan-a1", f"{submission.id}-tokenize-a1",
    ]  # fmt: skip
    assert not Attempt.objects.filter(state__in=["queued", "launching", "running"]).exists()


@pytest.mark.parametrize(
    ("harm", "code"),
    [(lambda report: report.unlink(), "artifact_missing"),
     (lambda report: report.write_text("{}"), "artifact_corrupt")],
)  # fmt: skip
def test_a_report_that_is_gone_or_another_ends_the_submission(
    alice, make_submission, backend, succeed, tmp_path, harm, code
):
    report = tmp_path / "scanned.json"
    report.write_text("as the scan wrote it")
    artifact = {"uri": report.as_uri(), "sha256": file_sha256(report)}

    def outcome(key):
        status = succeed(key)
        if "-scan-" in key:
            status.document["outputs"] = {"report": artifact}
        return status

    harm(report)
    backend.outcome = outcome
    submission = advance(make_submission(alice))
    assert (submission.state, submission.failure["code"]) == ("failed", code)
    assert submission.failure["fault"] == "infrastructure"
