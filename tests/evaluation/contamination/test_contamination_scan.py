"""Documents to findings: severities, places, formats, and what must never pass as clean."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from evaluation.contamination import blocks, compiling
from evaluation.contamination.compiling import is_kept
from evaluation.contamination.index import Index, build_index, load_index
from evaluation.contamination.report import EVIDENCE, Report
from evaluation.contamination.rules import NOTHING, severity_of
from evaluation.contamination.scan import COMPILING, report_of, scan_dataset
from evaluation.contamination.scanner import scan_lines
from evaluation.suite import Suite
from submissions.executor import LocalProcesses
from submissions.failures import Failure
from submissions.shards import LocalShard
from tests.evaluation.contamination.conftest import (
    CHOICE_ROWS,
    CODE_ROWS,
    FILLER,
    GENERATION_ROWS,
    LM_ROWS,
    PASSAGE,
    QUESTIONS,
    SCHEMA_ROWS,
    write_suite,
)

Found = set[tuple[str, int, str]]
GARDENER = CHOICE_ROWS[0]["query"].partition("\n")[0].removeprefix("Question: ")
COMPOST = "a compost rich in nitrogen"


def found_in(text: str, index: Index, tmp_path: Path) -> Found:
    """(task, row, severity) of everything found in one document."""
    (tmp_path / "one.jsonl").write_text(json.dumps({"text": text}) + "\n")
    report = scan_dataset([tmp_path / "one.jsonl"], index.folder, tmp_path / "one-report.json")
    return {(f["task"], f["index"], f["severity"]) for f in report["findings"]}


def around(text: str) -> str:
    """The text as a paragraph of an ordinary document."""
    return f"{FILLER}\n\n{text}\n\n{FILLER}"


CASES: dict[str, tuple[str, Found]] = {
    "question and answer": (f"{GARDENER}\nAnswer: {COMPOST}", {("choice", 0, "high")}),
    "question": (GARDENER, {("choice", 0, "medium")}),
    "answer first": (f"{COMPOST}. {GARDENER}", {("choice", 0, "high")}),
    "answer far away": (
        GARDENER + " " + " ".join([FILLER] * 4) + " " + COMPOST,
        {("choice", 0, "medium")},
    ),
    "all choices, permuted": (
        f"{GARDENER} (1) crushed oyster shells (2) a handful of coarse sea salt (3) nothing before "
        f"the first frost (4) {COMPOST}",
        {("choice", 0, "high")},
    ),
    "quoted and broken": (
        "\n".join(
            "> " + " ".join(f"{GARDENER} {COMPOST}".split()[k : k + 5]) for k in range(0, 40, 5)
        ),
        {("choice", 0, "high")},
    ),
    "marked up": (
        GARDENER.replace("tomato plants", '<a href="/t">tomato</a> <b>plants</b>')
        + f"<p>{COMPOST}",
        {("choice", 0, "high")},
    ),
    "shouted": (f"{GARDENER} {COMPOST}".upper(), {("choice", 0, "high")}),
    "other words here and there": (
        GARDENER.replace("gardener", "farmer").replace("yellow", "brown") + f" {COMPOST}",
        {("choice", 0, "high")},
    ),
    "first half": (" ".join(GARDENER.split()[:14]), {("choice", 0, "review")}),
    "passage": (PASSAGE, {("reading", 0, "passage"), ("reading", 1, "passage")}),
    "half of the passage": (
        PASSAGE[: len(PASSAGE) * 2 // 3],
        {("reading", 0, "passage"), ("reading", 1, "passage")},
    ),
    "passage with one question": (
        f"{PASSAGE}\n{QUESTIONS[0][0]} {QUESTIONS[0][1]}",
        {("reading", 0, "high"), ("reading", 1, "passage")},
    ),
    "a book with its next word": (
        LM_ROWS[0]["context"] + " " + LM_ROWS[0]["continuation"],
        {("lm", 0, "high")},
    ),
    "one short fact": ("The capital of Veldonia is Marsk.", {("lm", 1, "review")}),
    "three short facts": (
        "The capital of Veldonia is Marsk. The river through Veldonia is Ostra. "
        "The currency of Veldonia is thaler.",
        {("lm", 1, "high"), ("lm", 2, "high"), ("lm", 3, "high")},
    ),
    "a sentence to complete": (
        SCHEMA_ROWS[0]["context_options"][1] + " " + SCHEMA_ROWS[0]["continuation"],
        {("schema", 0, "high")},
    ),
    "a number behind the question": (
        f"{GENERATION_ROWS[0]['context']} The answer is 92.",
        {("generation", 0, "high")},
    ),
    "that number elsewhere": (
        f"92 people came. {GENERATION_ROWS[0]['context']} {FILLER} Page 92.",
        {("generation", 0, "medium")},
    ),
    "the reasoning": (
        f"{GENERATION_ROWS[0]['context']} {FILLER[:60]} {GENERATION_ROWS[0]['chain_of_thought']}",
        {("generation", 0, "high")},
    ),
    "numbers in a row": (" ".join(map(str, range(500))), set()),
    "ordinary text": (FILLER * 20, set()),
    "other words of the same subject": (
        "A gardener who sees yellow leaves on a tomato should think of nitrogen before all else, "
        "says the handbook, and a compost of leaves is the cheapest way to bring it.",
        set(),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_severities(case: str, index: Index, tmp_path: Path) -> None:
    text, expected = CASES[case]
    assert found_in(around(text), index, tmp_path) == expected


@pytest.mark.parametrize("case", ["question and answer", "passage", "three short facts"])
def test_at_the_first_and_at_the_last_word(case: str, index: Index, tmp_path: Path) -> None:
    text, expected = CASES[case]
    assert found_in(text, index, tmp_path) == expected


def test_too_short_examples_are_not_checkable(index: Index) -> None:
    tasks = {task["label"]: (task["examples"], task["checkable"]) for task in index.tasks}
    assert tasks["sums"] == (30, 0)
    assert tasks["lm"] == (4, 4)


def test_a_finding_says_where(index: Index, shard: Callable[..., Path], tmp_path: Path) -> None:
    text = f"Straße 東京 {FILLER} {GARDENER} Answer: {COMPOST} {FILLER}"
    path = shard("nothing", text)
    report = scan_dataset([path], index.folder, tmp_path / "report.json")
    (finding,) = report["findings"]
    start, end = finding["doc_span"]
    assert (finding["shard"], finding["line"]) == ("a.jsonl", 2)
    assert text[start:end] == GARDENER.rstrip("?")
    inner = finding["text_span"]
    assert finding["text"][inner[0] : inner[1]] == text[start:end]
    assert finding["text"] in text
    assert finding["question_coverage"] == 1.0
    assert finding["answer_near"] is True
    assert finding["example_span"] == [0, len(GARDENER.split())]
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert report["tasks"]["choice"] == {
        "examples": 2, "checkable": 2, "high": 1, "medium": 0, "review": 0, "passage": 0,
    }  # fmt: skip


def test_the_same_question_in_two_tasks_is_reported_for_both(
    tmp_path: Path, shard: Callable[..., Path]
) -> None:
    suite = write_suite(
        tmp_path, {"one": ("multiple_choice", CHOICE_ROWS), "two": ("multiple_choice", CHOICE_ROWS)}
    )
    index = build_index(suite, tmp_path, tmp_path / "index")
    assert len(index.units.question) == 2
    found = found_in(f"{GARDENER} {COMPOST}", index, tmp_path)
    assert found == {("one", 0, "high"), ("two", 0, "high")}


def test_many_copies_are_counted_and_few_are_shown(
    index: Index, shard: Callable[..., Path], tmp_path: Path
) -> None:
    copies = EVIDENCE + 8
    path = shard(*[f"{GARDENER} {COMPOST}"] * copies, *[GARDENER] * 3)
    report = scan_dataset([path], index.folder, tmp_path / "report.json")
    assert report["examples"] == [
        {"task": "choice", "index": 0, "severity": "high",
         "documents": {"high": copies, "medium": 3, "review": 0, "passage": 0}}
    ]  # fmt: skip
    shown = [(finding["severity"], finding["line"]) for finding in report["findings"]]
    assert shown[:EVIDENCE] == [("high", line) for line in range(1, EVIDENCE + 1)]
    assert shown[EVIDENCE:] == [("medium", copies + k) for k in (1, 2, 3)]
    assert report["flagged_documents"]["high"] == copies


def corpus(seed: int = 3) -> list[str]:
    """Ordinary documents with all cases among them."""
    draw = random.Random(seed)
    texts = [around(text) for text, _ in CASES.values()] + [FILLER] * 20
    draw.shuffle(texts)
    return texts


def without_time(report: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in report.items() if key != "seconds"}


def test_the_report_does_not_depend_on_order_workers_or_block_size(
    index: Index, shard: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = corpus()
    paths = [shard(*texts[k::3], name=f"part-{k}.jsonl") for k in range(3)]
    whole = scan_dataset(paths, index.folder, tmp_path / "report.json")
    assert sum(task["high"] for task in whole["tasks"].values()) > 5
    backwards = scan_dataset(
        paths[::-1], index.folder, tmp_path / "two.json", placement=LocalProcesses(2)
    )
    assert without_time(backwards) == without_time(whole)
    for size in (1, 700):
        monkeypatch.setattr(blocks, "BLOCK", size)
        monkeypatch.setattr(blocks, "CANDIDATES", 2)
        again = scan_dataset(paths, index.folder, tmp_path / f"{size}.json")
        assert without_time(again) == without_time(whole)


def test_every_format_gives_the_same(index: Index, tmp_path: Path) -> None:
    texts = corpus()
    lines = b"".join(json.dumps({"id": k, "text": text}).encode() + b"\n"
                     for k, text in enumerate(texts))  # fmt: skip
    half = len(lines) // 2
    zstd, zipped = zstandard.ZstdCompressor().compress, gzip.compress
    written = {
        "a.jsonl": lines,
        "a.jsonl.gz": zipped(lines[:half]) + zipped(lines[half:]),
        "a.jsonl.zst": zstd(lines[:half]) + zstd(lines[half:]),
    }
    for name, data in written.items():
        (tmp_path / name).write_bytes(data)
    kinds = (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()))
    for number, kind in enumerate(kinds):
        table = pa.table({"url": ["x"] * len(texts), "text": pa.array(texts).cast(kind)})
        pq.write_table(table, tmp_path / f"{number}.parquet", row_group_size=7)
    reports = [
        scan_dataset([path], index.folder, tmp_path / "report")
        for path in [*(tmp_path / name for name in written), *tmp_path.glob("*.parquet")]
    ]
    assert len(reports) == 6
    shown = [[{**finding, "shard": ""} for finding in report["findings"]] for report in reports]
    assert shown[0]
    assert all(one == shown[0] for one in shown)
    assert all(report["documents"] == len(texts) for report in reports)


def test_no_example_is_given_up_that_could_be_found() -> None:
    """Judging stops where even the best answer and likeness give nothing: no worse ones may."""
    draw = random.Random(5)
    for _ in range(20_000):
        words, answer = draw.randrange(30), draw.randrange(4)
        coverage, likeness = draw.random() ** 0.5, draw.random()
        run = draw.randrange(35)
        near, alone, passage, own = (draw.random() < 0.5 for _ in range(4))
        similarity = max(coverage, likeness)
        found = severity_of(words, answer, coverage, similarity, run, near, alone, passage, own)
        for sure in (True, near):
            best = severity_of(words, answer, coverage, 1.0, run, sure, True, True, own)
            assert best != NOTHING or found == NOTHING


def test_words_of_two_documents_do_not_meet(
    index: Index, shard: Callable[..., Path], tmp_path: Path
) -> None:
    words = GARDENER.split()
    path = shard(*(" ".join(words[k : k + 4]) for k in range(0, len(words), 4)))
    assert scan_dataset([path], index.folder, tmp_path / "report.json")["findings"] == []


def test_a_huge_document(index: Index, shard: Callable[..., Path], tmp_path: Path) -> None:
    filler = (FILLER + " ") * 40_000  # 7 MB
    path = shard(f"{filler}{GARDENER} {COMPOST} {filler}")
    (finding,) = scan_dataset([path], index.folder, tmp_path / "report.json")["findings"]
    assert finding["doc_span"][0] == len(filler)


def test_what_was_scanned_is_not_scanned_again(
    index: Index, shard: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = shard(GARDENER, name="a.jsonl"), tmp_path / "b.jsonl"
    bad.write_text("broken\n")
    output = tmp_path / "report.json"
    with pytest.raises(Failure):
        scan_dataset([good, bad], index.folder, output)
    shard(FILLER, name="b.jsonl")
    read: list[str] = []

    def watched(local: LocalShard, index: Index, methods: tuple[str, ...]) -> Any:
        read.append(local.name)
        return report_of(local, index, methods)

    monkeypatch.setattr("evaluation.contamination.scan.report_of", watched)
    report = scan_dataset([good, bad], index.folder, output)
    assert read == ["b.jsonl"]
    assert report["tasks"]["choice"]["medium"] == 1
    assert not (tmp_path / ".report.json.partial").exists()
    shard(GARDENER, FILLER, name="a.jsonl")  # another content is another shard
    scan_dataset([good, bad], index.folder, output)
    assert read == ["b.jsonl", "a.jsonl", "b.jsonl"] or read == ["b.jsonl", "b.jsonl", "a.jsonl"]


def test_reports_of_two_indexes_do_not_mix(
    index: Index, small_suite: tuple[Suite, Path], tmp_path: Path, shard: Callable[..., Path]
) -> None:
    other = build_index(*small_suite, tmp_path / "other", labels=["choice"])
    path = shard(GARDENER)
    ours, theirs = (report_of(LocalShard("a.jsonl", "jsonl", path), one) for one in (index, other))
    report = Report(index)
    report.add(ours)
    with pytest.raises(Failure) as failure:
        report.add(replace(theirs, shard="b.jsonl"))
    assert failure.value.code == "reports_differ"


def test_the_hash_of_an_index_follows_the_files(
    index: Index, small_suite: tuple[Suite, Path], tmp_path: Path
) -> None:
    suite, data = small_suite
    again = build_index(suite, data, tmp_path / "again")
    assert again.hash == index.hash
    fewer = build_index(suite, data, tmp_path / "fewer", labels=["lm", "choice"])
    assert fewer.hash != index.hash
    assert [task["label"] for task in fewer.tasks] == ["choice", "lm"]


def test_an_index_without_text_finds_the_same_words(
    index: Index, small_suite: tuple[Suite, Path], tmp_path: Path
) -> None:
    """What is copied is found; no question, and no hash of a single word, is in the folder."""
    public = build_index(*small_suite, tmp_path / "public", without_text=True)
    assert public.hash != index.hash
    assert not (public.folder / "examples.jsonl").exists()
    assert len(public.units.words) == len(public.units.answer_hashes) == 0
    for case in ("question and answer", "question", "passage", "three short facts", "first half"):
        text, expected = CASES[case]
        assert found_in(around(text), public, tmp_path) == expected, case
    for path in public.folder.iterdir():
        assert b"gardener" not in path.read_bytes()


@pytest.mark.parametrize("damage", ["no folder", "other rules", "an array is missing"])
def test_what_is_no_index_is_refused(damage: str, index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    if damage != "no folder":
        folder.mkdir()
        for path in index.folder.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    if damage == "other rules":
        meta = json.loads((folder / "index.json").read_text())
        (folder / "index.json").write_text(json.dumps(meta | {"rules": 0}))
    if damage == "an array is missing":
        (folder / "grams_keys.npy").unlink()
    with pytest.raises(Failure) as failure:
        load_index(folder)
    assert failure.value.code == "index_invalid"


def test_tasks_without_a_file_are_listed(small_suite: tuple[Suite, Path], tmp_path: Path) -> None:
    suite, data = small_suite
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "lm.jsonl").write_bytes((data / "lm.jsonl").read_bytes())
    index = build_index(suite, tmp_path / "data", tmp_path / "index")
    assert [task["label"] for task in index.tasks] == ["lm"]
    assert "choice" in index.meta["missing"]
    for labels, code in ((["choice"], "task_file_missing"), (["nothing"], "unknown_task")):
        with pytest.raises(Failure) as failure:
            build_index(suite, tmp_path / "data", tmp_path / "index", labels=labels)
        assert failure.value.code == code
    (tmp_path / "data" / "lm.jsonl").write_text("{}\n")
    with pytest.raises(Failure) as failure:
        build_index(suite, tmp_path / "data", tmp_path / "index")
    assert failure.value.code == "task_file_invalid"


def test_code_is_found_as_text(index: Index, tmp_path: Path) -> None:
    program = CODE_ROWS[0]["prompt"] + CODE_ROWS[0]["canonical_solution"]
    assert ("code", 0, "high") in found_in(around(program), index, tmp_path)


@pytest.mark.parametrize("kept", [True, False])
def test_the_wait_for_compiling_is_told(
    kept: bool, index: Index, shard: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path, told = shard(FILLER), []
    scan_dataset([path], index.folder, tmp_path / "report.json")
    assert is_kept(scan_lines)
    if not kept:
        monkeypatch.setattr(compiling, "_cache_folder", lambda: str(tmp_path / "none"))
    scan_dataset(
        [path], index.folder, tmp_path / "report.json", lambda *said: told.append(said[-1])
    )
    assert told[-1] == "scanning"
    assert (COMPILING in told) is not kept
