"""A score's provenance from the results of its stages: complete, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from evaluation.provenance import Provenance
from submissions.codec import convert, to_json
from submissions.failures import Failure
from submissions.job import Artifact, Hardware, ResultDocument
from submissions.states import BESIDE, Stage

FIGURES: dict[Stage, dict[str, Any]] = {
    Stage.VALIDATE: {"documents": 2, "manifest_sha256": "m" * 64},
    Stage.SCAN: {},
    Stage.PROFILE: {},
    Stage.TOKENIZE: {"tokenizer_sha256": "t" * 64, "tokens": 9, "unique_tokens": 6, "epochs": 1.5},
    Stage.TRAIN: {"loss": 3.5, "flops": 1e12, "engine": "composer", "recipe_sha256": "r" * 64,
                  "weights_sha256": "w" * 64},
    Stage.EVALUATE: {"suite_hash": "s" * 64, "engine": "native"},
    Stage.SCORE: {},
}  # fmt: skip


def results(**changes: dict[str, Any]) -> dict[Stage, ResultDocument]:
    """All stages' results, with other figures for those named."""
    return {
        stage: ResultDocument(
            key=f"1-{stage}-a1",
            stage=stage,
            outputs={"records": Artifact("file:///r", "a" * 64)} if stage == Stage.SCORE else {},
            figures=figures | changes.get(stage, {}),
            versions={"python": "3.11", "commit": "c0ffee"},
            hardware=Hardware(cpu="a processor", cores=2),
            seconds=2.0,
        )
        for stage, figures in FIGURES.items()
    }


def test_it_is_taken_from_the_stage_that_knows() -> None:
    found = Provenance.of(results(), 7)
    assert found == Provenance(
        suite_sha256="s" * 64,
        recipe_sha256="r" * 64,
        manifest_sha256="m" * 64,
        tokenizer_sha256="t" * 64,
        records_sha256="a" * 64,
        seed=7,
        code_commit="c0ffee",
        training_engine="composer",
        evaluation_engine="native",
        hardware=Hardware(cpu="a processor", cores=2),
        versions={"python": "3.11", "commit": "c0ffee"},
        seconds=12.0,
        flops=1e12,
        loss=3.5,
        tokens=9,
        unique_tokens=6,
        epochs=1.5,
    )
    assert convert(Provenance, to_json(found), code="internal_error", where="it") == found


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"train": {"engine": ""}}, "training_engine"),
        ({"evaluate": {"suite_hash": "unknown"}}, "suite_sha256"),
        ({"validate": {"manifest_sha256": ""}, "train": {"engine": ""}}, "manifest_sha256, train"),
        ({"train": {"loss": None}}, "figures: loss is null, not a number"),
        ({"tokenize": {"tokens": "many"}}, "1-tokenize-a1, figures: tokens is a string"),
    ],
)
def test_what_is_missing_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(Failure, match=named) as caught:
        Provenance.of(results(**changes), 7)
    assert caught.value.fault == "infrastructure"


@pytest.mark.parametrize("change", [{"versions": {"python": "3"}}, {"hardware": Hardware()}])
def test_a_run_that_does_not_tell_where_it_ran_has_no_score(change: dict[str, Any]) -> None:
    found = results()
    found[Stage.TRAIN] = structs.replace(found[Stage.TRAIN], **change)
    with pytest.raises(Failure, match=r"the score lacks (code_commit|hardware)") as caught:
        Provenance.of(found, 7)
    assert caught.value.code == "internal_error"


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage not in BESIDE])
def test_every_stage_of_the_chain_is_needed(stage: Stage) -> None:
    found = results()
    del found[stage]
    with pytest.raises(Failure, match=f"lacks the result of {stage}"):
        Provenance.of(found, 7)


def test_a_score_of_an_older_release_has_no_records() -> None:
    found = results()
    found[Stage.SCORE] = structs.replace(found[Stage.SCORE], outputs={})
    assert Provenance.of(found, 7).records_sha256 == ""
