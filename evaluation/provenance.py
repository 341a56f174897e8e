"""Everything that a score depends on: hashes, engines, machine and cost. None may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import msgspec
from msgspec import structs

from evaluation.results import EvaluateResult
from submissions.failures import Failure
from submissions.job import Hardware, ResultDocument
from submissions.states import Stage
from submissions.validate import ValidateResult
from training_recipes.results import TokenizeResult, TrainResult

NEEDED = (Stage.VALIDATE, Stage.TOKENIZE, Stage.TRAIN, Stage.EVALUATE, Stage.SCORE)
MAY_BE_EMPTY = ("records_sha256",)


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """The provenance of a score.

    `records_sha256` is empty where an older release kept no per-example records. `hardware`,
    `versions` and `code_commit` are those of training; `seconds` of all stages
    together but the profile; `flops` and `loss` of training; `tokens`, `unique_tokens` and `epochs`
    as `TokenizeResult` defines them.
    """

    suite_sha256: str
    recipe_sha256: str
    manifest_sha256: str
    tokenizer_sha256: str
    records_sha256: str
    seed: int
    code_commit: str
    training_engine: str
    evaluation_engine: str
    hardware: Hardware
    versions: dict[str, str]
    seconds: float
    flops: float
    loss: float
    tokens: int
    unique_tokens: int
    epochs: float

    @classmethod
    def of(cls, results: Mapping[Stage, ResultDocument], seed: int) -> Self:
        """From the results of a submission's stages; `internal_error` names what is missing."""
        absent = [stage.value for stage in NEEDED if stage not in results]
        if absent:
            raise Failure("internal_error", f"the score lacks the result of {', '.join(absent)}")
        dataset = results[Stage.TOKENIZE].figures_as(TokenizeResult)
        training = results[Stage.TRAIN].figures_as(TrainResult)
        evaluation = results[Stage.EVALUATE].figures_as(EvaluateResult)
        records = results[Stage.SCORE].outputs.get("records")
        found = cls(
            suite_sha256=evaluation.suite_hash,
            recipe_sha256=training.recipe_sha256,
            manifest_sha256=results[Stage.VALIDATE].figures_as(ValidateResult).manifest_sha256,
            tokenizer_sha256=dataset.tokenizer_sha256,
            records_sha256=records.sha256 if records else "",
            seed=seed,
            code_commit=results[Stage.TRAIN].versions.get("commit", ""),
            training_engine=training.engine,
            evaluation_engine=evaluation.engine,
            hardware=results[Stage.TRAIN].hardware,
            versions=results[Stage.TRAIN].versions,
            seconds=sum(one.seconds for stage, one in results.items() if stage != Stage.PROFILE),
            flops=training.flops,
            loss=training.loss,
            tokens=dataset.tokens,
            unique_tokens=dataset.unique_tokens,
            epochs=dataset.epochs,
        )
        missing = sorted(
            name
            for name, value in structs.asdict(found).items()
            if value in ("", "unknown", {}, Hardware()) and name not in MAY_BE_EMPTY
        )
        if missing:
            raise Failure("internal_error", f"the score lacks {', '.join(missing)}")
        return found
