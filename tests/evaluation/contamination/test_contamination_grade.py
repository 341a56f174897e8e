"""The labelled set and what the searches make of it, on the little suite of these tests."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from evaluation.contamination.decon import Decon
from evaluation.contamination.grade import BLAMED, OURS, grade
from evaluation.contamination.index import Index
from evaluation.contamination.kinds import HONEST, LEAKS, documents, draw_leaks
from evaluation.contamination.methods import NAMES
from evaluation.contamination.ordinary import documents_of, ordinary_documents
from evaluation.contamination.words import Words
from evaluation.suite import Suite
from submissions.cli import main
from tests.evaluation.contamination.conftest import FILLER, PASSAGE

ORDINARY = [f"{FILLER}\n\nPage {k} of the report. {FILLER}" for k in range(40)]


def test_every_kind_of_leak_is_found_and_no_honest_text(
    index: Index, small_suite: tuple[Suite, Path]
) -> None:
    graded = grade(index, small_suite[0], ORDINARY, seed=5, leaks=40)
    assert set(graded["kinds"]) == set(LEAKS)
    assert set(graded["honest"]) == set(HONEST)
    assert graded["recall"] >= 0.9
    for kind in ("case_and_punctuation", "inline_tags", "markdown_table", "csv_row", "embedded"):
        assert graded["kinds"][kind]["recall"] == 1, kind
    for kind in ("markup_attribute", "entities", "literal_escapes", "tag_wrap", "json_row"):
        assert graded["kinds"][kind]["recall"] >= 0.9, kind
    assert graded["precision"] == 1
    assert graded["flags_per_million"] == 0
    assert set(graded["methods"]) == {OURS, BLAMED, *NAMES}
    assert graded["methods"][OURS]["kinds"] == graded["kinds"]
    assert graded["families"]["test"]["n"] == sum(k["n"] for k in graded["kinds"].values())


def test_a_set_is_the_same_for_a_seed_and_another_for_another(index: Index) -> None:
    def texts(seed: int) -> list[str]:
        leaks = draw_leaks(index, 10, seed)
        return [text for kind in LEAKS for _, text in documents(leaks, kind, ORDINARY, seed)]

    assert texts(3) == texts(3)
    assert texts(3) != texts(4)


def test_a_leak_is_written_as_its_kind_says(index: Index) -> None:
    leaks = draw_leaks(index, 60, 1)
    draw = random.Random(2)
    for leak in leaks:
        for kind, write in {**LEAKS, **HONEST}.items():
            text = write(leak, draw)
            if kind == "renamed_code":
                assert (text is None) == (not leak.text["code"])
            if kind == "passage_only":
                assert (text or "") == leak.text["passage"]
            if kind == "permuted_options" and text:
                assert all(choice in text for choice in leak.text["choices"])


def test_the_rule_of_decon_needs_the_answer_near(index: Index) -> None:
    decon = Decon(index)
    leak = next(leak for leak in draw_leaks(index, 50, 1) if "gardener" in leak.text["question"])
    texts = {
        f"{leak.asked} {leak.answer}": True,
        leak.asked: False,  # 0.75 of a short question
        " ".join(leak.asked.split()[:10]): False,
        f"{PASSAGE} {FILLER}": False,
    }
    for text, expected in texts.items():
        assert decon.flags(leak.example, Words(text.encode()).hashes) is expected, text


def test_ordinary_documents_are_drawn_anew_by_seed() -> None:
    one, again, other = (ordinary_documents(30, seed) for seed in (1, 1, 2))
    assert one == again != other
    assert len(set(one)) == 30
    assert all(200 <= len(text) <= 6_000 for text in one)


def test_the_command_grades(
    index: Index, small_suite: tuple[Suite, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shard = tmp_path / "ordinary.jsonl"
    shard.write_text("".join(json.dumps({"text": text}) + "\n" for text in ORDINARY))
    assert documents_of([str(shard)], 7) == ORDINARY[:7]
    given = ["--index", str(index.folder), "--ordinary", str(shard), "--leaks", "4"]
    assert main(["contamination", "grade", *given, "--methods", "decon", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ordinary_documents"] == len(ORDINARY)
    assert set(document["methods"]) == {OURS, BLAMED, "decon"}
    assert main(["contamination", "grade", *given, "--methods"]) == 0
    shown = capsys.readouterr().out
    assert "one_word_in_five" in shown
    assert "flags_per_million" in shown
