"""A short run of the fault suite, and the judge that must not be fooled; `make faults` is long."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from tests.faults.campaign import Campaign, run, table
from tests.faults.quick_stage import STEPS
from tests.faults.verdict import Verdict, judge_ledger

SEED, FAULTS, SECONDS, PATIENCE = 20, 10, 18.0, 180.0


@pytest.fixture
def folder():
    """Not pytest's: PostgreSQL may run as `nobody`, whom each pytest run locks out of that one."""
    with tempfile.TemporaryDirectory(prefix="crucible-faults-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def test_a_site_that_is_struck_again_and_again_loses_and_doubles_nothing(folder):
    campaign = run(folder, "pgmq", "local", SEED, FAULTS, SECONDS, PATIENCE)
    log = (folder / "up.log").read_text()[-4000:]
    assert campaign.verdict.problems == [], f"{table([campaign])}\n{log}"
    assert campaign.faults.total() >= FAULTS // 2
    assert campaign.verdict.submissions >= 6
    assert campaign.verdict.published >= campaign.verdict.submissions / 2


def ledger(path: Path, lines: list[tuple[str, int, str]]) -> Path:
    text = [json.dumps({"key": key, "pid": pid, "what": what}) for key, pid, what in lines]
    path.write_text("\n".join(text) + "\n")
    return path


def whole(key: str, pid: int, steps: int = STEPS) -> list[tuple[str, int, str]]:
    return [
        (key, pid, "launch"), (key, pid, "body"), *[(key, pid, "step")] * steps, (key, pid, "done"),
    ]  # fmt: skip


KILLED = [("1-train-a1", 1, "launch"), ("1-train-a1", 1, "body"), ("1-train-a1", 1, "step")]
LEDGERS = {
    "one that ran": (whole("1-train-a1", 1), 0),
    "a second process that left": ([*whole("1-train-a1", 1), ("1-train-a1", 2, "launch")], 0),
    "killed in its first step, then resumed": ([*KILLED, *whole("1-train-a2", 2)], 0),
    "two at work at once": (
        [*KILLED, ("1-train-a2", 2, "body"), ("1-train-a1", 1, "step"), ("1-train-a2", 2, "step")],
        1,
    ),
    "begun again after its end": (
        [*whole("1-train-a1", 1), ("1-train-a2", 2, "body"), ("1-train-a2", 2, "step")], 1,
    ),
    "done twice": ([*whole("1-train-a1", 1), ("1-train-a1", 1, "done")], 1),
    "all steps done again": ([*KILLED, *whole("1-train-a2", 2, STEPS + 1)], 1),
}  # fmt: skip


@pytest.mark.parametrize("name", LEDGERS)
def test_the_judge_sees_what_ran_twice_and_nothing_else(tmp_path, name):
    lines, problems = LEDGERS[name]
    verdict = Verdict()
    judge_ledger(verdict, ledger(tmp_path / "ledger", lines))
    assert len(verdict.doubled) == problems, verdict.doubled


def test_the_table_adds_up():
    campaign = Campaign("redis", "local", 5)
    campaign.faults.update({"SIGSTOP": 2, "kill -9 job": 3})
    campaign.verdict.lost.append("something")
    text = table([campaign])
    assert "| **faults** | **5** |" in text
    assert "| **lost** | **1** |" in text
