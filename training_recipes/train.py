"""Stage `train`: packed rows to a model directory, by the recipe of a scale.

The unfinished run lies beside the output, in `.<name>.partial`; the output appears when it is
complete. An interrupted run, even by `kill -9`, resumes to the same weights. Under torchrun
every process of the run calls the same; the one of rank 0 writes.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from submissions.codec import read
from submissions.failures import Failure
from submissions.hashing import folder_sha256
from submissions.job import RESULT, Artifact, Job, StageResult, run_stage, write_json_atomically
from submissions.progress import Progress, no_progress
from training_recipes.hardware import DEFAULT, Hardware, hardware_of, processes, rows_a_process
from training_recipes.packed_rows import Summary, folder_hash, read_summary
from training_recipes.results import REPORT, TrainingReport, TrainResult
from training_recipes.scales import Scale, load_scale
from training_recipes.tokenizer import tokenizer_folder, tokenizer_sha256
from training_recipes.training_rows import require_consistent

if TYPE_CHECKING:
    from training_recipes.engines.run import Engine, Run, Trained

ENGINES = ("composer", "native", "open_lm")
MODEL = "model"
STATES_PER_RUN = 20
CURVE_POINTS = 200
FINAL_PART = 20  # the loss of a run is the mean over its last twentieth


def train(
    tokens: Path,
    output: Path,
    scale: Scale,
    seed: int | None = None,
    engine: str = ENGINES[0],
    resume: bool = False,
    progress: Progress = no_progress,
    hardware: Hardware = DEFAULT,
) -> TrainResult | None:
    """Trains on the folder `tokens` and writes the model directory `output`; returns the figures.

    On the processes of torchrun that do not write it returns None.

    With `resume` it continues the unfinished run of the same recipe, data, seed and engine, or
    returns the finished one. Raises `output_exists` for any other run and, without `resume`, for
    any run at all; `tokens_invalid` for rows that this scale cannot use; `hardware_unfit` for
    processes or knobs that cannot share its batches; `artifact_corrupt` for a shard that is gone or
    changed; `torch_unfit`; `disk_full`; `diverged` with the step.
    """
    own = processes()
    rows_a_process(scale.optimizer.global_batch, own.world_size, hardware.micro_batch)
    seed = scale.seed if seed is None else seed
    summary = read_summary(tokens)
    _require_fitting(summary, scale, tokens)
    identity: dict[str, str | int] = {
        "recipe_sha256": scale.recipe_sha256,
        "tokens_sha256": folder_hash(tokens),
        "seed": seed,
        "engine": engine,
    }
    work = output.with_name(f".{output.name}.partial")
    if not resume and (_holds_something(output) or _holds_something(work)):
        raise Failure("output_exists", f"{output} already holds a run, finished or not")
    if _holds_something(output):
        figures = _finished(output, identity)
        shutil.rmtree(work, ignore_errors=True)  # left by a process that died after the rename
        return figures
    from training_recipes.engines.run import Run
    from training_recipes.engines.usable import require_usable

    require_usable(scale)
    work.mkdir(parents=True, exist_ok=True)
    run = Run(
        scale, seed, tokens, summary, work, identity,
        max(1, scale.steps // STATES_PER_RUN), hardware, own,
    )  # fmt: skip
    trained = _engine_of(engine)(run, progress if own.writes else no_progress)
    return _write_model(run, trained, output) if own.writes else None


def _require_fitting(summary: Summary, scale: Scale, tokens: Path) -> None:
    if summary.seq_len != scale.model.seq_len:
        raise Failure(
            "tokens_invalid",
            f"the rows in {tokens} have {summary.seq_len + 1} ids, and the scale {scale.name} "
            f"needs {scale.model.seq_len + 1}",
        )
    if summary.tokenizer_sha256 != tokenizer_sha256(scale.tokenizer):
        raise Failure("tokens_invalid", f"the rows in {tokens} have the ids of another tokenizer")
    if summary.sequences * scale.max_epochs < scale.rows:
        raise Failure(
            "dataset_too_small",
            f"{tokens} has {summary.sequences:,} rows, and the scale {scale.name} reads "
            f"{scale.rows:,}, no row more than {scale.max_epochs} times",
        )
    require_consistent(tokens, summary)


def _holds_something(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _finished(output: Path, identity: dict[str, str | int]) -> TrainResult:
    """The figures of the finished run in `output`, if it is the one that is asked for."""
    if (output / REPORT).exists():
        report = read(TrainingReport, output / REPORT, code="artifact_corrupt")
        if report.identity == identity:
            return report.figures
    raise Failure("output_exists", f"{output} holds something other than this run")


def _engine_of(name: str) -> Engine:
    if name == "composer":
        from training_recipes.engines.composer_engine import train_with_composer

        return train_with_composer
    if name == "native":
        from training_recipes.engines.native_engine import train_with_native

        return train_with_native
    if name == "open_lm":
        from training_recipes.engines.open_lm_engine import train_with_open_lm

        return train_with_open_lm
    raise Failure("unknown_engine", f"there is no engine {name!r}; there are {', '.join(ENGINES)}")


def _write_model(run: Run, trained: Trained, output: Path) -> TrainResult:
    """Writes the model directory in the work folder, then renames it to `output`."""
    import torch

    from training_recipes.model_dir import save_model_dir, weights_sha256

    scale = run.scale
    speed = run.speed(scale.steps / trained.seconds, trained.gpu)
    figures = TrainResult(
        loss=mean(trained.losses[-max(1, scale.steps // FINAL_PART) :]),
        steps=scale.steps,
        tokens=scale.tokens_trained,
        flops=6.0 * scale.model.params * scale.tokens_trained,
        mfu=speed.get("mfu"),
        tokens_per_second=speed["tokens_per_second"],
        seconds=round(trained.seconds, 2),
        loss_curve=loss_curve(trained.losses),
        params=scale.model.params,
        params_trained=scale.model.params_trained,
        seed=run.seed,
        recipe_sha256=scale.recipe_sha256,
        tokenizer_sha256=run.summary.tokenizer_sha256,
        weights_sha256=weights_sha256(trained.model),
        engine=str(run.identity["engine"]),
        torch=torch.__version__,
        cuda=torch.version.cuda,
        gpu=trained.gpu,
    )
    model = run.work / MODEL
    shutil.rmtree(model, ignore_errors=True)
    save_model_dir(model, trained.model, tokenizer_folder(scale.tokenizer))
    write_json_atomically(model / REPORT, TrainingReport(run.identity, figures))
    model.rename(output)
    shutil.rmtree(run.work)
    return figures


def loss_curve(losses: list[float]) -> list[tuple[int, float]]:
    """At most 200 points (step, mean loss of the steps since the point before)."""
    width = -(-len(losses) // CURVE_POINTS)
    return [
        (min(start + width, len(losses)), round(mean(losses[start : start + width]), 4))
        for start in range(0, len(losses), width)
    ]


def stage(job: Job) -> StageResult[TrainResult]:
    """`tokens` to `model`; parameters `scale`, `seed`, `engine` and the knobs of the hardware.

    Any other parameter is the recipe's: `recipe_frozen`.
    """
    figures = _train_for(job)
    assert figures is not None  # only the process that writes reports: see `follow`
    model = job.output / MODEL
    return StageResult({"model": Artifact(model.as_uri(), folder_sha256(model))}, figures)


def _train_for(job: Job) -> TrainResult | None:
    hardware = hardware_of(job.parameters)
    scale = load_scale(job.parameters["scale"])
    job.require_recipe(scale.recipe_sha256)
    tokens = job.inputs["tokens"].verified(folder_hash)
    return train(
        tokens,
        job.output / MODEL,
        scale,
        job.parameters.get("seed"),
        job.parameters.get("engine", ENGINES[0]),
        resume=True,
        progress=job.progress,
        hardware=hardware,
    )


def follow() -> int:
    """What torchrun's other processes do: train along, while rank 0 holds the lock and reports."""
    directory = Path(sys.argv[1]).resolve()
    if not (directory / RESULT).exists():
        _train_for(Job(directory))
    return 0


if __name__ == "__main__":
    sys.exit(run_stage(stage) if processes().writes else follow())
