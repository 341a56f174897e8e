"""Published rules, on documents made for each side of their thresholds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.contamination.index import Index, build_index
from evaluation.contamination.methods import joined, merged
from evaluation.contamination.scan import scan_dataset
from evaluation.suite import Suite
from submissions.failures import Failure
from tests.evaluation.contamination.conftest import CHOICE_ROWS, FILLER, LM_ROWS, PASSAGE

GARDENER = CHOICE_ROWS[0]["query"].partition("\n")[0].removeprefix("Question: ")
LAST_SENTENCE = "What should she add to the soil first?"
NAMES = ("dclm-overlap", "dclm-option", "cosmopedia")
BOOK = LM_ROWS[0]["context"] + " violin"  # 29 words


def methods(index: Index, tmp_path: Path, *shards: list[str]) -> dict[str, Any]:
    paths = []
    for number, texts in enumerate(shards):
        paths.append(tmp_path / f"{number}.jsonl")
        paths[-1].write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    report = scan_dataset(paths, index.folder, tmp_path / "report.json", methods=NAMES)
    found: dict[str, Any] = report["methods"]
    return found


def test_a_copy_is_found_by_all(index: Index, tmp_path: Path) -> None:
    text = f"{FILLER}\n{GARDENER} a compost rich in nitrogen\n{FILLER}"
    found = methods(index, tmp_path, [text, FILLER])
    assert {name: found[name]["documents"] for name in NAMES} == dict.fromkeys(NAMES, 1)
    assert found["dclm-overlap"]["tasks"]["choice"] == {"examples": 2, "dirty": 1, "clean": 1}
    assert found["dclm-option"]["tasks"]["choice"] == {"examples": 2, "flagged": 1}
    assert found["cosmopedia"]["tasks"]["choice"] == {"examples": 2, "flagged": 1}
    assert found["cosmopedia"]["tasks"]["lm"]["flagged"] == 0


def test_the_last_sentence_with_any_option_is_enough(index: Index, tmp_path: Path) -> None:
    asked = f"The soil was dry. {LAST_SENTENCE}"
    found = methods(index, tmp_path, [f"{asked} Perhaps crushed oyster shells.", asked])
    assert found["dclm-option"]["documents"] == 1
    assert found["dclm-option"]["tasks"]["choice"]["flagged"] == 1
    assert found["cosmopedia"]["documents"] == 0


def test_overlap_adds_up_over_documents_and_shards(index: Index, tmp_path: Path) -> None:
    words = BOOK.split()
    halves = [" ".join(words[:15]), " ".join(words[14:])]
    for shards in ([[halves[0]]], [[halves[1]]]):
        lm = methods(index, tmp_path, *shards)["dclm-overlap"]["tasks"]["lm"]
        assert (lm["dirty"], lm["clean"]) == (0, 3)
    for shards in ([halves], [[halves[0]], [halves[1]]]):
        lm = methods(index, tmp_path, *shards)["dclm-overlap"]["tasks"]["lm"]
        assert (lm["dirty"], lm["clean"]) == (1, 3)


def test_nine_words_are_no_run(index: Index, tmp_path: Path) -> None:
    words = BOOK.split()
    found = methods(index, tmp_path, [" ".join(words[:9]) + " " + " ".join(words[12:21])])
    assert found["dclm-overlap"]["documents"] == found["cosmopedia"]["documents"] == 0


def test_less_than_half_is_not_flagged_by_cosmopedia(index: Index, tmp_path: Path) -> None:
    words = PASSAGE.split()
    found = methods(index, tmp_path, [" ".join(words[:20])])
    assert found["dclm-overlap"]["documents"] == 1
    assert found["cosmopedia"]["documents"] == 0


def test_a_shard_after_another_gives_the_sum() -> None:
    assert joined([[4, 9], [0, 3], [9, 12], [2, 3]]) == [[0, 3], [4, 12]]
    one = {"dclm-overlap": {1: [[0, 10]]}, "cosmopedia": {1: 2}}
    other = {"dclm-overlap": {1: [[5, 15]], 2: [[0, 10]]}, "cosmopedia": {2: 1}}
    assert merged(one, other) == {
        "dclm-overlap": {1: [[0, 15]], 2: [[0, 10]]}, "cosmopedia": {1: 2, 2: 1},
    }  # fmt: skip


def test_an_index_without_text_is_not_enough(
    small_suite: tuple[Suite, Path], tmp_path: Path
) -> None:
    public = build_index(*small_suite, tmp_path / "public", without_text=True)
    with pytest.raises(Failure) as failure:
        methods(public, tmp_path, [FILLER])
    assert failure.value.code == "index_invalid"
