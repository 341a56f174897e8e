"""The engine and audit of an evaluation: what the job is told, what the page of a score says."""

from __future__ import annotations

from crucible.jobs.models import Attempt
from crucible.jobs.stages import AUDITED, spec_of
from submissions.states import Stage

FIGURES = {
    "precision": "fp32",
    "rounding": {"sample": 16, "largest_difference": 1e-6, "examples_within_twice_that": 3},
    "audit": {
        "engine": "llm-foundry", "precision": "fp32", "examples": 100, "different": [],
        "close": 0, "largest_difference": 2.4e-5, "ok": True,
    },
}  # fmt: skip


def words_of(page):
    """The page with every run of white space as one space."""
    return " ".join(page.split())


def evaluated(submission):
    return Attempt.objects.get(submission=submission, stage=Stage.EVALUATE)


def test_an_evaluation_is_native_and_audited(alice, publish):
    parameters = spec_of(evaluated(publish(alice))).document["parameters"]
    assert (parameters["engine"], parameters["audit"]) == ("native", AUDITED)


def test_the_page_says_what_the_reference_said(alice, publish, client):
    submission = publish(alice)
    attempt = evaluated(submission)
    attempt.result["figures"] |= FIGURES
    attempt.save()
    page = words_of(client.get(f"/submissions/{submission.id}/").text)
    assert "(evaluation, fp32)" in page
    assert "llm-foundry answered 100 examples again: every answer is the same" in page
    assert "log-probabilities agree within 2e-05" in page
    assert "3 examples are so close that rounding may decide them" in page
    attempt.result["figures"]["audit"]["different"] = [{"task": "a", "index": 1, "margin": 1e-6}]
    attempt.save()
    page = words_of(client.get(f"/submissions/{submission.id}/").text)
    assert "1 answer differs, all within rounding" in page


def test_a_score_without_an_audit_has_no_line_about_it(alice, publish, client):
    page = client.get(f"/submissions/{publish(alice).id}/").text
    assert "<dt>Audit</dt>" not in page
    assert "<dt>Rounding</dt>" not in page
