"""The facts of the 53 tasks, and the checks on task files."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.suite import (
    Suite,
    blob_sha1,
    hash_of,
    load_suite,
    rows_by_category,
    suite_of,
    verify_rows,
)
from evaluation.task_file import check_task_file
from submissions import cli
from submissions.failures import Failure
from training_recipes.scales import scale_names

# What metric version v2 changed (DCLM pull request 115): label -> (v1, v2), percent.
CHANGED = {
    "siqa": (33.3, 50),
    "commonsense_qa": (20, 40.3),
    "bigbench_novel_concepts": (20, 25),
    "bigbench_language_identification": (9.1, 25),
    "bigbench_conceptual_combinations": (25, 33),
    "bigbench_elementary_math_qa": (20, 25),
    "agi_eval_lsat_ar": (20, 25),
    "bigbench_logical_deduction": (20, 25),
    "logi_qa": (27, 25),
    "agi_eval_lsat_rc": (20, 25),
    "agi_eval_lsat_lr": (20, 25),
    "bigbench_understanding_fables": (20, 25),
}
# Any change to a prompt, a file or a setting of a task must be meant: scores carry these hashes.
HASHES = {
    "full": "229434a0cac42bbec9b9d323f8cbf4d0ea47f7e98e930a6ee2c76edc6227db7d",
    "core": "f1fb307b01ada918c09ba77a1829772df2394c398014db0b7496899e7f93ca63",
}


def test_the_53_tasks() -> None:
    full = load_suite("full")
    assert len(full.tasks) == len({task.label for task in full.tasks}) == 53
    assert Counter(task.type for task in full.tasks) == {
        "multiple_choice": 33,
        "language_modeling": 13,
        "generation_task_with_answers": 5,
        "schema": 2,
    }
    assert len({task.category for task in full.tasks}) == 6
    assert [task.label for task in full.tasks if task.has_categories] == [
        "mmlu_zeroshot",
        "jeopardy",
        "mmlu_fewshot",
        "bbq",
    ]
    assert [task.label for task in full.tasks if task.made_from == "gpqa"] == [
        "gpqa_main",
        "gpqa_diamond",
    ]
    assert all(re.fullmatch("[0-9a-f]{40}", task.sha1) for task in full.tasks)
    assert (full.max_seq_len, full.batch_size) == (2048, 2)


def test_core_is_22_of_them_in_the_same_order() -> None:
    full, core = load_suite("full"), load_suite("core")
    assert len(core.tasks) == 22
    assert list(core.tasks) == [task for task in full.tasks if task.core]


def test_the_baselines_of_both_metric_versions() -> None:
    changed = {
        task.label: (task.baselines["v1"], task.baselines["v2"])
        for task in load_suite("full").tasks
        if task.baselines["v1"] != task.baselines["v2"]
    }
    assert changed == CHANGED
    (boolq,) = load_suite("full").choose(["boolq"])
    assert boolq.baselines["v2"] == 62
    (math_qa,) = load_suite("full").choose(["math_qa"])
    assert math_qa.baselines["v2"] == 20  # a fault of v2, kept: every question has four choices


@pytest.mark.parametrize("name", ["full", "core"])
def test_the_hash_is_pinned(name: str) -> None:
    assert load_suite(name).hash == HASHES[name]


def test_the_facts_outside_the_hash_are_pinned_too() -> None:
    """Categories, CORE, counted rows and baselines, as compared with DCLM's files by hand."""
    facts = [
        {"label": task.label, "category": task.category, "core": task.core, "rows": task.rows,
         "baselines": task.baselines}
        for task in load_suite("full").tasks
    ]  # fmt: skip
    assert hash_of(facts) == "6c0c0b000689f5b804f78fb42115327b9ca9b38adef8a7386882db408f0241c9"


def test_the_hash_follows_prompts_and_files_but_not_baselines() -> None:
    full = load_suite("full")

    def with_first(**changes: object) -> str:
        first = replace(full.tasks[0], **changes)  # type: ignore[arg-type]
        return replace(full, tasks=(first, *full.tasks[1:])).hash

    assert with_first(shots=1) != full.hash
    assert with_first(sha1="0" * 40) != full.hash
    assert with_first(settings={"continuation_delimiter": " "}) != full.hash
    assert with_first(baselines={"v1": 0.0, "v2": 0.0}) == full.hash


def test_unknown_names_are_refused() -> None:
    with pytest.raises(Failure) as raised:
        load_suite("huge")
    assert raised.value.code == "unknown_suite"
    with pytest.raises(Failure, match="no task 'coppa'") as raised:
        load_suite("core").choose(["copa", "coppa"])
    assert raised.value.code == "unknown_task"


def test_blob_sha1_is_gits(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hello\n")
    assert blob_sha1(path) == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object


def one_task_suite(content: bytes) -> Suite:
    sha1 = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    copa = replace(load_suite("full").choose(["copa"])[0], sha1=sha1)
    return replace(load_suite("full"), tasks=(copa,))


def test_a_task_file_is_missing_altered_or_right(tmp_path: Path) -> None:
    suite = one_task_suite(b'{"query": "a"}\n')
    (copa,) = suite.tasks
    assert verify_rows(suite, None)[0]["present"] is None
    (row,) = verify_rows(suite, tmp_path)
    assert (row["present"], row["ok"], row["rows"]) == (False, False, 100)
    with pytest.raises(Failure) as raised:
        check_task_file(suite, copa, tmp_path)
    assert raised.value.code == "task_file_missing"

    path = tmp_path / copa.file
    path.parent.mkdir()
    path.write_bytes(b'{"query": "b"}\n\n')
    (row,) = verify_rows(suite, tmp_path)
    assert (row["present"], row["ok"], row["rows"]) == (True, False, 1)
    with pytest.raises(Failure) as raised:
        check_task_file(suite, copa, tmp_path)
    assert raised.value.code == "task_file_invalid"

    path.write_bytes(b'{"query": "a"}\n')
    assert verify_rows(suite, tmp_path)[0]["ok"]
    assert check_task_file(suite, copa, tmp_path) == path


def test_gpqa_says_why_it_is_missing(tmp_path: Path) -> None:
    full = load_suite("full")
    with pytest.raises(Failure, match="GPQA's archive"):
        check_task_file(full, full.choose(["gpqa_main"])[0], tmp_path)


def test_rows_by_category(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"category": name}) + "\n" for name in "babc"))
    copa, bbq = load_suite("full").choose(["copa", "bbq"])
    assert rows_by_category(bbq, path) == [("a", [1]), ("b", [0, 2]), ("c", [3])]
    assert rows_by_category(copa, path) == [(None, [0, 1, 2, 3])]


def test_the_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "COMMAND_MODULES", ("evaluation.commands",))
    assert cli.main(["suite", "list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["tasks"]) == 53
    keys = {"label", "category", "type", "shots", "file", "sha1", "rows", "present", "ok"}
    assert keys <= set(document["tasks"][0])

    assert cli.main(["suite", "verify", "--suite", "smoke", "--data", str(tmp_path)]) == 0
    capsys.readouterr()
    assert cli.main(["suite", "verify", "--data", str(tmp_path)]) == 1
    assert "missing" in capsys.readouterr().out
    assert cli.main(["suite", "list", "--suite", "huge"]) == 2


def test_the_bundled_suite_judges_scales_of_the_bundled_tokenizer() -> None:
    judged = {scale: suite_of(scale, "core") for scale in scale_names()}
    assert {scale for scale, suite in judged.items() if suite == "smoke"} == {"cpu-300k", "smoke"}
    assert set(judged.values()) == {"smoke", "core"}
