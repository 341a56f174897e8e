"""What benchmarks/scale.py puts into the database: users, submissions and scores."""

from __future__ import annotations

import argparse
import random
import time
from datetime import timedelta
from typing import Any

from benchmarks.scale_jobs import BAD, SEED, Jobs
from benchmarks.scale_scores import HASH, SCALE, scores

STAGES = ["validate", "tokenize", "train", "evaluate", "score"]


def populate(arguments: argparse.Namespace, jobs: Jobs) -> dict[str, str]:
    """Users, submissions with their history, scores; returns tokens and numbers to ask for."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.utils import timezone

    from crucible.accounts.scopes import Scope
    from crucible.accounts.services import token_create
    from crucible.entries.models import Event, Submission, Upload
    from crucible.jobs.models import Attempt
    from submissions.states import State

    draw = random.Random(SEED)
    users = User.objects.bulk_create(User(username=f"user{n}") for n in range(200))
    staff = User.objects.create(username="staff", is_staff=True, is_superuser=True)
    count, running, queued = arguments.submissions, arguments.running, arguments.queued
    uploads = Upload.objects.bulk_create(
        Upload(user=draw.choice(users), closed_at=timezone.now()) for _ in range(count)
    )
    now = timezone.now()
    submissions = []
    for number, upload in enumerate(uploads):
        waits = number < running + queued
        state = State.VALIDATING if waits else State.PUBLISHED if number % 8 == 0 else State.FAILED
        submissions.append(
            Submission(
                user=upload.user, name=f"dataset {number}", track="filtering", seed=124,
                scale=SCALE if state == State.PUBLISHED else "smoke", upload=upload,
                state=state, version=6,
                failure=BAD if state == State.FAILED else None,
                waiting_for="a free slot" if waits else "",
            )
        )  # fmt: skip
    submissions = Submission.objects.bulk_create(submissions, batch_size=2000)
    # Whoever waits for a slot waits without a time (jobs/pipeline.py).
    queuing = [one.id for one in submissions[running : running + queued]]
    Submission.objects.filter(id__in=queuing).update(due_at=None)
    attempts, events = [], []
    for number, one in enumerate(submissions):
        waits = number < running + queued
        began = now - timedelta(minutes=draw.randint(5, 5000))
        events += [
            Event(submission=one, sequence=n, kind="launched", to_state=one.state, actor="crucible")
            for n in range(3 if waits else 13)
        ]
        for stage in STAGES[:1] if waits or one.state == State.FAILED else STAGES:
            state = "succeeded" if one.state == State.PUBLISHED else "failed"
            state = "running" if number < running else "queued" if waits else state
            over = state in ("succeeded", "failed")
            attempts.append(
                Attempt(
                    submission=one, stage=stage, number=1, key=f"{one.id}-{stage}-a1",
                    backend="local", state=state, launched_at=None if state == "queued" else began,
                    finished_at=began + timedelta(seconds=60) if over else None,
                    result=result_of(stage) if state == "succeeded" else None,
                    failure=BAD if state == "failed" else None,
                )
            )  # fmt: skip
    Event.objects.bulk_create(events, batch_size=5000)
    Attempt.objects.bulk_create(attempts, batch_size=5000)
    for one in submissions[:running]:
        job = jobs.folder / f"{one.id}-validate-a1"
        job.mkdir(parents=True)
        (job / "launch").write_text(f"{time.time()}")
        (job / "log.txt").write_text("a line of the log\n" * 400)
        jobs.begin(job, draw.uniform(0.1, 1.5))
    published = [one for one in submissions if one.state == State.PUBLISHED]
    scores(published, sorted((draw.random() for _ in published), reverse=True))
    with connection.cursor() as cursor:
        cursor.execute("vacuum analyze")  # as it is where rows came one by one
    return {
        "user": token_create(user=users[0], label="benchmark")[1],
        "staff": token_create(user=staff, label="benchmark", scopes=list(Scope))[1],
        "running": str(submissions[0].id), "queued": str(submissions[running + queued - 1].id),
        "published": str(next(s.id for s in submissions if s.state == State.PUBLISHED)),
    }  # fmt: skip


def result_of(stage: str) -> dict[str, Any]:
    """A result document of about the size of a real one."""
    figures: dict[str, Any] = {
        "validate": {"documents": 1000, "manifest_sha256": HASH},
        "tokenize": {"tokens": 9, "unique_tokens": 9, "epochs": 1, "tokenizer_sha256": HASH},
        "train": {
            "loss": 3.0, "flops": 1e12, "engine": "composer", "recipe_sha256": HASH,
            "weights_sha256": HASH, "loss_curve": [[n, 8 - n / 40] for n in range(200)],
        },
        "evaluate": {"suite_hash": HASH, "engine": "native"},
        "score": {"metric_version": "v2", "label": "SMOKE", "categories": {}, "tasks": {}},
    }[stage]  # fmt: skip
    return {"key": f"1-{stage}-a1", "stage": stage, "figures": figures, "seconds": 2.0,
            "outputs": {}}  # fmt: skip


class Publisher:
    """Publishes one submission after the other of those that failed: each changes its board.

    Each comes among the first hundred, whose places are found anew from all their answers. The one
    before it leaves the board, which so keeps its length: what grows is then no board. `ready`: the
    board is made anew on commit, as by the pipeline; else by whoever looks, as after a crash.
    """

    def __init__(self, ready: bool) -> None:
        from crucible.entries.models import Submission

        failed = Submission.objects.filter(state="failed", version=6).order_by("id")
        self.numbers = iter(list(failed.values_list("id", flat=True)))
        self.draw = random.Random(SEED)
        self.before, self.ready = 0, ready

    def __call__(self) -> None:
        from django.db import transaction
        from django.db.models import F

        from crucible.entries.models import Submission
        from crucible.hints import send_hint
        from crucible.leaderboard.models import BoardRevision
        from crucible.leaderboard.revisions import board_touch

        number = next(self.numbers)
        with transaction.atomic():  # as the pipeline does
            Submission.objects.filter(id=self.before).update(state="failed", failure=BAD)
            Submission.objects.filter(id=number).update(
                state="published", failure=None, scale=SCALE
            )
            submission = Submission.objects.get(id=number)
            scores([submission], [self.draw.uniform(0.9, 1.0)])
            if self.ready:
                board_touch(submission.track, submission.scale)
            else:
                BoardRevision.objects.update(number=F("number") + 1)
        send_hint(number)
        self.before = number
