"""The queue: the order of attempts that wait for a slot, the grant of slots, and a forecast.

A queue is one scale on one backend. The backend's slots limit its running jobs, and so does its
`Lane`, if an organiser set one. The order:

1. profiles last: no other stage waits for a slot behind one;
2. higher priority first;
3. then the team (or user without a team) with the fewest jobs running and ahead in the queue;
4. then the older submission.

One process at a time grants slots, under an advisory lock of the transaction.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.core.cache import caches
from django.db import connection, transaction
from django.db.models import Avg, F
from django.db.models.functions import Now

from crucible.entries.models import Submission
from crucible.jobs.backends import backend_get
from crucible.jobs.models import OCCUPYING, Attempt, AttemptState, Lane
from submissions.states import Stage
from training_recipes.cost import cost_of
from training_recipes.scales import load_scale

GRANT_LOCK = 4_201_178  # any number, the same in every process of an installation
RECENT = 20  # the forecast is the mean over this many finished jobs
FORECAST_KEPT = 60  # seconds
BRIEF = 10.0  # seconds; the forecast for a stage without finished jobs or a cost

# Every queued attempt of a backend that may start, in order. A holder is a team (negative id) or a
# user without a team. `share` is the holder's number of running jobs plus the attempt's position
# among the holder's own.
_ORDER = """
with running as (
    select coalesce(-m.team_id, s.user_id) as holder, count(*) as jobs
    from jobs_attempt a join entries_submission s on s.id = a.submission_id
    left join budgets_membership m on m.user_id = s.user_id
    where a.backend = %(backend)s and a.state in ('launching', 'running') group by 1
), queued as (
    select a.id, a.stage, s.scale, s.priority, s.id as submission_id,
        coalesce(-m.team_id, s.user_id) as holder
    from jobs_attempt a join entries_submission s on s.id = a.submission_id
    left join budgets_membership m on m.user_id = s.user_id
    left join jobs_lane l on l.backend = a.backend and l.scale = s.scale
    where a.backend = %(backend)s and a.state = 'queued' and s.held_for = '' and s.state not in
        ('cancelling', 'cancelled', 'failed') and not coalesce(l.held, false)
), shared as (
    select q.*, coalesce(r.jobs, 0)
        + row_number() over (
            partition by q.holder
            order by q.stage = 'profile', q.priority desc, q.submission_id, q.id
        ) as share
    from queued q left join running r on r.holder = q.holder
), placed as (
    select *, row_number() over (
        order by stage = 'profile', priority desc, share, submission_id, id
    ) as place from shared
)
"""


# Every job with a slot: the seconds that it has run, and those that it reports as left.
_WITH_SLOTS = """
select a.stage, s.scale,
    coalesce(extract(epoch from now() - a.launched_at), 0)::float8,
    (a.progress #>> '{metrics,eta_seconds}')::float8
from jobs_attempt a join entries_submission s on s.id = a.submission_id
where a.backend = %(backend)s and a.state = any(%(states)s)
"""


@dataclass(frozen=True)
class Position:
    """The position of a queued attempt among those of its scale; 1 is next.

    `seconds`: the forecast until its start; None if something other than the queue stops it.
    """

    number: int
    of: int
    seconds: float | None


def _rows(sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(_ORDER + sql, parameters)
        return list(cursor.fetchall())


def _occupied(backend: str) -> Counter[str]:
    """Jobs that hold a slot, by scale."""
    held = Attempt.objects.filter(backend=backend, state__in=OCCUPYING)
    return Counter(held.values_list("submission__scale", flat=True))


def _limits(backend: str) -> dict[str, int]:
    lanes = Lane.objects.filter(backend=backend, jobs_at_once__isnull=False)
    return {lane.scale: lane.jobs_at_once or 0 for lane in lanes}


@transaction.atomic
def slots_grant(backend: str) -> dict[int, int]:
    """Grants free slots in the order of the queue; returns the submission of each granted attempt.

    Does nothing while another process grants slots: the reconciler's next pass tries again.
    """
    with connection.cursor() as cursor:
        cursor.execute("select pg_try_advisory_xact_lock(%s)", [GRANT_LOCK])
        if not cursor.fetchone()[0]:
            return {}
    occupied = _occupied(backend)
    free = backend_get(backend).slots - occupied.total()
    if free <= 0:
        return {}
    limits = _limits(backend)
    chosen: dict[int, int] = {}
    rows = _rows("select id, submission_id, scale from placed order by place", {"backend": backend})
    for attempt_id, submission_id, scale in rows:
        if len(chosen) == free:
            break
        if occupied[scale] < limits.get(scale, free + occupied[scale]):
            occupied[scale] += 1
            chosen[attempt_id] = submission_id
    Attempt.objects.filter(id__in=chosen, state=AttemptState.QUEUED).update(
        state=AttemptState.LAUNCHING
    )
    Submission.objects.filter(id__in=chosen.values()).update(
        due_at=Now(), hinted_at=None, waiting_for="its launch"
    )
    return chosen


def position_of(attempt: Attempt, scale: str) -> Position | None:
    """The position of a queued attempt; None if it is held or not queued."""
    mine = _rows(
        # PostgreSQL evaluates this scalar subquery once; as a join, it did so for every row.
        " select stage, scale, count(*),"
        " count(*) filter (where place <= (select place from placed where id = %(id)s))"
        " from placed group by 1, 2",
        {"backend": attempt.backend, "id": attempt.id},
    )
    if not any(ahead for *_, ahead in mine):
        return None
    position = sum(ahead for _, of_scale, _, ahead in mine if of_scale == scale)
    total = sum(count for _, of_scale, count, _ in mine if of_scale == scale)
    return Position(position, total, _forecast(attempt, scale, mine))


def _forecast(attempt: Attempt, scale: str, rows: list[tuple[Any, ...]]) -> float | None:
    """Seconds until it starts: the longer of the waits for the backend and for its lane."""
    limit = _limits(attempt.backend).get(scale)
    slots = backend_get(attempt.backend).slots
    if slots <= 0 or limit == 0:
        return None
    running = _remaining(attempt.backend)
    whole = _until_slot(slots, list(running), [(stage, of, ahead) for stage, of, _, ahead in rows])
    if limit is None:
        return whole
    lane = [(stage, of, ahead) for stage, of, _, ahead in rows if of == scale]
    return max(whole, _until_slot(limit, [(s, of) for s, of in running if of == scale], lane))


def _until_slot(
    slots: int, running: list[tuple[float, str]], ahead: list[tuple[str, str, int]]
) -> float:
    """Seconds until the last of `ahead`, the attempt itself, gets one of `slots`."""
    left = sorted(seconds for seconds, _ in running)
    endings = sum(count for _, _, count in ahead) - max(
        0, slots - len(left)
    )  # that must come first
    if endings <= 0:
        return 0.0
    if endings <= len(left):
        return left[endings - 1]
    work = sum(count * expected_seconds(stage, scale) for stage, scale, count in ahead)
    return (sum(left) + work) / slots


def _remaining(backend: str) -> list[tuple[float, str]]:
    """Remaining seconds of each job with a slot, with its scale."""
    with connection.cursor() as cursor:
        cursor.execute(_WITH_SLOTS, {"backend": backend, "states": list(OCCUPYING)})
        jobs = cursor.fetchall()
    return [
        (max(0.0, expected_seconds(stage, scale) - ran) if left is None else left, scale)
        for stage, scale, ran, left in jobs
    ]


def expected_seconds(stage: str, scale: str) -> float:
    """Expected duration of a stage: the mean of the last ones, or the cost of the scale."""
    key = f"expected-{stage}-{scale}"
    kept: float | None = caches["process"].get(key)
    if kept is None:
        kept = _mean_of_recent(stage, scale)
        if kept is None:
            kept = _estimate(stage, scale)
        caches["process"].set(key, kept, FORECAST_KEPT)
    return kept


def _mean_of_recent(stage: str, scale: str) -> float | None:
    recent = Attempt.objects.filter(
        stage=stage,
        submission__scale=scale,
        state=AttemptState.SUCCEEDED,
        launched_at__isnull=False,
    ).order_by("-id")[:RECENT]
    mean = Attempt.objects.filter(id__in=recent.values("id")).aggregate(
        mean=Avg(F("finished_at") - F("launched_at"))
    )["mean"]
    return mean.total_seconds() if mean is not None else None


def _estimate(stage: str, scale: str) -> float:
    cost = cost_of(load_scale(scale))
    known = {
        Stage.TOKENIZE.value: 3600 * cost.tokenise_cpu_hours,
        Stage.TRAIN.value: cost.works[0].seconds,
        Stage.EVALUATE.value: cost.works[1].seconds,
    }
    return max(BRIEF, known.get(stage, BRIEF))
