"""The `validate` stage: checks a submitted dataset and fixes its hash, before any compute."""

from __future__ import annotations

import importlib
import sys

import msgspec

from submissions.check import CheckedSource, check_dataset
from submissions.check_kept import CheckedShard
from submissions.failures import Failure
from submissions.job import Artifact, Job, StageResult, run_stage
from submissions.most_data import MULTIPLE
from submissions.token_sample import CountTokens


class ValidateResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the stage found; every field is as in `submissions.check`.

    `manifest_sha256` is the dataset's hash.
    """

    documents: int
    manifest_sha256: str
    bytes: int = 0
    text_bytes: int = 0
    tokens_estimate: int = 0
    tokens_error: int | None = None
    epochs_estimate: float | None = None
    shards: list[CheckedShard] = []
    sources: list[CheckedSource] = []


def stage(job: Job) -> StageResult[ValidateResult]:
    """Input `dataset` (a folder of shards or a mixture, or a manifest); output it with its hash.

    Raises the first problem that the check finds, and `artifact_corrupt` when the folder is no
    longer the one whose hash came with the job.
    """
    dataset = job.inputs["dataset"]
    if not dataset.path.exists():  # it was there at the submission
        raise Failure("artifact_missing", f"there is no {dataset.path}")
    report = check_dataset(
        [dataset.path],
        track=job.parameters["track"],
        scale=job.parameters["scale"],
        tokens_needed=job.parameters["tokens"],
        bytes_per_token=job.parameters["bytes_per_token"],
        max_epochs=job.parameters["max_epochs"],
        multiple=job.parameters.get("multiple", MULTIPLE),
        count_tokens=_token_counter(job.parameters.get("tokenizer")),
        progress=job.progress,
        kept=job.output / "checked.json",
    )
    if report.problems:
        raise report.problems[0]
    sha256 = report.manifest_sha256
    if dataset.sha256 not in ("", sha256):
        raise Failure("artifact_corrupt", f"the dataset's hash is {sha256}, not {dataset.sha256}")
    figures = ValidateResult(
        documents=report.documents,
        manifest_sha256=sha256,
        bytes=report.bytes,
        text_bytes=report.text_bytes,
        tokens_estimate=report.tokens_estimate,
        tokens_error=report.tokens_error,
        epochs_estimate=report.epochs_estimate,
        shards=report.shards,
        sources=report.sources,
    )
    return StageResult({"dataset": Artifact(dataset.uri, sha256)}, figures)


def _token_counter(tokenizer: str | None) -> CountTokens | None:
    """Imported by name, as in cli.py: this package does not import those that build on it."""
    if tokenizer is None:
        return None
    count: CountTokens | None = importlib.import_module("training_recipes.encoder").token_counter(
        tokenizer
    )
    return count


if __name__ == "__main__":
    sys.exit(run_stage(stage))
