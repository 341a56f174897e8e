"""What the stages `tokenize` and `train` report, as types; only data, so that the site reads them.

What a result of an older release may lack has a default.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True)
class SourceSummary:
    """One source of a mixture: what it has, and what of it is in the rows."""

    name: str
    weight: float
    documents: int
    tokens: int  # that it has, end-of-text included
    unique_tokens: int  # of these, in documents that do not repeat an earlier one of the source
    sequences: int  # of the rows, so many are from this source
    epochs: float  # how often these read the source


class TokenizeResult(msgspec.Struct, frozen=True, kw_only=True):
    """The rows that a dataset gives: summary.json without its list of shards.

    `tokens`: the ids in the rows, end-of-text included.
    `unique_tokens`: the ids in the rows that the dataset would give without the documents that
    repeat an earlier one, of a mixture at most `tokens`.
    `epochs`: how often training reads the rows, or the most repeated source of a mixture.
    """

    tokens: int
    unique_tokens: int
    epochs: float
    tokenizer_sha256: str
    dataset_sha256: str = ""
    rows_sha256: str = ""
    encoder: str = ""
    seed: int | None = None
    documents: int = 0
    sequences: int = 0
    sources: list[SourceSummary] = []
    shards: int = 0


class TrainResult(msgspec.Struct, frozen=True, kw_only=True):
    """One training: `loss` is the mean over its last twentieth, z-loss included.

    `flops` is 6 × published parameters × tokens; `mfu` the share of the GPUs' peak, None without a
    published one; `loss_curve` has points (step, mean loss since the point before); `seconds` are
    those of all attempts. `torch` and `cuda` are versions, `cuda` None in a
    build for processors; `gpu` is empty without one.
    """

    loss: float
    flops: float
    engine: str
    recipe_sha256: str
    weights_sha256: str
    loss_curve: list[tuple[int, float]] = []
    steps: int = 0
    tokens: int = 0
    mfu: float | None = None
    tokens_per_second: float | None = None
    seconds: float = 0.0
    params: int = 0
    params_trained: int = 0
    seed: int | None = None
    tokenizer_sha256: str = ""
    torch: str = ""
    cuda: str | None = None
    gpu: str = ""


REPORT = "training.json"  # beside the model


class TrainingReport(msgspec.Struct, frozen=True):
    """What training.json holds: which run it was, and its figures."""

    identity: dict[str, str | int]
    figures: TrainResult

    @property
    def recipe_sha256(self) -> str:
        """The recipe by which the model was trained."""
        return str(self.identity.get("recipe_sha256", ""))
