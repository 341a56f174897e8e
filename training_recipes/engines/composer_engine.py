"""Trains with Composer's Trainer: float32 on one thread of a CPU, or GPUs in bfloat16.

Composer runs the loop, splits batches, clips gradients and wraps the model for several processes.
The rates, the loss and the state from which a run resumes are ours, so that they are exactly
open_lm's and safe to load.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from submissions.progress import Progress
from training_recipes.engines.devices import CPU_THREADS, PATIENCE, gpu_name, micro_batch
from training_recipes.engines.forward import AMP, Forward
from training_recipes.engines.recorder import Recorder
from training_recipes.engines.rows import RowsOfProcess
from training_recipes.engines.run import Run, Trained
from training_recipes.hardware import rows_a_process
from training_recipes.model import Block, OpenLM
from training_recipes.run_state import load_state
from training_recipes.training_rules import build_optimizer
from training_recipes.without_torchvision import allow_missing_torchvision

allow_missing_torchvision()

from composer import Callback, ComposerModel, Logger, State, Time, Trainer  # noqa: E402
from composer.algorithms import GradientClipping  # noqa: E402
from composer.utils.parallelism import FSDP2Config, ParallelismConfig  # noqa: E402


def train_with_composer(run: Run, progress: Progress) -> Trained:
    """See `Engine`."""
    torch.set_num_threads(CPU_THREADS)
    torch.manual_seed(run.seed)
    model = OpenLM(run.scale.model)
    optimizer = build_optimizer(model, run.scale.optimizer, fused=torch.cuda.is_available())
    state = load_state(run.work, run.identity)
    if state is not None:
        model.load_state_dict(state.model)
    recorder = Recorder(run, model, optimizer, state, progress)
    steps_left = run.scale.steps - recorder.step
    if steps_left > 0:
        _fit(run, recorder, steps_left)
    if run.hardware.fsdp and run.processes.writes:  # its own parameters are shards
        model = OpenLM(run.scale.model)
        model.load_state_dict(recorder.weights)
    return Trained(model, recorder.losses, recorder.seconds, gpu_name())


def _fit(run: Run, recorder: Recorder, steps: int) -> None:
    """Takes the next `steps` steps; the random generator is not used any more."""
    rule, hardware = run.scale.optimizer, run.hardware
    share = rows_a_process(rule.global_batch, run.processes.world_size, hardware.micro_batch)
    on_gpu, amp = torch.cuda.is_available(), run.scale.precision == AMP
    os.environ.setdefault("NODE_RANK", os.environ.get("GROUP_RANK", "0"))  # Composer's name for it
    with _quiet():
        trainer = Trainer(
            model=_Trainee(recorder.model, run),
            train_dataloader=DataLoader(RowsOfProcess(run, first=recorder.step), batch_size=share),
            optimizers=recorder.optimizer,
            algorithms=GradientClipping("norm", clipping_threshold=rule.grad_clip),
            callbacks=_Callback(recorder),
            max_duration=Time.from_batch(steps),
            device="gpu" if on_gpu else "cpu",
            precision="amp_bf16" if on_gpu and amp else "fp32",  # it refuses amp_bf16 on a CPU
            device_train_microbatch_size=micro_batch(run, share),
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


class _Trainee(ComposerModel):
    """OpenLM as Composer wants it: a batch is rows [B, seq_len + 1]."""

    def __init__(self, model: OpenLM, run: Run) -> None:
        super().__init__()
        self.model = model
        self.loss_of = Forward(model, run)
        # What Composer asks for the units of FSDP.
        model.fsdp_wrap_fn = _is_block  # type: ignore[assignment, unused-ignore]

    def forward(self, batch: Tensor) -> Tensor:
        """The loss already: under FSDP the output matrix is whole in here only."""
        return self.loss_of(batch)

    def loss(self, outputs: Tensor, batch: Tensor) -> Tensor:  # noqa: ARG002
        return outputs


def _is_block(module: torch.nn.Module) -> bool:
    return isinstance(module, Block)


class _Callback(Callback):
    """Hands Composer's events on. It has read the loss by then, and waited for it."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def batch_start(self, state: State, logger: Logger) -> None:  # noqa: ARG002
        self.recorder.begin_step()

    def batch_end(self, state: State, logger: Logger) -> None:  # noqa: ARG002
        loss = state.total_loss_dict["loss/train/total"]
        self.recorder.end_step(torch.tensor(loss, dtype=torch.float64))


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
