"""The pipeline on a scripted backend: every way a stage can end, every moment to be interrupted."""

from __future__ import annotations

import pytest

from crucible.entries.models import Submission
from crucible.intake.services import submission_cancel
from crucible.jobs import pipeline
from crucible.jobs.backends.base import JobState, JobStatus
from crucible.jobs.models import Attempt
from crucible.jobs.pipeline import submission_advance
from crucible.jobs.stages import stage_after
from crucible.leaderboard.models import Score
from submissions.failures import Failure
from submissions.states import Stage
from tests.platform.steps import advance

pytestmark = pytest.mark.django_db


def test_all_stages_in_order_each_launched_once_end_in_a_score(alice, publish, backend):
    submission = publish(alice)
    keys = [f"{submission.id}-{stage.value}-a1" for stage in Stage]
    assert backend.launched == keys
    score = Score.objects.get(submission=submission)
    assert (score.value, score.seed, score.code_commit) == (0.125, 124, "c0ffee")
    assert score.seconds == 12.0
    kinds = [event.kind for event in submission.events.all()]
    assert kinds[:4] == ["submitted", "validating", "launched", "finished"]
    assert kinds[-1] == "published"


def test_each_stage_gets_the_artifact_of_the_one_before(alice, publish, backend):
    submission = publish(alice)
    train = backend.specs[f"{submission.id}-train-a1"]
    assert train.module == "training_recipes.train"
    assert train.document["inputs"]["tokens"]["uri"] == "file:///nowhere/tokenize"
    assert train.document["parameters"] == {"scale": "smoke", "seed": 124, "engine": "composer"}
    assert train.document["output"].endswith(f"/work/{submission.id}/train")


def test_a_running_job_is_left_alone_and_its_progress_taken_over(alice, make_submission, backend):
    progress = {"time": 1.0, "step": 3, "of": 9, "unit": "steps", "message": "", "metrics": {}}
    backend.outcome = lambda key: JobStatus(JobState.RUNNING, progress)
    submission = advance(make_submission(alice))
    assert submission.state == "validating"
    attempt = Attempt.objects.get()
    assert (attempt.state, attempt.progress["step"]) == ("running", 3)
    assert len(backend.launched) == 1


def test_a_lost_job_is_started_anew_under_a_new_key_a_bounded_number_of_times(
    alice, make_submission, backend
):
    backend.outcome = lambda key: JobStatus(JobState.LOST)
    submission = advance(make_submission(alice), 20)
    assert backend.launched == [f"{submission.id}-validate-a{n}" for n in (1, 2, 3)]
    assert submission.state == "failed"
    assert submission.failure["code"] == "lost"
    assert submission.failure["fault"] == "infrastructure"


def test_a_job_that_the_backend_forgot_is_launched_again_and_costs_no_attempt(
    alice, make_submission, backend
):
    submission = advance(make_submission(alice), 1)
    key = f"{submission.id}-validate-a1"
    assert backend.launched == [key]
    backend.launched.clear()
    advance(submission)
    assert backend.launched == [key]
    assert Attempt.objects.get().state == "running"


def test_a_participants_fault_ends_it_at_once(alice, make_submission, backend):
    failure = Failure("not_json", "this line is not JSON", shard="a.jsonl", line=3).as_dict()
    backend.outcome = lambda key: JobStatus(JobState.FAILED, {}, failure)
    submission = advance(make_submission(alice))
    assert len(backend.launched) == 1
    assert (submission.state, submission.failure) == ("failed", failure)


def test_our_fault_is_tried_again_and_then_goes_on(alice, make_submission, backend, succeed):
    full = Failure("disk_full", "no space left").as_dict()
    first = JobStatus(JobState.FAILED, {}, full)
    backend.outcome = lambda key: first if key.endswith("train-a1") else succeed(key)
    submission = advance(make_submission(alice), 20)
    assert submission.state == "published"
    assert [key for key in backend.launched if "train" in key] == [
        f"{submission.id}-train-a1", f"{submission.id}-train-a2",
    ]  # fmt: skip


def test_death_between_intent_and_launch_launches_once(
    alice, make_submission, backend, monkeypatch
):
    submission = make_submission(alice)
    death = KeyboardInterrupt("died")
    monkeypatch.setattr(backend, "submit", lambda key, spec: (_ for _ in ()).throw(death))
    with pytest.raises(KeyboardInterrupt, match="died"):
        submission_advance(submission_id=submission.id)
    assert Attempt.objects.get().state == "launching"
    monkeypatch.undo()
    monkeypatch.setattr(pipeline, "backend_get", lambda name: backend)
    advance(submission)
    assert backend.launched == [f"{submission.id}-validate-a1"]


def test_death_after_the_launch_adopts_the_job(alice, make_submission, backend):
    backend.slots = 0
    submission = advance(make_submission(alice))
    key = f"{submission.id}-validate-a1"
    assert (Attempt.objects.get().state, backend.launched) == ("queued", [])
    Attempt.objects.update(state="launching")  # it got a slot,
    backend.launched.append(key)  # the launch happened; the process that did it died
    advance(submission)
    assert Attempt.objects.get().state == "running"
    assert backend.launched == [key]


def test_slots_bound_what_runs_and_the_oldest_goes_first(alice, make_submission, backend, succeed):
    first, second, third = (make_submission(alice) for _ in range(3))
    for submission in (first, second, third):
        advance(submission, 1)
    assert backend.launched == [f"{first.id}-validate-a1", f"{second.id}-validate-a1"]
    third.refresh_from_db()
    assert third.waiting_for == "a free slot"
    assert third.due_at is None  # nobody asks in vain meanwhile
    backend.outcome = lambda key: succeed(key) if key.startswith(f"{first.id}-") else (
        JobStatus(JobState.RUNNING)
    )  # fmt: skip
    advance(first, 20)
    advance(third, 1)
    assert f"{third.id}-validate-a1" in backend.launched


def test_cancelling_stops_the_job_first(alice, make_submission, backend):
    submission = advance(make_submission(alice), 1)
    backend.cancel = lambda key: False  # it does not die at once
    submission_cancel(submission_id=submission.id, actor=alice)
    advance(submission)
    assert submission.state == "cancelling"
    backend.cancel = lambda key: True
    advance(submission)
    assert (submission.state, Attempt.objects.get().state) == ("cancelled", "cancelled")


def test_a_score_without_its_provenance_is_refused(alice, make_submission, backend, succeed):
    def without_seed_of_trust(key):
        status = succeed(key)
        if "train" in key:
            status.document["versions"] = {"commit": "unknown"}
        return status

    backend.outcome = without_seed_of_trust
    submission = advance(make_submission(alice), 20)
    assert submission.state == "failed"
    assert submission.failure["message"] == "the score lacks code_commit"
    assert not Score.objects.exists()


def test_a_hint_for_nothing_does_nothing(alice, publish, backend):
    submission = publish(alice)
    version = Submission.objects.get(id=submission.id).version
    submission_advance(submission_id=submission.id)
    submission_advance(submission_id=10**9)
    assert Submission.objects.get(id=submission.id).version == version


def test_the_chain_ends():
    assert stage_after(None) == Stage.VALIDATE
    assert stage_after(Stage.SCORE) is None
