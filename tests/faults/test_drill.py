"""The drill: a site is backed up while it trains, destroyed to the last byte, and restored.

With the quick stages of the fault suite: what is tested is what the backup holds, and that the
pipeline goes on from it, not what the stages compute.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psycopg
import pytest

from tests.faults.brokers import Broker
from tests.faults.quick_stage import STEPS
from tests.faults.site import ROOT, Site

BOARD = "/leaderboard/filtering/smoke/"
VIEWS = [
    BOARD, f"{BOARD}board.csv", f"{BOARD}board.json", f"{BOARD}feed.atom",
    "/leaderboard/mixing/smoke/", "/api/leaderboard?track=filtering&scale=smoke",
    "/submissions/1/",
]  # fmt: skip


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr("tests.faults.site.DISK", 4096)  # nothing is to fill it here
    with tempfile.TemporaryDirectory(prefix="crucible-drill-") as name:
        Path(name).chmod(0o711)  # PostgreSQL may run as `nobody`, who must be able to walk in
        site = Site(Path(name), Broker(), None)
        try:
            site.prepare()
            yield site
        finally:
            site.tear_down()


def keep(site: Site, *command: str, **environment: str) -> str:
    """A command of the supervisor, as `make` runs it; what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "crucible.supervisor", *command], cwd=ROOT,
        env=site.environment | environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_until(condition, what: str, seconds: float = 120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s for {what}")


def state(site: Site, submission: int) -> str:
    return site.insist("GET", f"/submissions/{submission}")["state"]


def ledger(site: Site, what: str, part: str) -> list[str]:
    """Keys of the ledger's lines of one kind."""
    lines = [json.loads(line) for line in site.ledger.read_text().splitlines()]
    return [one["key"] for one in lines if one["what"] == what and part in one["key"]]


def views(site: Site) -> dict[str, bytes]:
    found = {}
    for path in VIEWS:
        with urllib.request.urlopen(site.url + path) as answer:
            found[path] = answer.read()
    return found


def sql(site: Site, statement: str) -> None:
    with psycopg.connect(site.database_url(), autocommit=True) as connection:
        connection.execute(statement)


def stop_training(site: Site) -> None:
    """Stops the second submission's training amid its steps, so that it is there in the backup."""
    wait_until(lambda: len(ledger(site, "step", "2-train")) >= 2, "the second training")
    for process in site.all_processes():
        if "2-train-a1" in process.command:
            os.kill(process.pid, signal.SIGSTOP)


def destroy(site: Site) -> None:
    """The power, then the disk."""
    for process in site.all_processes():
        os.kill(process.pid, signal.SIGKILL)
    site.supervisor.wait()
    wait_until(lambda: not site.all_processes(), "its end", 20)
    for path in site.home.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_a_destroyed_site_comes_back_with_every_board_and_goes_on_training(site):
    site.submit("first")
    wait_until(lambda: state(site, 1) == "published", "the first score")
    site.submit("second")
    stop_training(site)
    # Held, so that it is not published before the boards are compared.
    sql(site, "update entries_submission set held_for = 'drill' where id = 2")
    before = views(site)
    assert b"first" in before[BOARD]
    assert views(site) == before  # nothing in them depends on the moment

    folder = site.folder / "backups"
    key = keep(site, "backup-key", str(site.folder / "identity")).split("=")[1].split()[0]
    said = keep(site, "backup", str(folder), CRUCIBLE_BACKUP_KEY=key)
    assert "encrypted" in said
    assert not [p for p in folder.rglob("*") if p.is_file() and b"document" in p.read_bytes()]
    secret = (site.home / "secret.key").read_text()
    done = int((site.home / "work/2/train/steps").read_text())
    destroy(site)

    keep(site, "restore", str(folder), "--identity", str(site.folder / "identity"))
    assert (site.home / "secret.key").read_text() == secret
    assert int((site.home / "work/2/train/steps").read_text()) == done
    (site.home / "ledger").write_text(str(site.ledger))  # the fault suite's own
    steps = len(ledger(site, "step", "2-train"))
    site.start()
    site.wait_until_healthy(60)
    assert state(site, 2) in {"training", "evaluating"}  # and held there
    assert views(site) == before  # to the byte; tokens and sessions too: `state` used one
    sql(site, "update entries_submission set held_for = '', due_at = now() where id = 2")
    wait_until(lambda: state(site, 2) == "published", "the second score")
    again = ledger(site, "step", "2-train")
    # It went on where it was, under the same key: a restore is no failed attempt.
    assert len(again) - steps == STEPS - done
    assert set(again) == {"2-train-a1"}
    assert 0 < done < STEPS
