"""Stores baselines: published runs of others, imported again and again without doubling."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from crucible.leaderboard.models import Baseline
from crucible.leaderboard.revisions import board_touch
from evaluation.baselines import Baseline as PublishedRun
from submissions.codec import to_json
from submissions.states import Track


@transaction.atomic
def baselines_store(runs: Sequence[PublishedRun]) -> tuple[int, int]:
    """Adds or updates each run; returns how many were new, and how many there are now."""
    before = Baseline.objects.count()
    for run in runs:
        Baseline.objects.update_or_create(
            origin=run.origin,
            reference=run.reference,
            defaults={
                "name": run.name,
                "scale": run.scale,
                "seed": run.seed,
                "made_at": run.made_at,
                "source": run.source,
                "deviations": list(run.deviations),
                "scores": {version: to_json(score) for version, score in run.scores.items()},
            },
        )
    for scale in sorted({run.scale for run in runs}):
        for track in Track:
            board_touch(track, scale)
    after = Baseline.objects.count()
    return after - before, after
