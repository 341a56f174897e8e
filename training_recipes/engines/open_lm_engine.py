"""Trains with open_lm itself, as DCLM does, in a process of its own for each of ours.

open_lm logs one line in 20 steps, keeps its last checkpoint and resumes from it. The lines become
our progress, the last checkpoint our model directory.
"""

from __future__ import annotations

import ctypes
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import torch

from submissions.codec import read
from submissions.failures import Failure
from submissions.job import write_json_atomically
from submissions.progress import Progress
from training_recipes.engines.open_lm_command import (
    Launch,
    model_json,
    open_lm_arguments,
    runs_out,
)
from training_recipes.engines.run import Run, Trained
from training_recipes.model import OpenLM
from training_recipes.model_dir import read_state_dict
from training_recipes.packed_rows import MANIFEST
from training_recipes.training_rows import verify_shards

INSTALL = (
    "pip install --no-deps xformers 'open_lm @ git+https://github.com/mlfoundations/open_lm@9bb92ef'"
    " && pip install webdataset==0.2.86 braceexpand pandas"
)
SPENT = "open_lm.json"  # in the work folder: which run it is and the seconds of earlier attempts
LAST_LINES = 15
PR_SET_PDEATHSIG = 1  # from Linux's sys/prctl.h
PLAN = re.compile(r"==> Checkpoint (\d+), steps (\d+),")
STEP = re.compile(r"Train Epoch: (\d+) \[ *(\d+)/.*Loss: (\S+) .*Batch \(t\): (\d+\.\d+), (\S+)/s,")


def train_with_open_lm(run: Run, progress: Progress) -> Trained:
    """See `Engine`; `missing_dependency` without open_lm. Which GPUs it uses, torchrun decides."""
    if find_spec("open_lm") is None:
        raise Failure("missing_dependency", f"open_lm is not installed: {INSTALL}")
    if run.processes.world_size > 1 and not _gpu():
        raise Failure("hardware_unfit", "open_lm trains in several processes on GPUs only")
    if run.processes.local_rank == 0:
        verify_shards(run.tokens, run.summary)  # open_lm would skip what it cannot read
    attempt = _Attempt(run, progress)
    if not attempt.finished:
        attempt.train()
    model = OpenLM(run.scale.model)
    if run.processes.writes:
        try:
            model.load_state_dict(read_state_dict(attempt.checkpoint("epoch")))
        except RuntimeError as error:
            raise Failure("model_invalid", f"open_lm made other weights: {error}") from None
    return Trained(model, attempt.log.all_losses(), attempt.seconds, _gpu())


class Log:
    """What open_lm's log says, line by line.

    `losses` has the loss of every step: open_lm logs the mean since its last line, which here
    stands for each of those steps.
    """

    def __init__(self, steps: int, global_batch: int) -> None:
        self.steps, self.global_batch = steps, global_batch
        self.losses: list[float] = []
        self.steps_per_second = 0.0
        self._ends = {0: 0}  # steps at the end of each checkpoint, as open_lm plans them

    def read(self, line: str) -> bool:
        """Takes a line in; true if it tells of further steps. Raises `diverged`."""
        if plan := PLAN.search(line):
            self._ends[int(plan[1])] = int(plan[2])
        found = STEP.search(line)
        if found is None:
            return False
        epoch, rows, loss = int(found[1]), int(found[2]), float(found[3])
        start, done = self._ends.setdefault(epoch, len(self.losses)), rows // self.global_batch
        step = min(start + done, self.steps)
        if not math.isfinite(loss):
            raise Failure(
                "diverged", f"the loss is no longer a number at step {step - 1} or shortly before"
            )
        del self.losses[start + done - 1 :]  # what a killed attempt did after its checkpoint
        self.losses += [loss] * (step - len(self.losses))
        self.steps_per_second = 1 / max(float(found[4]), 1e-3)
        return True

    def all_losses(self) -> list[float]:
        """One for every step of a finished run, whose last step open_lm may leave unlogged."""
        return self.losses + self.losses[-1:] * (self.steps - len(self.losses))


class Spent(msgspec.Struct, frozen=True):
    """Which run the unfinished work is of, and the seconds of its earlier attempts."""

    identity: dict[str, str | int]
    seconds: float


class _Attempt:
    """One start of open_lm on the work folder of a run."""

    def __init__(self, run: Run, progress: Progress) -> None:
        self.run, self.progress = run, progress
        self.folder = run.work / "open_lm"
        self.output = self.folder / run.scale.name
        self.log = Log(run.scale.steps, run.scale.optimizer.global_batch)
        self.seconds = self._spent()
        if run.processes.writes:
            self._drop_unfinished_checkpoint()
            self._read_old_log()
        self.finished = self._is_final()

    def _spent(self) -> float:
        """Seconds of earlier attempts; `output_exists` when they were another run's."""
        path = self.run.work / SPENT
        if not path.exists():
            return 0.0
        spent = read(Spent, path, code="artifact_corrupt", where=str(path))
        if spent.identity != self.run.identity:
            raise Failure("output_exists", f"{self.run.work} holds another unfinished run")
        return spent.seconds

    def checkpoint(self, kind: str) -> Path:
        """The newest file of a kind (`epoch`, `optimizer`, `stats`), or a path where none is."""
        files = (self.output / "checkpoints").glob(f"{kind}_*.pt")
        found = sorted(files, key=lambda path: int(path.stem.split("_")[1]))
        return found[-1] if found else self.output / "checkpoints" / f"{kind}_0.pt"

    def _drop_unfinished_checkpoint(self) -> None:
        """Removes one whose writing was interrupted: open_lm would go on from it and fail.

        It writes epoch, optimizer and stats in this order, and only then removes the one before.
        """
        newest = self.checkpoint("epoch")
        stats = newest.with_name(newest.name.replace("epoch", "stats"))
        if newest.exists() and not _stats(stats):
            for kind in ("epoch", "optimizer", "stats"):
                newest.with_name(newest.name.replace("epoch", kind)).unlink(missing_ok=True)

    def _is_final(self) -> bool:
        return bool(_stats(self.checkpoint("stats")).get("is_final_checkpoint"))

    def _read_old_log(self) -> None:
        path = self.output / "out.log"
        if path.exists():
            for line in path.read_text(errors="replace").splitlines():
                self.log.read(line)

    def train(self) -> None:
        """Runs open_lm to its end and reads along; what it leaves is checked."""
        run, started, before = self.run, time.monotonic(), self.seconds
        last: deque[str] = deque(maxlen=LAST_LINES)
        for line in self._lines():
            last.append(line)
            self.seconds = before + time.monotonic() - started
            if self.log.read(line) and run.processes.writes:
                self._tell()
        if not self._is_final():
            raise Failure("internal_error", "open_lm ended early: " + "\n".join(last))

    def _lines(self) -> Iterator[str]:
        """What open_lm prints; its process never outlives ours."""
        resumes = self.checkpoint("epoch").exists()
        command = [sys.executable, "-m", "open_lm.main", *self._arguments()]
        # Its optimizer files hold a numpy number, which torch otherwise refuses to load; they are
        # files that it wrote itself.
        trusted = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"} if resumes else {}
        with subprocess.Popen(
            command,
            env=os.environ | trusted,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=_die_with_parent,
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    yield line.rstrip("\n")
                if code := process.wait():
                    yield f"(exit code {code})"
            finally:
                if process.poll() is None:
                    process.kill()

    def _arguments(self) -> list[str]:
        run, scale = self.run, self.run.scale
        model = self.folder / f"{scale.open_lm.model}.json"
        model.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomically(model, model_json(scale.model))
        shards = [shard.num_sequences for shard in run.summary.shards]
        launch = Launch(
            model, run.tokens.resolve() / MANIFEST, self.folder, scale.name, run.seed,
            run.processes.world_size, run.hardware,
            runs_out(shards, scale, run.seed, run.processes.world_size),
        )  # fmt: skip
        return open_lm_arguments(scale, launch)

    def _tell(self) -> None:
        write_json_atomically(self.run.work / SPENT, Spent(self.run.identity, self.seconds))
        step, steps, speed = len(self.log.losses), self.run.scale.steps, self.log.steps_per_second
        self.progress(
            step,
            steps,
            "steps",
            "training",
            loss=self.log.losses[-1],
            eta_seconds=round((steps - step) / speed, 1),
            **self.run.speed(speed, _gpu()),
        )


def _stats(path: Path) -> dict[str, Any]:
    """What open_lm says of a checkpoint; nothing if it is not there or not whole."""
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception:  # torch.load raises whatever the damaged bytes lead it to
        return {}


def _die_with_parent() -> None:
    """In the new process: ends when ours does, however hard, or two would write one folder."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _gpu() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""
