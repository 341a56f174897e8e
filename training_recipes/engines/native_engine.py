"""Trains with a plain loop of ours: on GPUs it waits for them only where a loss is read.

The engine `composer` computes the same, bit for bit on a CPU, and is the proof of this one.
Processes share a batch by torch's DistributedDataParallel or, sharded, by FSDP2.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from submissions.progress import Progress
from training_recipes.engines.devices import CPU_THREADS, gpu_name, join, micro_batch
from training_recipes.engines.forward import AMP, Forward
from training_recipes.engines.recorder import Recorder
from training_recipes.engines.rows import RowsOfProcess
from training_recipes.engines.run import Run, Trained
from training_recipes.hardware import rows_a_process
from training_recipes.model import OpenLM
from training_recipes.run_state import load_state
from training_recipes.training_rules import build_optimizer


def train_with_native(run: Run, progress: Progress) -> Trained:
    """See `Engine`."""
    torch.set_num_threads(CPU_THREADS)
    torch.manual_seed(run.seed)
    model = OpenLM(run.scale.model)
    state = load_state(run.work, run.identity)
    if state is not None:
        model.load_state_dict(state.model)
    device = _device(run)
    if run.processes.world_size > 1 or run.hardware.fsdp:
        join(device)
    loop = _Loop(run, model.to(device), device)
    optimizer = build_optimizer(model, run.scale.optimizer, fused=device.type == "cuda")
    recorder = Recorder(run, model, optimizer, state, progress)
    recorder.restore_optimizer()
    if recorder.step < run.scale.steps:
        loop.train(optimizer, recorder)
    if run.hardware.fsdp and run.processes.writes:  # its own parameters are shards
        model = OpenLM(run.scale.model)
        model.load_state_dict(recorder.weights)
    return Trained(model, recorder.losses, recorder.seconds, gpu_name())


class _Trainee(nn.Module):
    """What DistributedDataParallel wraps: rows to their loss."""

    def __init__(self, model: OpenLM, run: Run) -> None:
        super().__init__()
        self.model, self.loss_of = model, Forward(model, run)

    def forward(self, rows: Tensor) -> Tensor:
        return self.loss_of(rows)


class _Loop:
    """The model, prepared for the processes of the run, and its steps."""

    def __init__(self, run: Run, model: OpenLM, device: torch.device) -> None:
        world = run.processes.world_size
        self.run, self.model, self.device = run, model, device
        self.share = rows_a_process(
            run.scale.optimizer.global_batch, world, run.hardware.micro_batch
        )
        self.part = micro_batch(run, self.share)
        self.trainee: nn.Module = _Trainee(model, run)
        if run.hardware.fsdp:
            _shard(model, run)
        elif world > 1:
            self.trainee = DistributedDataParallel(self.trainee)

    def train(self, optimizer: torch.optim.Optimizer, recorder: Recorder) -> None:
        """Takes all steps that are left."""
        rows = RowsOfProcess(self.run, first=recorder.step)
        on_gpu = self.device.type == "cuda"
        for batch in DataLoader(rows, batch_size=self.share, pin_memory=on_gpu):
            recorder.begin_step()
            loss = self._gradients(batch.to(self.device, non_blocking=True))
            nn.utils.clip_grad_norm_(self.model.parameters(), self.run.scale.optimizer.grad_clip)
            optimizer.step()
            optimizer.zero_grad()
            recorder.end_step(loss)

    def _gradients(self, batch: Tensor) -> Tensor:
        """Adds up those of all parts; returns the loss of the global batch, which nobody awaits."""
        total = torch.zeros((), device=self.device)
        parts = torch.split(batch, self.part)
        for number, part in enumerate(parts, 1):
            with self._summed_over_processes(number == len(parts)):
                loss = self.trainee(part) * (len(part) / self.share)
                loss.backward()
            total += loss.detach()
        if self.run.processes.world_size > 1:
            distributed.all_reduce(total)
            total /= self.run.processes.world_size
        return total

    def _summed_over_processes(self, last: bool) -> AbstractContextManager[None]:
        """Unsharded gradients once a step, with the last part; shards with every one, or they
        would not fit."""
        if last or not isinstance(self.trainee, DistributedDataParallel):
            return nullcontext()
        return self.trainee.no_sync()


def _device(run: Run) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_device(run.processes.local_rank)
    return torch.device("cuda", run.processes.local_rank)


def _shard(model: OpenLM, run: Run) -> None:
    """One unit a block, the rest another; sums in the precision that DCLM's flags choose.

    Source: open_lm's main.py: --fsdp-pure-bf16 sums in bfloat16, --fsdp-amp in float32.
    """
    policy = MixedPrecisionPolicy()
    if run.scale.precision == AMP:
        pure = "--fsdp-pure-bf16" in run.scale.open_lm.fsdp_flags
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.bfloat16 if pure else torch.float32)
    for layer in model.layers:
        fully_shard(layer, mp_policy=policy)
    fully_shard(model, mp_policy=policy)
