"""Start-up checks: a site that could not finish a submission does not begin one."""

from __future__ import annotations

from django.core.checks import run_checks

from crucible.jobs import checks


def found() -> set[str]:
    return {problem.id for problem in run_checks() if problem.id.startswith("crucible.")}


def test_the_default_installation_is_fine():
    assert found() == set()


def test_a_task_may_not_outlive_the_visibility_timeout(settings):
    settings.CELERY_TASK_TIME_LIMIT = settings.CELERY_VISIBILITY_TIMEOUT
    assert found() == {"crucible.E001"}


def test_scales_must_exist_and_have_their_tasks(settings, tmp_path):
    settings.CRUCIBLE_SCALES = ["smoke", "smok"]
    assert found() == {"crucible.E002"}
    settings.CRUCIBLE_SCALES = ["smoke", "400m-1x"]
    assert found() == {"crucible.E003", "crucible.W001"}
    settings.CRUCIBLE_EVAL_DATA = str(tmp_path)
    assert found() == {"crucible.W001"}


def test_a_scale_of_the_bundled_tokenizer_needs_nothing_more(settings):
    settings.CRUCIBLE_SCALES = ["smoke", "cpu-300k"]
    assert found() == set()


def test_code_without_a_commit_publishes_nothing(monkeypatch):
    monkeypatch.setattr(checks, "code_commit", lambda folder: "unknown")
    assert found() == {"crucible.E004"}
