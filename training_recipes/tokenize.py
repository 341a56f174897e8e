"""Stage `tokenize`: documents to packed rows of ids, shuffled over the whole dataset.

Documents follow one another with <|endoftext|> (id 0) after each, cut into rows of seq_len + 1 ids
without padding. The rows and their order depend on dataset, recipe and seed alone, not on names
or order of files or the number of workers. docs/tokenise.md explains how.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from submissions.codec import MisfitError, decode_or_misfit
from submissions.dataset import Dataset, Source, find_dataset
from submissions.executor import LocalProcesses, Placement, cores
from submissions.failures import Failure
from submissions.job import Artifact, Job, StageResult, run_stage, write_json_atomically
from submissions.most_data import MULTIPLE, MostData
from submissions.progress import Progress, no_progress
from training_recipes.encoder import encoder_of
from training_recipes.hardware import require_choices
from training_recipes.packed_rows import (
    SUMMARY,
    RowShard,
    Summary,
    folder_hash,
    read_summary,
    write_manifest_and_summary,
)
from training_recipes.results import SourceSummary, TokenizeResult
from training_recipes.scales import Scale, load_scale
from training_recipes.shuffle import (
    Order,
    RowFiles,
    ShuffleTask,
    joined,
    mixed_order,
    rows_of,
    shares,
    shuffle_shard,
    whole_order,
)
from training_recipes.spill import ID_BYTES, Spilled, SpillTask, spill_shard, unique_tokens
from training_recipes.tokenizer import tokenizer_sha256

SPILL, IDENTITY, LOCK, ORDER = "spill", "identity.json", "lock", "order.npy"


def tokenize_dataset(
    paths: Sequence[str | Path],
    output: Path,
    scale: Scale,
    seed: int | None = None,
    progress: Progress = no_progress,
    placement: Placement | None = None,
    expected_sha256: str = "",
    multiple: int = MULTIPLE,
) -> Summary:
    """Writes the folder `output` (see packed_rows) and returns its summary.

    The folder appears when it is complete; a killed run continues from `.<name>.partial`
    beside it, which all workers of `placement` must see. Where `output` already holds the rows of
    this dataset, scale and seed, it is returned as it is; where it holds anything else:
    `output_exists`. A dataset that is not the one expected (by hash, where it is given):
    `artifact_corrupt`. One that holds more than `multiple` times what training reads:
    `dataset_too_large`, as soon as that shows. Also raises what `find_dataset`, `spill_shard` and,
    with a mixture, `require_enough` raise.
    """
    seed = scale.seed if seed is None else seed
    placement = placement or LocalProcesses(1)
    dataset = find_dataset(paths)
    identity: dict[str, Any] = {
        "recipe_sha256": scale.recipe_sha256,
        "tokenizer_sha256": tokenizer_sha256(scale.tokenizer),
        "seed": seed,
    }
    if output.exists() and any(output.iterdir()):
        return _finished(output, identity, dataset, expected_sha256)
    most = most_data(scale, multiple)
    most.check_unread(dataset.shards)
    with _work_folder(output, identity) as work:
        spilled = _spill(dataset, scale, most, work / SPILL, placement, progress)
        sha256 = _dataset_sha256(
            dataset, {name: done.sha256 for name, done in spilled.items()}, expected_sha256
        )
        plan = _plan(dataset, spilled, scale, seed, work / SPILL)
        shards = _shuffle(plan, scale, work, placement, progress)
        width = plan.rows.width
        unique = unique_tokens(list(spilled.values()), work / SPILL)
        summary = Summary(
            scale=scale.name,
            seq_len=scale.model.seq_len,
            dataset_sha256=sha256,
            rows_sha256=_hash_of_rows(shards),
            encoder=encoder_of(scale.tokenizer).name,
            documents=sum(done.documents for done in spilled.values()),
            sequences=len(plan.order),
            tokens=len(plan.order) * width,
            # In whole rows, as the tokens are.
            unique_tokens=min(unique // width, len(plan.order)) * width,
            epochs=plan.epochs,
            sources=plan.sources,
            shards=shards,
            **identity,
        )
        write_manifest_and_summary(work, summary)
        shutil.rmtree(work / SPILL)
        for name in (IDENTITY, LOCK):
            (work / name).unlink()
        work.rename(output)
    return summary


def require_enough(summary: Summary, scale: Scale) -> None:
    """Refuses rows that training would read more often than the recipe allows.

    Raises `dataset_too_small`.
    """
    require_allowed(summary.sources, scale)
    if not summary.sequences or summary.epochs > scale.max_epochs:
        raise Failure(
            "dataset_too_small",
            f"the dataset gives {summary.sequences:,} rows of {summary.seq_len + 1} ids, and "
            f"{scale.name}, which reads them {scale.max_epochs} times at most, needs "
            f"{scale.rows:,}",
        )


def require_allowed(sources: Sequence[SourceSummary], scale: Scale) -> None:
    """Refuses a mixture of which training would read a source more often than allowed.

    Raises `dataset_too_small`, which names the source.
    """
    for source in sources:
        if source.epochs > scale.max_epochs:
            raise Failure(
                "dataset_too_small",
                f'the source "{source.name}" would be read {source.epochs:.2f} times to make up '
                f"its weight, and {scale.name} allows {scale.max_epochs}",
            )


def most_data(scale: Scale, multiple: int = MULTIPLE) -> MostData:
    """How much a dataset may hold at this scale."""
    return MostData.of(scale.name, scale.tokens_needed, scale.bytes_per_token, multiple)


@contextlib.contextmanager
def _work_folder(output: Path, identity: dict[str, Any]) -> Iterator[Path]:
    """The folder of unfinished work, this process's alone, without what is of another run."""
    work = output.with_name(f".{output.name}.partial")
    (work / SPILL).mkdir(parents=True, exist_ok=True)
    with (work / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure("output_exists", f"another process is writing {output}") from None
        known = work / IDENTITY
        others = _identity_in(known) != identity
        patterns = [".shard-*", f"{SPILL}/.*", f"{SPILL}/s3-*"]  # left by workers that were killed
        if others:
            patterns += ["shard-*", f"{SPILL}/*"]
        for left in {path for pattern in patterns for path in work.glob(pattern)}:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        write_json_atomically(known, identity)
        yield work


def _identity_in(path: Path) -> dict[str, Any] | None:
    """Which run's work it is; None where that cannot be read."""
    try:
        return decode_or_misfit(dict[str, Any], path.read_bytes())
    except (OSError, MisfitError):
        return None


def _finished(
    output: Path, identity: dict[str, Any], dataset: Dataset, expected_sha256: str
) -> Summary:
    """The summary of the folder there is, if it is what was asked for."""
    if not (output / SUMMARY).exists():
        raise Failure("output_exists", f"{output} is not empty")
    hashes = {}
    for shard in dataset.shards:
        with shard.streamed(output.parent) as opened:
            hashes[shard.name] = opened.sha256()
    sha256 = _dataset_sha256(dataset, hashes, expected_sha256)
    summary = read_summary(output)
    wanted = identity | {"dataset_sha256": sha256}
    if any(getattr(summary, key) != value for key, value in wanted.items()):
        raise Failure("output_exists", f"{output} holds the rows of another dataset, scale or seed")
    return summary


def _dataset_sha256(dataset: Dataset, hashes: dict[str, str], expected: str) -> str:
    sha256 = dataset.sha256(hashes)
    if expected and expected != sha256:
        raise Failure("artifact_corrupt", "the dataset is not the one that was validated")
    return sha256


def _spill(
    dataset: Dataset,
    scale: Scale,
    most: MostData,
    folder: Path,
    placement: Placement,
    progress: Progress,
) -> dict[str, Spilled]:
    """Encodes every shard into `folder`; what came of each, by the shard's name."""
    tasks = [SpillTask(shard, scale.tokenizer, folder, most) for shard in dataset.shards]
    spilled: dict[str, Spilled] = {}

    def tell() -> None:
        tokens = sum(map(_size, folder.glob("*.ids"))) // ID_BYTES  # the unfinished ones too
        progress(len(spilled), len(tasks), "shards", "tokenising", tokens=tokens)

    # The longest first: at the end no worker waits for one that began a large shard last.
    tasks.sort(key=lambda task: -task.shard.bytes)
    for task, done in placement(spill_shard, tasks, tell):
        spilled[task.shard.name] = done
        most.check(tokens=sum(one.tokens for one in spilled.values()))
        tell()
    return spilled


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # renamed meanwhile
        return 0


@dataclass(frozen=True)
class Plan:
    """Which rows there are and in which order they are written."""

    rows: RowFiles
    order: Order
    epochs: float
    sources: list[SourceSummary]


def _plan(
    dataset: Dataset, spilled: dict[str, Spilled], scale: Scale, seed: int, folder: Path
) -> Plan:
    """Without weights every row once, with them as many of each source as training reads."""
    width = scale.model.seq_len + 1
    of_sources = [[spilled[shard.name] for shard in source.shards] for source in dataset.sources]
    row_files = [
        rows_of(done, folder, width, f"ends-{number}.ids") for number, done in enumerate(of_sources)
    ]
    rows = joined(row_files)
    if not dataset.weighted:
        epochs = round(scale.rows / len(rows), 4) if len(rows) else 0.0
        return Plan(rows, whole_order(len(rows), seed), epochs, [])
    weights = [source.weight or 0.0 for source in dataset.sources]
    wanted = shares(weights, scale.rows)
    sources = [
        _source_summary(source, done, len(files), want, folder)
        for source, done, files, want in zip(
            dataset.sources, of_sources, row_files, wanted, strict=True
        )
    ]
    # Before rows are written: too many epochs mean that the dataset must be submitted anew.
    require_allowed(sources, scale)
    order = mixed_order([len(files) for files in row_files], wanted, seed)
    return Plan(rows, order, max(source.epochs for source in sources), sources)


def _source_summary(
    source: Source, spilled: Sequence[Spilled], rows: int, wanted: int, folder: Path
) -> SourceSummary:
    return SourceSummary(
        name=source.name,
        weight=source.weight or 0.0,
        documents=sum(done.documents for done in spilled),
        tokens=sum(done.tokens for done in spilled),
        unique_tokens=unique_tokens(spilled, folder),
        sequences=wanted,
        epochs=round(wanted / max(rows, 1), 4),
    )


def _shuffle(
    plan: Plan, scale: Scale, work: Path, placement: Placement, progress: Progress
) -> list[RowShard]:
    """Writes the rows in their order as tars of the recipe's size."""
    order = work / SPILL / ORDER
    np.save(order, plan.order)
    firsts = range(0, len(plan.order), scale.rows_per_shard)
    ends = (min(first + scale.rows_per_shard, len(plan.order)) for first in firsts)
    tasks = [
        ShuffleTask(index, first, end, order, plan.rows, work / SPILL, work)
        for index, (first, end) in enumerate(zip(firsts, ends, strict=True))
    ]
    written: dict[int, RowShard] = {}

    def tell() -> None:
        rows = sum(shard.num_sequences for shard in written.values())
        progress(rows, len(plan.order), "sequences", "writing shuffled rows")

    for task, shard in placement(shuffle_shard, tasks, tell):
        written[task.index] = shard
        tell()
    return [written[index] for index in sorted(written)]


def _hash_of_rows(shards: Sequence[RowShard]) -> str:
    return hashlib.sha256("".join(f"{s.rows_sha256}\n" for s in shards).encode()).hexdigest()


def result_of(summary: Summary) -> TokenizeResult:
    """What the stage reports of a summary."""
    return TokenizeResult(
        tokens=summary.tokens,
        unique_tokens=summary.unique_tokens,
        epochs=summary.epochs,
        tokenizer_sha256=summary.tokenizer_sha256,
        dataset_sha256=summary.dataset_sha256,
        rows_sha256=summary.rows_sha256,
        encoder=summary.encoder,
        seed=summary.seed,
        documents=summary.documents,
        sequences=summary.sequences,
        sources=summary.sources,
        shards=len(summary.shards),
    )


def stage(job: Job) -> StageResult[TokenizeResult]:
    """`dataset` to `tokens`; parameters `scale`, `seed`, `multiple`, any other: `recipe_frozen`."""
    require_choices(job.parameters, {"scale", "seed", "multiple"})
    dataset = job.inputs["dataset"]
    scale = load_scale(job.parameters["scale"])
    job.require_recipe(scale.recipe_sha256)
    output = job.output / "tokens"
    summary = tokenize_dataset(
        [dataset.path],
        output,
        scale,
        job.parameters.get("seed"),
        job.progress,
        LocalProcesses(cores()),
        expected_sha256=dataset.sha256,
        multiple=job.parameters.get("multiple", MULTIPLE),
    )
    require_enough(summary, scale)
    tokens = Artifact(output.resolve().as_uri(), folder_hash(output))
    return StageResult({"tokens": tokens}, result_of(summary))


if __name__ == "__main__":
    sys.exit(run_stage(stage))
