"""A cancellation of a real job: its processes are gone and the budget is back, within a minute."""

from __future__ import annotations

import os
import time
from decimal import Decimal
from pathlib import Path

import pytest
from django.test import Client

from crucible.budgets.models import Membership, Team
from crucible.budgets.services import allowance_grant, price_of
from crucible.jobs.backends.local import LocalBackend
from crucible.jobs.pipeline import submission_advance
from submissions.states import Stage

pytestmark = pytest.mark.django_db
BIG = "400m-1x"
STAGE = """
import subprocess, sys, time
from pathlib import Path
from submissions.job import run_stage

def stage(job):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (job.output / "child").write_text(str(child.pid))
    time.sleep(600)

if __name__ == "__main__":
    sys.exit(run_stage(stage))
"""


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_processes_stop_and_the_hours_come_back(
    alice, staff, make_submission, tmp_path, monkeypatch, settings
):
    settings.CRUCIBLE_SCALES, settings.WORK_DIR = [BIG], tmp_path / "work"
    team = Team.objects.create(name="laboratory")
    Membership.objects.create(team=team, user=alice)
    allowance = allowance_grant(
        team=team, scale=BIG, concurrent=1, hours=price_of(BIG), reason="test", actor=staff
    )
    (tmp_path / "long_stage.py").write_text(STAGE)
    (tmp_path / "submissions").symlink_to(Path(__file__).parents[2] / "submissions")
    monkeypatch.setattr("crucible.jobs.backends.directory.REPOSITORY", tmp_path)
    monkeypatch.setattr("crucible.jobs.stages.MODULES", {Stage.VALIDATE: "long_stage"})
    backend = LocalBackend(tmp_path / "jobs", slots=1)
    for module in ("jobs.pipeline", "jobs.queue", "pages.stages"):
        monkeypatch.setattr(f"crucible.{module}.backend_get", lambda name: backend)

    submission = make_submission(alice, scale=BIG)
    for _ in range(3):
        submission_advance(submission_id=submission.id)
    told = tmp_path / "work" / str(submission.id) / "validate" / "child"
    end = time.monotonic() + 20
    while not (told.exists() and told.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    child = int(told.read_text())
    assert alive(child)
    assert backend.live() == [f"{submission.id}-validate-a1"]
    allowance.refresh_from_db()
    assert (allowance.available, allowance.reserved) == (0, price_of(BIG))

    client = Client()
    client.force_login(alice)
    assert client.post(f"/submissions/{submission.id}/cancel/").status_code == 302
    asked = time.monotonic()
    while not submission.is_over and time.monotonic() < asked + 60:
        submission_advance(submission_id=submission.id)
        submission.refresh_from_db()
    assert submission.state == "cancelled"
    assert backend.live() == []
    assert not alive(child)
    assert os.getpid() != child
    allowance.refresh_from_db()
    assert (allowance.available, allowance.reserved) == (price_of(BIG), Decimal(0))
    assert client.get("/budget/").text.count("cancelled before training") == 1
