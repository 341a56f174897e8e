"""What every engine that trains OpenLM itself keeps of a run: rates, losses, states, progress."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from submissions.failures import Failure
from submissions.progress import Progress
from training_recipes.engines.devices import gpu_name
from training_recipes.engines.run import Run
from training_recipes.engines.sharding import gathered, load_optimizer
from training_recipes.model import OpenLM
from training_recipes.run_state import RunState, save_state
from training_recipes.training_rules import learning_rate

SPEED_WINDOW = 20  # steps over which tokens per second are measured
MAX_UNSAVED = 1800.0  # seconds of work that an interruption may cost
READ_EVERY = 20  # steps, on a GPU: to read a loss is to wait for the GPU


class Recorder:
    """Sets the rate before each step; after it, keeps the loss, the state and the progress.

    On a GPU losses are read every READ_EVERY steps only, so that `diverged` comes late by so many;
    it names the right step, and no state is written meanwhile.
    """

    def __init__(
        self,
        run: Run,
        model: OpenLM,
        optimizer: torch.optim.Optimizer,
        state: RunState | None,
        progress: Progress,
    ) -> None:
        self.run, self.model, self.optimizer, self.progress = run, model, optimizer, progress
        self.losses = [] if state is None else state.losses
        self.weights = {} if state is None else state.model  # whole, of the last saved state
        self.gpu = gpu_name()
        self._unread: list[Tensor] = []
        self._loaded = None if state is None else state.optimizer
        self._started = time.monotonic() - (0 if state is None else state.seconds)
        self._ends = [(self.step, time.monotonic())]  # steps and when they were read
        self._saved = time.monotonic()

    @property
    def step(self) -> int:
        """How many steps are done, those of earlier attempts included."""
        return len(self.losses) + len(self._unread)

    @property
    def seconds(self) -> float:
        """Seconds in training, over all attempts."""
        return time.monotonic() - self._started

    def restore_optimizer(self) -> None:
        """Call when the engine has moved or sharded the parameters, and no earlier."""
        if self._loaded is not None:
            load_optimizer(self.optimizer, self._loaded)
        self._loaded = None

    def begin_step(self) -> None:
        """Sets the rate of the step that follows."""
        rate = learning_rate(self.run.scale.optimizer, self.step, self.run.scale.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def end_step(self, loss: Tensor) -> None:
        """Takes the step's loss, a scalar on any device, the mean over all processes."""
        self._unread.append(loss)
        steps = self.run.scale.steps
        regular = self.step == steps or self.step % self.run.steps_between_states == 0
        if not regular and self.gpu and len(self._unread) < READ_EVERY:
            return
        self._read()
        if regular or self._overdue():
            self._save()
            self._saved = time.monotonic()
        self._tell(steps)

    def _read(self) -> None:
        for loss in torch.stack(self._unread).tolist():
            if not math.isfinite(loss):
                step = len(self.losses)
                raise Failure("diverged", f"the loss is no longer a number at step {step}")
            self.losses.append(loss)
        self._unread = []

    def _overdue(self) -> bool:
        """Whether the last state is too old, by the clock of the process that writes."""
        overdue = time.monotonic() - self._saved > MAX_UNSAVED
        if self.run.processes.world_size == 1:
            return overdue
        late = torch.tensor(overdue, device=next(self.model.parameters()).device)
        torch.distributed.broadcast(late, src=0)
        return bool(late)

    def _save(self) -> None:
        writes = self.run.processes.writes
        self.weights = gathered(self.model.state_dict(), keep=writes)
        optimizer = gathered(self.optimizer.state_dict(), keep=writes)
        if not writes:
            return
        if not all(bool(tensor.isfinite().all()) for tensor in self.weights.values()):
            raise Failure("diverged", f"a weight is no longer a number at step {self.step - 1}")
        state = RunState(
            self.run.identity, self.step, self.weights, optimizer, self.losses, self.seconds
        )
        save_state(self.run.work, state)

    def _tell(self, steps: int) -> None:
        self._ends = [*self._ends[-SPEED_WINDOW:], (self.step, time.monotonic())]
        (first, began), (last, ended) = self._ends[0], self._ends[-1]
        a_step = (ended - began) / (last - first)
        self.progress(
            self.step,
            steps,
            "steps",
            "training",
            loss=round(self.losses[-1], 4),
            eta_seconds=round(a_step * (steps - self.step), 1),
            **self.run.speed(1 / a_step, self.gpu),
        )
