"""The suite of each board on this site."""

from __future__ import annotations

from django.conf import settings

from crucible.leaderboard.models import Score
from evaluation.suite import Suite, load_suite, suite_of


def suite_name(scale: str) -> str:
    """The name, or the file, of a scale's suite (`CRUCIBLE_SUITE`)."""
    return suite_of(scale, settings.CRUCIBLE_SUITE)


def board_suite(scale: str) -> Suite:
    """The suite of a scale."""
    return load_suite(suite_name(scale))


def suite_of_score(score: Score) -> Suite | None:
    """The suite that the score answers; None if this site no longer has it."""
    suite = board_suite(score.submission.scale)
    return suite if suite.hash == score.suite_sha256 else None
