"""Trains with Composer's Trainer: float32 on one thread of a CPU, or GPUs in bfloat16.

Composer runs the loop, splits batches, clips gradients and wraps the model for several processes.
The rates, the loss and the state from which a run resumes are ours, so that they are exactly
open_lm's and safe to load.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from submissions.failures import Failure
from submissions.progress import Progress
from training_recipes.engines.run import Run, Trained
from training_recipes.engines.sharding import gathered, load_optimizer
from training_recipes.hardware import rows_a_process
from training_recipes.model import Block, OpenLM
from training_recipes.run_state import RunState, load_state, save_state
from training_recipes.training_rows import Part, read_batches
from training_recipes.training_rules import build_optimizer, learning_rate, training_loss
from training_recipes.without_torchvision import allow_missing_torchvision

allow_missing_torchvision()

from composer import Callback, ComposerModel, Logger, State, Time, Trainer  # noqa: E402
from composer.algorithms import GradientClipping  # noqa: E402
from composer.devices import Device  # noqa: E402
from composer.utils.parallelism import FSDP2Config, ParallelismConfig  # noqa: E402

CPU_THREADS = 1  # sums are split by thread: the weights must not depend on the machine's cores
SPEED_WINDOW = 20  # steps over which tokens per second are measured
MAX_UNSAVED = 1800.0  # seconds of work that an interruption may cost
PATIENCE = 3600.0  # seconds that processes wait for the one that writes a large state
AMP = "amp_bfloat16"


def train_with_composer(run: Run, progress: Progress) -> Trained:
    """See `Engine`."""
    torch.set_num_threads(CPU_THREADS)
    torch.manual_seed(run.seed)
    model = OpenLM(run.scale.model)
    optimizer = build_optimizer(model, run.scale.optimizer)
    state = load_state(run.work, run.identity)
    if state is not None:
        model.load_state_dict(state.model)
    recorder = _Recorder(run, model, optimizer, state, progress)
    steps_left = run.scale.steps - recorder.step
    if steps_left > 0:
        _fit(run, recorder, steps_left)
    if run.hardware.fsdp and run.processes.writes:  # its own parameters are shards
        model = OpenLM(run.scale.model)
        model.load_state_dict(recorder.weights)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return Trained(model, recorder.losses, recorder.seconds, gpu)


def _fit(run: Run, recorder: _Recorder, steps: int) -> None:
    """Takes the next `steps` steps; the random generator is not used any more."""
    rule, hardware = run.scale.optimizer, run.hardware
    share = rows_a_process(rule.global_batch, run.processes.world_size, hardware.micro_batch)
    on_gpu, amp = torch.cuda.is_available(), run.scale.precision == AMP
    os.environ.setdefault("NODE_RANK", os.environ.get("GROUP_RANK", "0"))  # Composer's name for it
    with _quiet():
        trainer = Trainer(
            model=_Trainee(recorder.model, run),
            train_dataloader=DataLoader(_Rows(run, first=recorder.step), batch_size=share),
            optimizers=recorder.optimizer,
            algorithms=GradientClipping("norm", clipping_threshold=rule.grad_clip),
            callbacks=recorder,
            max_duration=Time.from_batch(steps),
            device="gpu" if on_gpu else "cpu",
            precision="amp_bf16" if on_gpu and amp else "fp32",  # it refuses amp_bf16 on a CPU
            device_train_microbatch_size=hardware.micro_batch or ("auto" if on_gpu else share),
            parallelism_config=_sharding(run) if hardware.fsdp else None,
            seed=run.seed,
            run_name=run.scale.name,  # or Composer invents one
            progress_bar=False,
            dist_timeout=PATIENCE,
        )
        try:
            recorder.restore_optimizer()
            trainer.fit()
        finally:
            trainer.close()  # type: ignore[no-untyped-call]


def _sharding(run: Run) -> ParallelismConfig:
    """One unit a block, and gradients summed over GPUs in the precision that DCLM's flags choose.

    Source: open_lm's main.py: --fsdp-pure-bf16 sums in bfloat16, --fsdp-amp in float32.
    """
    pure = "--fsdp-pure-bf16" in run.scale.open_lm.fsdp_flags
    return ParallelismConfig(fsdp2=FSDP2Config(mixed_precision="PURE" if pure else "DEFAULT"))


class _Rows(IterableDataset[Tensor]):
    """This process's rows from step `first` on, each int64 [seq_len + 1]."""

    def __init__(self, run: Run, first: int) -> None:
        self.run, self.first = run, first

    def __iter__(self) -> Iterator[Tensor]:
        run, scale = self.run, self.run.scale
        part = Part(
            run.seed, scale.model.vocab, scale.optimizer.global_batch, scale.steps, self.first,
            run.processes.rank, run.processes.world_size, verify=run.processes.local_rank == 0,
        )  # fmt: skip
        for rows in read_batches(run.tokens, run.summary, part):
            yield from torch.from_numpy(rows.astype(np.int64))


class _Trainee(ComposerModel):
    """OpenLM as Composer wants it: a batch is rows [B, seq_len + 1].

    In `amp_bfloat16` forward and loss run under autocast and the residual stream is in bfloat16, as
    it is under FSDP, with which DCLM trains these scales: so `fsdp` leaves the mathematics alone.
    """

    def __init__(self, model: OpenLM, run: Run) -> None:
        super().__init__()
        self.model, self.z_loss = model, run.scale.optimizer.z_loss
        self.amp = run.scale.precision == AMP
        self.criterion = training_loss
        if self.amp:
            model.tok_embeddings.register_forward_hook(_in_bfloat16)
        # What Composer asks for the units of FSDP.
        model.fsdp_wrap_fn = _is_block  # type: ignore[assignment, unused-ignore]
        if run.hardware.compile:
            for layer in model.layers:
                layer.compile()
            self.criterion = torch.compile(training_loss)

    def forward(self, batch: Tensor) -> Tensor:
        with self._autocast(batch):
            logits: Tensor = self.model(batch[:, :-1])
        return logits

    def loss(self, outputs: Tensor, batch: Tensor) -> Tensor:
        with self._autocast(batch):
            return self.criterion(outputs, batch[:, 1:], self.z_loss)

    def _autocast(self, batch: Tensor) -> torch.autocast:
        return torch.autocast(batch.device.type, torch.bfloat16, enabled=self.amp)


def _is_block(module: torch.nn.Module) -> bool:
    return isinstance(module, Block)


def _in_bfloat16(_module: torch.nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    return output.bfloat16()


class _Recorder(Callback):
    """Sets the rate before each step; after it, keeps the loss, the state and the progress."""

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
        self._loaded = None if state is None else state.optimizer
        self._started = time.monotonic() - (0 if state is None else state.seconds)
        self._step_ends = [time.monotonic()]
        self._saved = time.monotonic()
        self._gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""

    @property
    def step(self) -> int:
        """How many steps are done, those of earlier attempts included."""
        return len(self.losses)

    @property
    def seconds(self) -> float:
        """Seconds in training, over all attempts."""
        return time.monotonic() - self._started

    def restore_optimizer(self) -> None:
        """Call when Composer has moved or sharded the parameters, and no earlier."""
        if self._loaded is not None:
            load_optimizer(self.optimizer, self._loaded)
        self._loaded = None

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
        regular = self.step == steps or self.step % self.run.steps_between_states == 0
        if regular or self._overdue(state.device):
            self._save()
            self._saved = time.monotonic()
        self._tell(loss, steps)

    def _overdue(self, device: Device) -> bool:
        """Whether the last state is too old, by the clock of the process that writes."""
        late = device.tensor_to_device(torch.tensor(time.monotonic() - self._saved > MAX_UNSAVED))
        if self.run.processes.world_size > 1:
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

    def _tell(self, loss: float, steps: int) -> None:
        self._step_ends = [*self._step_ends[-SPEED_WINDOW:], time.monotonic()]
        a_step = (self._step_ends[-1] - self._step_ends[0]) / (len(self._step_ends) - 1)
        self.progress(
            self.step,
            steps,
            "steps",
            "training",
            loss=round(loss, 4),
            eta_seconds=round(a_step * (steps - self.step), 1),
            **self.run.speed(1 / a_step, self._gpu),
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
