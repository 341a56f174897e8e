"""DCLM's command line for open_lm, and the data rules of open_lm that decide part of it.

Source: training/params.py of mlfoundations/dclm at commit 361714b, which fixes order and values;
open_lm's own defaults (beta1 0.9, eps 1e-8, cosine) hold where nothing is passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from submissions.codec import to_json
from submissions.failures import Failure
from training_recipes.hardware import DEFAULT, Hardware, rows_a_process
from training_recipes.open_lm_params import params_of_shape
from training_recipes.scales import ModelShape, Scale

WORKERS = 2
LOG_EVERY = 20  # steps
ATTENTION = "torch_attn"  # the same function as "auto", which fails for some (DCLM issue 97)


@dataclass(frozen=True)
class Launch:
    """What of a command line is not the recipe's: where things are, and on what it runs."""

    model: Path
    manifest: Path
    logs: Path
    name: str
    seed: int
    world_size: int = 1
    hardware: Hardware = DEFAULT
    many_passes: bool = False


def open_lm_arguments(scale: Scale, launch: Launch) -> list[str]:
    """The arguments after `python -m open_lm.main`, in DCLM's order.

    Left out: the FSDP flags in a single process, which open_lm refuses there. Added:
    `--multiple-data-passes` for a dataset that runs out, and `--torchcompile` when that is chosen.
    """
    rule = scale.optimizer
    arguments = [
        "--workers", str(WORKERS),
        "--precision", scale.precision,
        "--global-batch-size", str(rule.global_batch),
        "--log-every-n-steps", str(LOG_EVERY),
        "--grad-clip-norm", f"{rule.grad_clip:g}",
        "--lr", str(rule.lr),
        "--warmup", str(rule.warmup),
        "--model", str(launch.model),
        "--wd", str(rule.weight_decay),
        "--beta2", str(rule.beta2),
        "--epochs", str(scale.checkpoints),
        "--resume", "latest",
        "--seed", str(launch.seed),
        "--accum-freq", str(_accumulation(scale, launch)),
        "--model-norm", scale.model.norm,
        "--delete-previous-checkpoint",
        "--lr-cooldown-end", str(rule.cooldown),
        "--logs", str(launch.logs),
        "--attn-name", ATTENTION,
        "--log-logit-mean",
        "--data-tolerate-error-p", "0.09",
        "--data-tolerate-num-ckpts", "0",
    ]  # fmt: skip
    if launch.many_passes:
        arguments.append("--multiple-data-passes")
    arguments += ["--train-num-samples", str(scale.tokens // scale.checkpoints)]
    arguments += ["--dataset-manifest", str(launch.manifest), "--data-key", "json.gz"]
    arguments += ["--name", launch.name]
    if launch.world_size > 1:
        arguments += scale.open_lm.fsdp_flags
    if scale.model.qk_norm:
        arguments.append("--qk-norm")
    arguments += ["--z-loss", str(rule.z_loss)]
    if launch.hardware.compile:
        arguments.append("--torchcompile")
    return arguments


def _accumulation(scale: Scale, launch: Launch) -> int:
    """In how many parts a process's rows are taken: DCLM's number unless a knob says otherwise."""
    batch, rows = scale.optimizer.global_batch, launch.hardware.micro_batch
    share = rows_a_process(batch, launch.world_size, rows)
    if rows is not None:
        return share // rows
    if share % scale.open_lm.acc:
        raise Failure(
            "hardware_unfit",
            f"the {share} rows of a process cannot be taken in {scale.open_lm.acc} parts, as DCLM "
            "does at this scale: choose a micro batch",
        )
    return scale.open_lm.acc


def model_json(shape: ModelShape) -> dict[str, Any]:
    """DCLM's model configuration: norm and qk-norm come from the command line."""
    document: dict[str, Any] = to_json(params_of_shape(shape))
    for argument in ("model_norm", "qk_norm", "positional_embedding_type"):
        del document[argument]
    if shape.ffn_type == "swiglu":  # open_lm's default, which DCLM leaves unsaid
        del document["ffn_type"]
    return document


def runs_out(shards: Sequence[int], scale: Scale, seed: int, world_size: int) -> bool:
    """Whether one pass over shards of these many rows is too short for open_lm.

    It takes whole shards for each checkpoint, as many for every worker, and drops what does not
    fill a batch, so that it may run out though the rows would suffice.
    Raises `dataset_too_small` where a worker would be left without a shard.
    Source: open_lm's file_utils.py, `_single_epoch_string` and `log_num_checkpoints`.
    """
    readers = WORKERS * world_size
    if len(shards) < readers:
        raise Failure(
            "dataset_too_small",
            f"open_lm needs a shard for each of its {readers} data workers: "
            f"there are {len(shards)}",
        )
    sizes = np.array(shards)
    np.random.default_rng(seed).shuffle(sizes)
    samples = scale.tokens // scale.checkpoints // scale.model.seq_len
    batch = scale.optimizer.global_batch
    steps = first = 0
    while steps < scale.steps:
        enough = np.flatnonzero(sizes[first:].cumsum() >= samples)
        if not len(enough) or len(sizes) - first < readers:
            return True
        count = max(int(enough[0]) + 1, readers) // readers * readers
        steps += int(sizes[first : first + count].sum()) // (WORKERS * batch) * WORKERS
        first += count
    return False
