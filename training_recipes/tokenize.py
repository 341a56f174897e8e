"""Stage `tokenize`: documents to packed rows of ids, shuffled over the whole dataset.

Documents follow one another with <|endoftext|> (id 0) after each, cut into rows of seq_len + 1 ids
without padding; what does not fill a last row is left out. Which rows come out and in which order
depends on the documents, the tokenizer and the seed, not on how the files are named or ordered.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import orjson

from submissions.failures import Failure
from submissions.hashing import combined_sha256, file_sha256
from submissions.job import Artifact, Job, StageResult, run_stage
from submissions.progress import Progress, no_progress
from submissions.shards import Shard, find_shards, read_documents
from training_recipes.packed_rows import (
    ROWS_PER_SHARD,
    SUMMARY,
    RowShard,
    Summary,
    folder_hash,
    read_summary,
    write_manifest_and_summary,
    write_shard,
)
from training_recipes.scales import Scale, load_scale
from training_recipes.tokenizer import END_OF_TEXT_ID, load_tokenizer, tokenizer_sha256

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH_DOCUMENTS, BATCH_CHARACTERS = 512, 2_000_000  # bounds of what is encoded at once
SPILL = "ids.bin"  # the ids of the whole dataset on disk, so that memory does not grow with it


def tokenize_dataset(
    paths: Sequence[str | Path],
    output: Path,
    scale: Scale,
    seed: int | None = None,
    progress: Progress = no_progress,
    expected_sha256: str = "",
) -> Summary:
    """Writes the folder `output` (see packed_rows) and returns its summary.

    The folder appears when it is complete. Where it already holds the rows of this dataset, scale
    and seed, it is returned as it is; where it holds anything else: `output_exists`. A dataset with
    fewer tokens than one training reads: `dataset_too_small`; one that is not the one expected (by
    hash, where it is given): `artifact_corrupt`.
    """
    seed = scale.seed if seed is None else seed
    hashed = [(file_sha256(shard.path), shard) for shard in find_shards(paths)]
    shards = sorted(hashed, key=lambda pair: pair[0])
    dataset_sha256 = combined_sha256(sha256 for sha256, _ in shards)
    if expected_sha256 and expected_sha256 != dataset_sha256:
        raise Failure("artifact_corrupt", "the dataset is not the one that was validated")
    identity = (scale.recipe_sha256, seed, dataset_sha256)
    if output.exists() and any(output.iterdir()):
        return _finished(output, identity)
    tokenizer = load_tokenizer(scale.tokenizer)
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    counts = _spill_ids((shard for _, shard in shards), tokenizer, partial / SPILL, progress)
    _require_enough(counts.tokens, scale)
    rows = _as_rows(partial / SPILL, scale.model.seq_len + 1)
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(rows))
    written, rows_sha256 = _write_rows(partial, rows, order, progress)
    (partial / SPILL).unlink()
    summary = Summary(
        scale=scale.name,
        seed=seed,
        seq_len=scale.model.seq_len,
        recipe_sha256=scale.recipe_sha256,
        tokenizer_sha256=tokenizer_sha256(scale.tokenizer),
        dataset_sha256=dataset_sha256,
        rows_sha256=rows_sha256,
        documents=counts.documents,
        sequences=len(rows),
        tokens=rows.size,
        unique_tokens=counts.unique_tokens,
        epochs=round(scale.rows / len(rows), 4),
        shards=written,
    )
    write_manifest_and_summary(partial, summary)
    partial.rename(output)
    return summary


@dataclass(frozen=True)
class Counts:
    """What went through the tokenizer; end-of-text ids count as tokens."""

    documents: int
    tokens: int
    unique_tokens: int


def _finished(output: Path, identity: tuple[str, int, str]) -> Summary:
    if (output / SUMMARY).exists():
        summary = read_summary(output)
        if (summary.recipe_sha256, summary.seed, summary.dataset_sha256) == identity:
            return summary
        raise Failure("output_exists", f"{output} holds the rows of another dataset, scale or seed")
    raise Failure("output_exists", f"{output} is not empty")


def _spill_ids(
    shards: Iterable[Shard], tokenizer: Tokenizer, spill: Path, progress: Progress
) -> Counts:
    """Writes the ids of all documents one after another to `spill`, as 16-bit numbers."""
    fingerprints, lengths = array("Q"), array("L")
    with spill.open("wb") as file:
        for texts in _batches(_texts(shards)):
            for text, encoding in zip(texts, tokenizer.encode_batch_fast(texts), strict=True):
                ids = np.array([*encoding.ids, END_OF_TEXT_ID], dtype="<u2")
                file.write(ids.tobytes())
                digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
                fingerprints.append(int.from_bytes(digest, "little"))
                lengths.append(len(ids))
            progress(len(lengths), 0, "documents", "tokenising")
    _, first_seen = np.unique(np.asarray(fingerprints), return_index=True)
    sizes = np.asarray(lengths)
    return Counts(len(sizes), int(sizes.sum()), int(sizes[first_seen].sum()))


def _texts(shards: Iterable[Shard]) -> Iterator[str]:
    for shard in shards:
        for document in read_documents(shard):
            yield document.text


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Lists of texts, each small enough to hold its encoding in memory."""
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if len(batch) >= BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _require_enough(tokens: int, scale: Scale) -> None:
    if tokens < scale.tokens_needed:
        raise Failure(
            "dataset_too_small",
            f"the dataset has {tokens:,} tokens, and the scale {scale.name} needs "
            f"{scale.tokens_needed:,}",
        )


def _as_rows(spill: Path, width: int) -> npt.NDArray[np.uint16]:
    """The ids as rows [n, width], mapped from disk."""
    ids = np.memmap(spill, dtype="<u2", mode="r")
    return ids[: len(ids) // width * width].reshape(-1, width)


def _write_rows(
    folder: Path,
    rows: npt.NDArray[np.uint16],
    order: npt.NDArray[np.int64],
    progress: Progress,
) -> tuple[list[RowShard], str]:
    """Writes the rows in that order as tars; returns these and the hash over all rows."""
    digest = hashlib.sha256()

    def encoded(numbers: npt.NDArray[np.int64]) -> Iterator[bytes]:
        for number in numbers:
            row = orjson.dumps(rows[number].tolist())
            digest.update(row + b"\n")
            yield row

    written = []
    for index, start in enumerate(range(0, len(order), ROWS_PER_SHARD)):
        numbers = order[start : start + ROWS_PER_SHARD]
        written.append(write_shard(folder, index, encoded(numbers)))
        progress(start + len(numbers), len(order), "sequences", "writing shuffled rows")
    return written, digest.hexdigest()


def figures_of(summary: Summary) -> dict[str, Any]:
    """What the stage reports and `crucible tokenize --json` prints of a summary."""
    return {
        "documents": summary.documents,
        "sequences": summary.sequences,
        "tokens": summary.tokens,
        "unique_tokens": summary.unique_tokens,
        "epochs": summary.epochs,
        "tokenizer_sha256": summary.tokenizer_sha256,
        "rows_sha256": summary.rows_sha256,
        "seed": summary.seed,
        "shards": [
            {"name": s.name, "num_sequences": s.num_sequences, "sha256": s.sha256}
            for s in summary.shards
        ],
    }


def stage(job: Job) -> StageResult:
    """`dataset` to `tokens`; parameters `scale` and `seed`."""
    dataset = job.inputs["dataset"]
    scale = load_scale(job.parameters["scale"])
    output = job.output / "tokens"
    summary = tokenize_dataset(
        [dataset.path],
        output,
        scale,
        job.parameters.get("seed"),
        job.progress,
        expected_sha256=dataset.sha256,
    )
    tokens = Artifact(output.resolve().as_uri(), folder_hash(output))
    return StageResult({"tokens": tokens}, figures_of(summary))


if __name__ == "__main__":
    # One encoding thread a stage: the machine's other cores belong to other submissions.
    os.environ.setdefault("RAYON_NUM_THREADS", "1")
    sys.exit(run_stage(stage))
