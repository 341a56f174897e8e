"""A retry: where it helps, who may, how often, and that it goes on instead of beginning anew."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from crucible.intake.services import MAX_RETRIES, submission_retry
from crucible.jobs.backends.base import JobState, JobStatus
from crucible.jobs.models import Attempt
from submissions.failures import Failure
from tests.platform.steps import advance

pytestmark = pytest.mark.django_db
FULL = JobStatus(JobState.FAILED, {}, Failure("disk_full", "no space left").as_dict())


@pytest.fixture
def failed_in_training(alice, make_submission, backend, succeed):
    backend.outcome = lambda key: FULL if "-train-" in key else succeed(key)
    submission = advance(make_submission(alice), 30)
    assert submission.state == "failed"
    return submission


def test_it_goes_on_from_the_stage_that_failed_with_new_attempts(
    alice, failed_in_training, backend, succeed
):
    submission = failed_in_training
    before = list(backend.launched)
    submission_retry(submission_id=submission.id, actor=alice)
    submission.refresh_from_db()
    assert (submission.state, submission.failure) == ("training", None)
    failing = iter([FULL, FULL])
    backend.outcome = lambda key: next(failing, None) or succeed(key)
    assert advance(submission, 20).state == "published"
    assert [key.split("-", 1)[1] for key in backend.launched[len(before) :]] == [
        "train-a4", "train-a5", "train-a6", "evaluate-a1", "score-a1",
    ]  # fmt: skip
    assert Attempt.objects.filter(stage="validate").count() == 1


def test_the_owner_has_a_few_and_an_organiser_goes_on(alice, bob, staff, failed_in_training):
    submission = failed_in_training
    with pytest.raises(Failure, match="you have no submission"):
        submission_retry(submission_id=submission.id, actor=bob)
    for _ in range(MAX_RETRIES):
        submission_retry(submission_id=submission.id, actor=alice)
        assert advance(submission).state == "failed"
    with pytest.raises(Failure, match="cannot be retried"):
        submission_retry(submission_id=submission.id, actor=alice)
    submission_retry(submission_id=submission.id, actor=staff)


def test_only_the_platforms_failure_can_be_retried(
    alice, make_submission, publish, backend, succeed
):
    published = publish(alice)
    bad = Failure("not_json", "this line is not JSON").as_dict()
    backend.outcome = lambda key: JobStatus(JobState.FAILED, {}, bad)
    refused = advance(make_submission(alice))
    running = make_submission(alice)
    client = Client()
    client.force_login(alice)
    for submission in (published, refused, running):
        path = f"/submissions/{submission.id}/"
        assert "Try again" not in client.get(path).text
        page = client.post(f"{path}retry/", follow=True).text
        assert "cannot be retried" in page
    assert not Attempt.objects.filter(submission=refused, number__gt=1).exists()


def test_one_click_on_the_page_and_one_call_of_the_api(
    alice, bob, failed_in_training, api, backend
):
    submission = failed_in_training
    path = f"/submissions/{submission.id}/"
    client = Client()
    client.force_login(bob)
    assert client.post(f"{path}retry/").status_code == 404
    client.force_login(alice)
    page = re.sub(r"\s+", " ", client.get(path).text)
    assert "caused by the platform" in page
    assert f'action="{path}retry/"' in page
    assert "Try again" in page
    assert api(alice, "GET", path[:-1])[1]["retry"] is True
    assert client.post(f"{path}retry/").status_code == 302
    advance(submission)
    status, document = api(alice, "POST", f"{path}retry")
    assert (status, document["state"], document["retry"]) == (200, "training", False)
    status, refused = api(alice, "POST", f"{path}retry")
    assert (status, refused["code"]) == (400, "refused")
    assert api(bob, "POST", f"{path}retry")[0] == 404


def test_the_page_shows_a_running_stage_whole(alice, make_submission, backend):
    progress = {
        "time": 1.0, "step": 3, "of": 9, "unit": "steps", "message": "reading",
        "metrics": {"eta_seconds": 75.0},
    }  # fmt: skip
    submission = make_submission(alice)
    advance(submission, 1)
    backend.outcome = lambda key: JobStatus(JobState.RUNNING, progress, note="Slurm: busy")
    advance(submission, 1)
    client = Client()
    client.force_login(alice)
    page = re.sub(r"\s+", " ", client.get(f"/submissions/{submission.id}/").text)
    for text in (
        "waiting for Slurm: busy", "3 of 9 steps", "about 1 min 15 s left", "last heard from",
        f"log of {submission.id}-validate-a1", "Cost so far", "Cancel this submission",
    ):  # fmt: skip
        assert text in page, text
