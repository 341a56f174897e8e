"""What became of everything, from two independent books: the site's rows, and the jobs' ledger."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.faults.quick_stage import STEPS

STAGES = ("validate", "tokenize", "train", "evaluate", "score")
OVER = ("published", "failed", "cancelled")


@dataclass
class Verdict:
    """The figures of one run, and every fault of the platform that was found, as sentences."""

    submissions: int = 0
    published: int = 0
    failed: int = 0
    attempts: int = 0
    processes: int = 0  # that came up, the second ones of a key included
    bodies: int = 0  # that began a stage's work
    results: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """All of them; empty when the platform kept its promises."""
        return [*self.lost, *self.doubled, *self.stuck]


def _rows(url: str, query: str) -> list[Any]:
    import psycopg

    with psycopg.connect(url, connect_timeout=3) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


def open_submissions(url: str) -> int:
    """How many are not over yet."""
    rows = _rows(url, "select state, count(*) from entries_submission group by state")
    return sum(count for state, count in rows if state not in OVER)


def wait_until_over(url: Callable[[], str], seconds: float, tend: Callable[[], None]) -> bool:
    """Whether all are over within that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if open_submissions(url()) == 0:
                return True
        except Exception:
            pass
        tend()
        time.sleep(0.3)
    return False


def judge(url: str, ledger: Path, names: list[str]) -> Verdict:
    """Compares the rows with `names`, the submissions that were acknowledged, and the ledger."""
    verdict = Verdict()
    submissions = _rows(
        url, "select id, name, state, failure, waiting_for, due_at, hinted_at"
        " from entries_submission order by id"
    )  # fmt: skip
    verdict.submissions = len(submissions)
    states = Counter(state for _, _, state, *_ in submissions)
    verdict.published, verdict.failed = states["published"], states["failed"]
    found = Counter(name for _, name, *_ in submissions)
    verdict.lost += [f"{name}: acknowledged, but not there" for name in names if not found[name]]
    verdict.doubled += [f"{name}: there {n} times" for name, n in found.items() if n > 1]
    for number, _, state, failure, *rest in submissions:
        if state not in OVER:
            attempts = _rows(
                url, "select key, state, created_at::text from jobs_attempt"
                f" where submission_id = {number} order by id"
            )  # fmt: skip
            verdict.stuck.append(f"submission {number} is {state}: {rest}, {attempts}")
        if state == "failed" and not (failure or {}).get("code"):
            verdict.lost.append(f"submission {number} failed without a reason")
    _judge_events(verdict, url)
    published = {number for number, _, state, *_ in submissions if state == "published"}
    _judge_attempts(verdict, url, published)
    judge_ledger(verdict, ledger)
    return verdict


def _judge_events(verdict: Verdict, url: str) -> None:
    """Each submission's events are numbered without a gap and each move starts where one ended."""
    events: dict[int, list[Any]] = {}
    for number, *event in _rows(
        url, "select submission_id, sequence, from_state, to_state, kind from entries_event"
        " order by submission_id, sequence"
    ):  # fmt: skip
        events.setdefault(number, []).append(event)
    for number, rows in events.items():
        if [row[0] for row in rows] != list(range(len(rows))):
            verdict.lost.append(f"submission {number}: a gap in its events")
        for before, after in pairwise(rows):
            if after[1] != before[2]:
                verdict.lost.append(f"submission {number}: no event leads to {after[1]}")
    for number, state in _rows(url, "select id, state from entries_submission"):
        if not events.get(number) or events[number][-1][2] != state:
            verdict.lost.append(f"submission {number}: no event says that it is {state}")


def _judge_attempts(verdict: Verdict, url: str, published: set[int]) -> None:
    attempts = _rows(url, "select submission_id, stage, state from jobs_attempt")
    verdict.attempts = len(attempts)
    succeeded = Counter(
        (number, stage) for number, stage, state in attempts if state == "succeeded"
    )
    for (number, stage), count in succeeded.items():
        if count > 1:
            verdict.doubled.append(f"submission {number}: {stage} succeeded {count} times")
    for number in published:
        missing = [stage for stage in STAGES if not succeeded[number, stage]]
        if missing:
            verdict.lost.append(f"submission {number} is published without {missing}")
    scores = _rows(url, "select submission_id, metric_version from leaderboard_score")
    unscored = published - {number for number, _ in scores}
    verdict.lost += [f"submission {number} is published without a score" for number in unscored]
    if len(scores) != len(set(scores)):
        verdict.doubled.append(f"a score was written twice: {scores}")


def judge_ledger(verdict: Verdict, ledger: Path) -> None:
    """No two processes at work on one stage of one submission, and no work after its end."""
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    at_work: dict[str, int] = {}
    finished: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    bodies: Counter[str] = Counter()
    for line in lines:
        submission, stage, _ = line["key"].split("-")
        place = f"{submission}-{stage}"
        what, pid = line["what"], line["pid"]
        verdict.processes += what == "launch"
        if what == "body":
            bodies[place] += 1
            verdict.bodies += 1
            at_work[place] = pid
            if finished[place]:
                verdict.doubled.append(f"{line['key']}: began although {place} was done")
        elif what in ("step", "done"):
            if at_work.get(place) != pid:
                verdict.doubled.append(f"{line['key']}: two processes at work on {place}")
            steps[place] += what == "step"
            finished[place] += what == "done"
    verdict.results = sum(finished.values())
    verdict.doubled += [f"{place}: done {n} times" for place, n in finished.items() if n > 1]
    for place, count in steps.items():  # a step that was interrupted is done again, no other is
        if count > STEPS + bodies[place] - 1:
            verdict.doubled.append(f"{place}: {count} steps by {bodies[place]} processes")
