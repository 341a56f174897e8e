"""Trains with Composer's Trainer: here on the CPU in float32, one thread.

Composer runs the loop, splits batches and clips gradients. The rates, the loss and the state from
which a run resumes are ours, so that they are exactly open_lm's and safe to load.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from submissions.failures import Failure
from submissions.progress import Progress
from training_recipes.engines.run import Run, Trained
from training_recipes.model import OpenLM
from training_recipes.packed_rows import read_rows
from training_recipes.run_state import RunState, load_state, save_state
from training_recipes.training_rules import build_optimizer, learning_rate, training_loss
from training_recipes.without_torchvision import allow_missing_torchvision

allow_missing_torchvision()

from composer import Callback, ComposerModel, Logger, State, Time, Trainer  # noqa: E402
from composer.algorithms import GradientClipping  # noqa: E402

CPU_THREADS = 1  # sums are split by thread: the weights must not depend on the machine's cores
SPEED_WINDOW = 20  # steps over which tokens per second are measured


def train_with_composer(run: Run, progress: Progress) -> Trained:
    """See `Engine`."""
    torch.set_num_threads(CPU_THREADS)
    torch.manual_seed(run.seed)
    model = OpenLM(run.scale.model)
    optimizer = build_optimizer(model, run.scale.optimizer)
    losses: list[float] = []
    seconds = 0.0
    state = load_state(run.work, run.identity)
    if state is not None:
        model.load_state_dict(state.model)
        optimizer.load_state_dict(state.optimizer)
        losses, seconds = state.losses, state.seconds
    recorder = _Recorder(run, model, optimizer, losses, seconds, progress)
    steps_left = run.scale.steps - len(losses)
    if steps_left > 0:
        _fit(run, recorder, steps_left)
    return Trained(model, losses, recorder.seconds)


def _fit(run: Run, recorder: _Recorder, steps: int) -> None:
    """Takes the next `steps` steps; the random generator is not used any more."""
    batch = run.scale.optimizer.global_batch
    rows = DataLoader(_Rows(run, first=recorder.step * batch), batch_size=batch)
    with _quiet():
        trainer = Trainer(
            model=_Trainee(recorder.model, run.scale.optimizer.z_loss),
            train_dataloader=rows,
            optimizers=recorder.optimizer,
            algorithms=GradientClipping("norm", clipping_threshold=run.scale.optimizer.grad_clip),
            callbacks=recorder,
            max_duration=Time.from_batch(steps),
            device="cpu",
            precision="fp32",
            device_train_microbatch_size=batch,
            seed=run.seed,
            run_name=run.scale.name,  # or Composer invents one
            progress_bar=False,
        )
        try:
            trainer.fit()
        finally:
            trainer.close()  # type: ignore[no-untyped-call]


class _Rows(IterableDataset[Tensor]):
    """The packed rows from number `first` on, each int64 [seq_len + 1]."""

    def __init__(self, run: Run, first: int) -> None:
        self.run, self.first = run, first

    def __iter__(self) -> Iterator[Tensor]:
        for row in read_rows(self.run.tokens, self.run.summary, self.first):
            yield torch.from_numpy(row.astype(np.int64))


class _Trainee(ComposerModel):
    """OpenLM as Composer wants it: a batch is rows [B, seq_len + 1]."""

    def __init__(self, model: OpenLM, z_loss: float) -> None:
        super().__init__()
        self.model, self.z_loss = model, z_loss

    def forward(self, batch: Tensor) -> Tensor:
        logits: Tensor = self.model(batch[:, :-1])
        return logits

    def loss(self, outputs: Tensor, batch: Tensor) -> Tensor:
        return training_loss(outputs, batch[:, 1:], self.z_loss)


class _Recorder(Callback):
    """Sets the rate before each step; after it, keeps the loss, the state and the progress."""

    def __init__(
        self,
        run: Run,
        model: OpenLM,
        optimizer: torch.optim.Optimizer,
        losses: list[float],
        seconds: float,
        progress: Progress,
    ) -> None:
        self.run, self.model, self.optimizer = run, model, optimizer
        self.losses, self.progress = losses, progress
        self._started = time.monotonic() - seconds
        self._step_ends = [time.monotonic()]

    @property
    def step(self) -> int:
        """How many steps are done, those of earlier attempts included."""
        return len(self.losses)

    @property
    def seconds(self) -> float:
        """Seconds in training, over all attempts."""
        return time.monotonic() - self._started

    def batch_start(self, state: State, logger: Logger) -> None:  # noqa: ARG002
        rate = learning_rate(self.run.scale.optimizer, self.step, self.run.scale.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def batch_end(self, state: State, logger: Logger) -> None:  # noqa: ARG002
        loss = float(state.total_loss_dict["loss/train/total"])
        if not math.isfinite(loss):
            raise Failure("diverged", f"the loss is no longer a number at step {self.step}")
        self.losses.append(loss)
        steps = self.run.scale.steps
        if self.step == steps or self.step % self.run.steps_between_states == 0:
            self._save()
        self._tell(loss, steps)

    def _save(self) -> None:
        if not all(bool(p.isfinite().all()) for p in self.model.parameters()):
            raise Failure("diverged", f"a weight is no longer a number at step {self.step - 1}")
        state = RunState(
            self.run.identity, self.step, self.model.state_dict(), self.optimizer.state_dict(),
            self.losses, self.seconds,
        )  # fmt: skip
        save_state(self.run.work, state)

    def _tell(self, loss: float, steps: int) -> None:
        self._step_ends = [*self._step_ends[-SPEED_WINDOW:], time.monotonic()]
        a_step = (self._step_ends[-1] - self._step_ends[0]) / (len(self._step_ends) - 1)
        scale = self.run.scale
        self.progress(
            self.step,
            steps,
            "steps",
            "training",
            loss=round(loss, 4),
            tokens_per_second=round(scale.optimizer.global_batch * scale.model.seq_len / a_step),
            eta_seconds=round(a_step * (steps - self.step), 1),
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what Composer says about options that we left out on purpose."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(disabled)
