"""The profile beside the chain: it waits for nobody, nobody waits for it, and it holds nothing."""

from __future__ import annotations

import pytest

from crucible.intake.services import submission_cancel
from crucible.jobs.backends.base import BackendAway, JobState, JobStatus
from crucible.jobs.models import Attempt
from crucible.jobs.reconciler import reconcile_once
from crucible.pages.stages import waiting_for
from crucible.profiles.models import DatasetProfile
from crucible.profiles.services import POOL, sample_open
from submissions.failures import Failure
from submissions.profile.kept import AGAINST, SAMPLE, SKETCH
from tests.platform.steps import advance
from tests.profile_example import write_example

pytestmark = pytest.mark.django_db
RUNNING = JobStatus(JobState.RUNNING)
FULL = JobStatus(JobState.FAILED, {}, Failure("disk_full", "no space left").as_dict())


@pytest.fixture
def except_for(backend, succeed):
    """Every job finishes well but those of one stage."""

    def make(stage, outcome):
        backend.outcome = lambda key: outcome if f"-{stage}-" in key else succeed(key)

    return make


def state_of(submission):
    return submission.attempts.filter(stage="profile").last().state


def test_its_result_and_its_files_are_kept(alice, publish, backend):
    submission = publish(alice)
    profile = DatasetProfile.objects.get(submission=submission)
    assert profile.figures["documents"] == 5
    assert not profile.sample_is_public
    assert {path.name for path in profile.folder.iterdir()} == {SAMPLE, SKETCH}
    spec = backend.specs[f"{submission.id}-profile-a1"]
    assert spec.module == "submissions.profile.stage"
    assert spec.document["inputs"].keys() == {"dataset"}


def test_nobody_waits_for_it_and_it_goes_on_after_publication(
    alice, make_submission, backend, except_for, succeed, monkeypatch
):
    except_for("profile", RUNNING)
    submission = advance(make_submission(alice))
    assert submission.state == "published"
    assert state_of(submission) == "running"
    assert backend.cancelled == []
    sent = []
    monkeypatch.setattr(
        "crucible.jobs.reconciler.send_hint", lambda number: sent.append(number) or True
    )
    assert reconcile_once() == 0  # it is not due yet
    submission.due_at = None
    submission.save()
    assert reconcile_once() == 1
    assert sent == [submission.id]
    backend.outcome = succeed
    advance(submission)
    assert state_of(submission) == "succeeded"
    assert DatasetProfile.objects.filter(submission=submission).exists()
    assert reconcile_once() == 0


@pytest.mark.parametrize("ending", ["failed", "lost", "broken files", "an error"])
def test_its_failure_never_holds_a_submission(
    alice, make_submission, backend, except_for, succeed, monkeypatch, ending
):
    if ending == "failed":
        except_for("profile", FULL)
    elif ending == "lost":
        except_for("profile", JobStatus(JobState.LOST))
    elif ending == "broken files":
        document = {**succeed("1-profile-a1").document, "outputs": {}}
        except_for("profile", JobStatus(JobState.SUCCEEDED, document=document))
    else:
        backend.outcome = succeed
        monkeypatch.setattr("crucible.jobs.stages.sketches_lay_out", lambda **_: 1 / 0)
    submission = advance(make_submission(alice), 20)
    assert submission.state == "published"
    assert not DatasetProfile.objects.exists()
    assert state_of(submission) in ("failed", "lost")
    attempts = Attempt.objects.filter(stage="profile")
    assert attempts.count() == (3 if ending in ("failed", "lost") else 1)
    assert advance(submission).state == "published"
    assert Attempt.objects.filter(stage="profile").count() == attempts.count()


def test_a_backend_that_is_away_for_it_alone_delays_nothing(
    alice, make_submission, backend, succeed
):
    def outcome(key):
        if "-profile-" in key:
            raise BackendAway("the scheduler does not answer")
        return succeed(key)

    backend.outcome = outcome
    assert advance(make_submission(alice)).state == "published"


def test_it_comes_last_in_the_queue(alice, bob, make_submission, backend, succeed):
    backend.slots = 1
    backend.outcome = lambda key: succeed(key) if "-validate-" in key else RUNNING
    first = advance(make_submission(alice))
    assert state_of(first) == "queued"
    second = advance(make_submission(bob))
    assert second.attempts.get(stage="validate").state == "queued"
    backend.outcome = lambda key: RUNNING if "-validate-" in key else succeed(key)
    Attempt.objects.filter(submission=first, state="running").update(state="cancelled")
    reconcile_once()
    running = Attempt.objects.filter(state="launching").get()
    assert running.stage != "profile"


def test_it_is_not_what_a_submission_waits_for(alice, make_submission, backend, succeed):
    backend.slots = 1
    backend.outcome = lambda key: RUNNING if "-tokenize-" in key else succeed(key)
    submission = advance(make_submission(alice), 12)
    assert state_of(submission) == "queued"
    assert "slot" not in waiting_for(submission)


def test_cancelling_stops_it(alice, make_submission, backend, succeed):
    backend.slots = 4
    backend.outcome = lambda key: succeed(key) if "-validate-" in key else RUNNING
    submission = advance(make_submission(alice))
    assert state_of(submission) == "running"
    submission_cancel(submission_id=submission.id, actor=alice)
    assert advance(submission).state == "cancelled"
    assert f"{submission.id}-profile-a1" in backend.cancelled


def test_earlier_datasets_of_the_user_and_the_pool_are_laid_out(
    alice, bob, publish, backend, settings, tmp_path
):
    write_example(tmp_path / "pool")
    settings.CRUCIBLE_POOL_PROFILE = str(tmp_path / "pool")
    publish(bob)
    first = publish(alice)
    second = publish(alice)
    inputs = backend.specs[f"{second.id}-profile-a1"].document["inputs"]
    assert inputs.keys() == {
        "dataset", AGAINST + POOL, f"{AGAINST}a dataset (submission {first.id})",
    }  # fmt: skip
    work = (tmp_path / "work" / str(second.id)).as_uri()
    assert inputs[AGAINST + POOL]["uri"].startswith(work)


def test_only_the_owner_opens_a_sample(alice, bob, publish):
    submission = publish(alice)
    with pytest.raises(Failure, match="no sample of yours"):
        sample_open(submission=submission, user=bob, public=True)
    assert not DatasetProfile.objects.get().sample_is_public
    sample_open(submission=submission, user=alice, public=True)
    assert DatasetProfile.objects.get().sample_is_public
