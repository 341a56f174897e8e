"""Plays the jobs of benchmarks/scale.py, which are real to the platform and cost nothing."""

from __future__ import annotations

import fcntl
import json
import os
import random
import threading
import time
from pathlib import Path

SEED = 11
BAD = {"code": "not_json", "fault": "participant", "message": "this line is not JSON",
       "shard": "a.jsonl", "line": 3, "next_step": "Correct the shard."}  # fmt: skip


class Jobs(threading.Thread):
    """Plays every launched job: takes its lock, reports progress, and ends it after a while.

    A job ends as one whose dataset is bad: its submission is over and its slot goes to the next.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        super().__init__(daemon=True)
        self.folder, self.seconds = folder, seconds
        self.held: dict[Path, tuple[int, float, float]] = {}
        self.ended = 0
        self.stop = threading.Event()

    def begin(self, job: Path, steps: float) -> None:
        """Holds the lock of a job that then takes `steps` times the usual duration."""
        descriptor = os.open(job / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        (job / "process.json").write_text(json.dumps({"pid": 0, "group": 2**22}))
        now = time.time()
        self.held[job] = (descriptor, now, now + self.seconds * steps)

    def run(self) -> None:
        draw = random.Random(SEED)
        while not self.stop.wait(0.5):
            for mark in self.folder.glob("*/to-be-played"):
                mark.unlink()
                self.begin(mark.parent, draw.uniform(0.5, 1.5))
            for job, (descriptor, began, ends) in list(self.held.items()):
                now = time.time()
                line = {"time": now, "step": int(now - began), "of": int(ends - began) + 1,
                        "unit": "steps", "metrics": {"eta_seconds": ends - now}}  # fmt: skip
                with (job / "progress.jsonl").open("a") as file:
                    file.write(json.dumps(line) + "\n")
                if now > ends:
                    (job / "failure.json").write_text(json.dumps(BAD))
                    os.close(descriptor)
                    del self.held[job]
                    self.ended += 1
