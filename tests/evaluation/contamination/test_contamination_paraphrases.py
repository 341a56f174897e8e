"""Reworded questions in a sample: what is hinted at, what is not, and that no count changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluation.contamination import paraphrases
from evaluation.contamination.index import Index, build_index
from evaluation.contamination.paraphrases import Meanings, find_paraphrases, sentences_of
from evaluation.contamination.scan import scan_dataset
from evaluation.suite import Suite
from submissions.cli import main
from submissions.dataset import find_dataset
from submissions.failures import Failure
from tests.evaluation.contamination.conftest import CHOICE_ROWS, FILLER

KETTLE = CHOICE_ROWS[1]["query"].partition("\n")[0].removeprefix("Question: ")
REWORDED = "Why does it need longer for a kettle with lime coat to boil an equal amount of water?"
HONEST = "A kettle with a whistle is handy in kitchens, and so is a toaster with two slots."


def test_a_reworded_question_is_hinted_at(
    index: Index, shard: Callable[..., Path], tmp_path: Path
) -> None:
    path = shard(f"{FILLER}\n\n{HONEST}", f"{FILLER}\n\n{REWORDED}\n\n{FILLER}")
    found = find_paraphrases(Meanings(index), find_dataset([path]).shards)
    assert (found["documents"], found["found"]) == (2, 1)
    (hint,) = found["findings"]
    assert (hint["task"], hint["index"], hint["shard"], hint["line"]) == ("choice", 1, "a.jsonl", 2)
    assert (hint["text"], hint["question"]) == (REWORDED, KETTLE)
    assert paraphrases.THRESHOLD <= hint["score"] <= 1


def test_what_the_search_for_words_finds_is_no_hint(
    index: Index, shard: Callable[..., Path]
) -> None:
    found = find_paraphrases(Meanings(index), find_dataset([shard(KETTLE)]).shards)
    assert (found["sentences"], found["findings"]) == (1, [])


def test_a_missing_number_or_name_is_another_question(index: Index) -> None:
    meanings = Meanings(index)
    asked = next(q for q in meanings.questions if "1881" in q)
    other = asked.replace("1881", "1904")
    (_, same), (_, changed) = meanings.nearest([asked, other])
    assert meanings.questions[same[1]] == asked
    assert same[0] == pytest.approx(1)
    assert changed[0] < paraphrases.THRESHOLD


def test_the_sample_is_bounded_and_the_same_every_time(
    index: Index, shard: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paraphrases, "SAMPLE", 4)
    monkeypatch.setattr(paraphrases, "SHARDS", 2)
    paths = [shard(*[f"{REWORDED} Page {k}."] * 5, name=f"{k}.jsonl") for k in range(4)]
    shards = find_dataset(paths).shards
    found = find_paraphrases(Meanings(index), shards)
    assert found["documents"] == 4
    assert found == find_paraphrases(Meanings(index), shards[::-1])
    assert len(sentences_of(f"{FILLER} " * 10_000)) < 200


def test_hints_change_no_count(index: Index, shard: Callable[..., Path], tmp_path: Path,
                               capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    path = shard(REWORDED, KETTLE)
    plain = scan_dataset([path], index.folder, tmp_path / "plain.json")
    given = ["contamination", "scan", "--index", str(index.folder), "--input", str(path)]
    given += ["--output", str(tmp_path / "hints.json"), "--paraphrases"]
    assert main(given) == 0
    assert "PARAPHRASE: 1 in a sample of 2 documents" in capsys.readouterr().out
    report = json.loads((tmp_path / "hints.json").read_text())
    assert report.pop("paraphrases")["found"] == 1
    assert "paraphrases" not in plain
    assert {**report, "seconds": 0} == {**plain, "seconds": 0}


def test_an_index_without_its_text_is_refused(
    small_suite: tuple[Suite, Path], tmp_path: Path
) -> None:
    bare = build_index(*small_suite, tmp_path / "bare", without_text=True)
    with pytest.raises(Failure, match="with its text"):
        Meanings(bare)
