"""Reading results files: DCLM's schema, ours, and everything that is neither."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.examples import Example, result_of, write_examples
from evaluation.records import read_records, suite_hash_of, write_records
from evaluation.score import ScoreResult, score_file, stage
from evaluation.suite import load_suite, rows_by_category, task_path
from submissions import cli
from submissions.codec import decode
from submissions.failures import Failure
from submissions.hashing import file_sha256
from submissions.job import Job


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def at_v2_baselines() -> dict[str, float]:
    return {task.label: task.baselines["v2"] / 100 for task in load_suite("full").tasks}


def eval_json(values: dict[str, float]) -> dict[str, Any]:
    """An eval JSON in DCLM's schema, as far as a score reads it."""
    return {"name": "heavy", "eval_metrics": {"icl": values}, "missing tasks": "[]"}


def test_a_model_at_the_v2_baselines_scores_zero_in_v2(tmp_path: Path) -> None:
    score = score_file(write(tmp_path / "eval.json", eval_json(at_v2_baselines())), "v2")
    assert score.core == pytest.approx(0, abs=1e-15)
    assert score.extended == pytest.approx(0, abs=1e-15)
    assert score.mmlu == 0.25
    assert score.missing_tasks == []
    assert set(score.categories) == {
        "commonsense reasoning",
        "language understanding",
        "reading comprehension",
        "safety",
        "symbolic problem solving",
        "world knowledge",
    }
    assert all(value == pytest.approx(0, abs=1e-15) for value in score.categories.values())


def test_the_same_answers_in_v1_by_hand(tmp_path: Path) -> None:
    score = score_file(write(tmp_path / "eval.json", eval_json(at_v2_baselines())), "v1")
    # Three of CORE's tasks had lower baselines in v1: 20 → 40.3, 9.1 → 25, 20 → 25.
    core = ((0.403 - 0.2) / 0.8 + (0.25 - 0.091) / 0.909 + (0.25 - 0.2) / 0.8) / 22
    assert score.core == pytest.approx(core, abs=1e-12)
    rest = (
        (0.5 - 0.333) / 0.667  # siqa
        + 6 * (0.25 - 0.2) / 0.8  # novel_concepts, elementary_math_qa, logical_deduction, lsat_rc,
        # lsat_lr, understanding_fables
        + (0.33 - 0.25) / 0.75  # conceptual_combinations
        + (0.25 - 0.27) / 0.73  # logi_qa
    )
    assert score.extended == pytest.approx((22 * core + rest) / 53, abs=1e-12)


def test_a_missing_task_is_named(tmp_path: Path) -> None:
    values = at_v2_baselines()
    del values["svamp_cot"]
    score = score_file(write(tmp_path / "eval.json", eval_json(values)))
    assert score.metric_version == "v2"
    assert score.core is not None
    assert score.extended is None
    assert score.missing_tasks == ["svamp_cot"]
    assert score.categories["symbolic problem solving"] is None
    assert score.categories["safety"] is not None


def our_results(**changes: Any) -> dict[str, Any]:
    suite = load_suite("smoke")
    tasks = {task.label: {"score": 0.5, "n": 101, "stderr": 0.05} for task in suite.tasks}
    return {"suite": "smoke", "suite_hash": suite.hash, "limit": None, "tasks": tasks} | changes


def test_our_own_results_of_the_smoke_suite(tmp_path: Path) -> None:
    score = score_file(write(tmp_path / "results.json", our_results()))
    assert score.suite == "smoke"
    assert 0 < score.smoke < 0.5
    assert score.smoke_stderr > 0
    assert score.core is None


def test_a_sample_of_the_rows_gets_no_score(tmp_path: Path) -> None:
    score = score_file(write(tmp_path / "results.json", our_results(limit=5)))
    assert score.smoke is None
    assert score.limit == 5
    assert score.centered["smoke_article"] == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "results.json is a list, not an object"),
        (b"{}", "holds no task results"),
        (b'{"eval_metrics": 3}', "eval_metrics is a whole number, not an object"),
        (b'{"eval_metrics": {"icl": 3}}', "eval_metrics.icl is a whole number, not an object"),
        (b'{"eval_metrics": {"icl": {}}}', "holds no task results"),
        (b'{"eval_metrics": {"icl": {"nonsense": 0.5}}}', "no task of the suite"),
        (b'{"eval_metrics": {"icl": {"copa": NaN}}}', "is not JSON: NaN is no number"),
        (b'{"eval_metrics": {"icl": {"copa": 1.01}}}', "results.json: copa must be at most 1"),
        (b'{"eval_metrics": {"icl": {"copa": -0.1}}}', "results.json: copa must be at least 0"),
        (b'{"eval_metrics": {"icl": {"copa": Infinity}}}', "is not JSON: Infinity is no number"),
        (
            b'{"eval_metrics": {"icl": {"copa": "0.5"}}}',
            "copa is a string, not a number or",
        ),
        (
            b'{"eval_metrics": {"icl": {"copa": true}}}',
            "copa is a truth value, not a",
        ),
        (b'{"suite": "tiny", "tasks": {"copa": {"score": 1}}}', "unknown suite 'tiny'"),
        (
            b'{"suite": "full", "tasks": {"copa": {"score": 1, "n": 0}}}',
            "copa: n must be at",
        ),
        (
            b'{"suite": "full", "tasks": {"copa": {"score": 1, "stderr": "x"}}}',
            "copa: stderr is a",
        ),
        (b'{"tasks": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, "is nested too deeply"),
        (b"[" * 100_000, "results.json is a list, not an object"),
        (b'{"suite": "full", "suite_hash": "0", "tasks": {"copa": {"score": 1}}}', "version"),
    ],
)
def test_what_is_no_result_is_refused_in_one_sentence(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(Failure, match=sentence) as raised:
        score_file(path)
    assert raised.value.code == "results_invalid"
    assert "\n" not in raised.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no such file"):
        score_file(tmp_path / "none.json")


def test_the_command_prints_one_document_and_fails_on_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "COMMAND_MODULES", ("evaluation.commands",))
    good = write(tmp_path / "eval.json", eval_json(at_v2_baselines()))
    assert cli.main(["score", str(good), "--metric-version", "v1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["metric_version"] == "v1"
    assert {"core", "extended", "mmlu", "missing_tasks", "categories", "centered"} <= set(document)

    assert cli.main(["score", str(good)]) == 0
    assert "CORE" in capsys.readouterr().out

    bad = write(tmp_path / "bad.json", {})
    assert cli.main(["score", str(bad)]) == 1
    assert "holds no task results" in capsys.readouterr().err


def make_job(folder: Path, inputs: dict[str, tuple[Path, str]]) -> Job:
    folder.mkdir()
    spec = {
        "key": "1-score-a1",
        "stage": "score",
        "inputs": {n: {"uri": path.as_uri(), "sha256": sha} for n, (path, sha) in inputs.items()},
        "parameters": {"metric_version": "v2"},
        "output": folder.as_uri(),
    }
    write(folder / "job.json", spec)
    return Job(folder)


def a_run(folder: Path, wrong_every: int = 3) -> tuple[Path, Path]:
    """results.json and examples.jsonl of a run over the smoke suite's questions."""
    suite = load_suite("smoke")
    examples = []
    for task in suite.tasks:
        for category, rows in rows_by_category(task, task_path(suite, task, None)):
            right = [index % wrong_every > 0 for index in rows]
            examples += [
                Example(task.label, index, category, ok, None, 0, [-1.0], [1])
                for index, ok in zip(rows, right, strict=True)
            ]
    folder.mkdir()
    write_examples(folder / "examples.jsonl", examples)
    tasks = {}
    for task in suite.tasks:
        found = result_of(e for e in examples if e.task == task.label)
        tasks[task.label] = {"score": found.score, "n": found.n, "stderr": found.stderr}
    return write(folder / "results.json", our_results(tasks=tasks)), folder / "examples.jsonl"


def test_records_add_intervals_and_change_no_score(tmp_path: Path) -> None:
    results, examples = a_run(tmp_path / "run")
    plain, full = score_file(results), score_file(results, examples=examples)
    assert plain.smoke == full.smoke
    assert plain.centered == full.centered
    assert full.smoke_stderr == pytest.approx(plain.smoke_stderr)  # no two share a file
    low, high = full.intervals["smoke"]
    assert low < full.smoke < high
    assert (high - low) / 3.92 == pytest.approx(full.smoke_stderr, rel=0.1)
    assert plain.intervals == {}
    task = full.tasks["smoke_article"]
    assert task.interval[0] < task.score < task.interval[1]
    assert 0 < task.chance_p < 0.01
    assert score_file(results, examples=examples) == full


def test_records_of_another_version_of_the_suite_are_refused(tmp_path: Path) -> None:
    results, examples = a_run(tmp_path / "run")
    for name in (load_suite("smoke").hash, "0" * 64):
        write_records(tmp_path / f"{name}.parquet", read_records(examples), name)
    assert score_file(results, examples=tmp_path / f"{load_suite('smoke').hash}.parquet")
    with pytest.raises(Failure, match=r"answers another version of the suite \(000000000000\)"):
        score_file(results, examples=tmp_path / f"{'0' * 64}.parquet")


def test_records_of_another_run_are_refused(tmp_path: Path) -> None:
    results, examples = a_run(tmp_path / "one")
    _, others = a_run(tmp_path / "other", wrong_every=4)
    with pytest.raises(
        Failure, match=r"examples\.jsonl is of another run: smoke_word_order"
    ) as raised:
        score_file(results, examples=others)
    assert raised.value.code == "results_invalid"
    examples.write_text("".join(examples.read_text().splitlines(keepends=True)[:100]))
    with pytest.raises(Failure, match="holds no answers to"):
        score_file(results, examples=examples)


def test_a_sample_of_the_rows_gets_no_interval_either(tmp_path: Path) -> None:
    results, examples = a_run(tmp_path / "run")
    write(results, json.loads(results.read_text()) | {"limit": 5})
    score = score_file(results, examples=examples)
    assert (score.smoke, score.smoke_stderr, score.intervals) == (None, None, {})


def test_the_command_shows_intervals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "COMMAND_MODULES", ("evaluation.commands",))
    results, examples = a_run(tmp_path / "run")
    assert cli.main(["score", str(results), "--examples", str(examples)]) == 0
    assert "95 % interval" in capsys.readouterr().out


def test_the_stage_writes_score_and_records_and_refuses_changed_results(tmp_path: Path) -> None:
    results, examples = a_run(tmp_path / "run")
    inputs = {
        name: (p, file_sha256(p)) for name, p in (("results", results), ("examples", examples))
    }
    done = stage(make_job(tmp_path / "job", inputs))
    path, records = done.outputs["score"].path, done.outputs["records"].path
    assert done.figures == score_file(results, examples=examples)
    assert decode(ScoreResult, path.read_bytes(), code="internal_error", where="it") == done.figures
    assert done.outputs["score"].sha256 == file_sha256(path)
    assert done.outputs["records"].sha256 == file_sha256(records)
    assert read_records(records) == read_records(examples)
    assert suite_hash_of(records) == load_suite("smoke").hash

    for name in inputs:
        changed = inputs | {name: (inputs[name][0], "0" * 64)}
        with pytest.raises(Failure) as raised:
            stage(make_job(tmp_path / f"changed-{name}", changed))
        assert raised.value.code == "artifact_corrupt"
