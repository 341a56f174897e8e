"""Places in random queues, compared with the rule played out one slot after another."""

from __future__ import annotations

import random

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches

from crucible.budgets.models import Membership, Team
from crucible.entries.models import Submission, Upload
from crucible.jobs.models import OCCUPYING, Attempt, AttemptState, Lane
from crucible.jobs.queue import position_of, slots_grant

pytestmark = pytest.mark.django_db
SCALES, BACKENDS = ("smoke", "400m-1x"), ("local", "slurm")
OVER = ("cancelling", "cancelled", "failed")


@pytest.fixture
def people() -> list[User]:
    """Seven users, five of them in two teams."""
    users = [User.objects.create_user(f"user{n}") for n in range(7)]
    teams = [Team.objects.create(name=f"team {n}") for n in range(2)]
    for number, user in enumerate(users[:5]):
        Membership.objects.create(team=teams[number % 2], user=user)
    return users


def draw_queue(draw: random.Random, people: list[User]) -> None:
    """Some fifty attempts in all states, of submissions in all conditions, and a few lanes."""
    for _ in range(draw.randint(40, 70)):
        user = draw.choice(people)
        submission = Submission.objects.create(
            user=user, upload=Upload.objects.create(user=user), name="a dataset",
            track="filtering", scale=draw.choice(SCALES), seed=1,
            state=draw.choice(["validating", "training"] * 3 + list(OVER)), failure={"code": "x"},
            priority=draw.choice([0, 0, 0, 1, -2]), held_for=draw.choice(["", "", "", "looks odd"]),
        )  # fmt: skip
        # A queued scan may stand beside a queued stage of the same submission.
        for stage in draw.choice([["validate"], ["train"], ["train", "scan"]]):
            state = draw.choice([AttemptState.QUEUED] * 4 + [*OCCUPYING, AttemptState.SUCCEEDED])
            Attempt.objects.create(
                submission=submission, stage=stage, number=1, key=f"{submission.id}-{stage}-a1",
                backend=draw.choice(BACKENDS), state=state, result={},
            )  # fmt: skip
    if draw.random() < 0.5:
        Lane.objects.create(backend="local", scale=draw.choice(SCALES), held=draw.random() < 0.5)


def holder(attempt: Attempt) -> object:
    """Whose turn it is: the team's, or that of a user without one."""
    member = Membership.objects.filter(user=attempt.submission.user_id).first()
    return ("team", member.team_id) if member else ("user", attempt.submission.user_id)


def played_out(backend: str) -> list[Attempt]:
    """What may start, in the order in which slots that come free one by one are given away.

    Each goes to the highest priority there is; of those to whoever has the least running and
    started so far; of those to the oldest submission.
    """
    had: dict[object, int] = {}
    waiting = []
    for attempt in Attempt.objects.filter(backend=backend).select_related("submission"):
        one = attempt.submission
        if attempt.state in OCCUPYING:
            had[holder(attempt)] = had.get(holder(attempt), 0) + 1
        held = Lane.objects.filter(backend=backend, scale=one.scale, held=True).exists()
        if attempt.state == "queued" and not (held or one.held_for or one.state in OVER):
            waiting.append((attempt, holder(attempt)))
    order = []
    while waiting:
        following = min(
            waiting,
            key=lambda pair: (
                -pair[0].submission.priority, had.get(pair[1], 0), pair[0].submission_id,
                pair[0].id,
            ),
        )  # fmt: skip
        waiting.remove(following)
        order.append(following[0])
        had[following[1]] = had.get(following[1], 0) + 1
    return order


@pytest.mark.parametrize("seed", range(12))
def test_a_place_is_what_the_rule_comes_to(seed, people, backend):
    caches["process"].clear()
    draw_queue(random.Random(seed), people)
    backend.slots = 10
    for name in BACKENDS:
        order = played_out(name)
        assert order
        expected = {}
        for scale in SCALES:
            of_scale = [attempt.id for attempt in order if attempt.submission.scale == scale]
            expected |= {one: (place, len(of_scale)) for place, one in enumerate(of_scale, start=1)}
        found = {}
        for attempt in Attempt.objects.filter(backend=name).select_related("submission"):
            position = position_of(attempt, attempt.submission.scale)
            if position is not None:
                found[attempt.id] = (position.number, position.of)
        assert found == expected


@pytest.mark.parametrize("seed", range(4))
def test_slots_are_given_in_the_order_of_the_positions(seed, people, backend):
    draw_queue(random.Random(100 + seed), people)
    order = [attempt.id for attempt in played_out("local")]
    busy = Attempt.objects.filter(backend="local", state__in=OCCUPYING).count()
    backend.slots = busy + 5
    assert list(slots_grant("local")) == order[:5]
