"""Likelihoods: every measure against a slow reference, intervals by simulation, hostile records."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.examples import Example, write_examples
from evaluation.likelihood import likelihood_document, likelihoods_of, measures, soft_mean
from evaluation.option_bytes import option_bytes
from evaluation.options import TaskOptions, read_options
from evaluation.records import write_records
from evaluation.score import score_file
from evaluation.suite import Suite, load_suite
from submissions.failures import Failure

ROWS = {
    "choice": {
        "type": "multiple_choice",
        "rows": [
            {"query": "q", "choices": ["eight by", "sixteen bytes äß"], "gold": 0},
            {"query": "q", "choices": ["one", "zwölf", "3"], "gold": 2},
            {"query": "q", "choices": ["same", "same"], "gold": 1},
        ],
    },
    "letters": {
        "type": "multiple_choice",
        "rows": [{"query": "q", "choices": ["A", "B"], "gold": 1} for _ in range(2)],
    },
    "schema": {
        "type": "schema",
        "rows": [
            {"context_options": ["it", "they"], "continuation": "went on", "gold": 1}
            for _ in range(2)
        ],
    },
    "words": {
        "type": "language_modeling",
        "rows": [{"context": "c", "continuation": text} for text in ("go on", "x", "ééé")],
        "has_categories": True,
    },
}


@pytest.fixture
def suite(made_suite: Callable[..., Suite]) -> Suite:
    return made_suite(64, **ROWS)


def examples_of(rows: dict[str, Any], seed: int = 3) -> list[Example]:
    """Made-up answers to all rows of such a suite."""
    generator = np.random.default_rng(seed)
    found = []
    for label, task in rows.items():
        for index, row in enumerate(task["rows"]):
            options = row.get("choices") or row.get("context_options") or [""]
            tokens = generator.integers(1, 9, len(options)).tolist()
            sums = (-generator.gamma(2.0, 3.0, len(options))).tolist()
            category = f"c{index % 2}" if task.get("has_categories") else None
            gold = row.get("gold", 0)
            found.append(Example(label, index, category, True, None, gold, sums, tokens))
    return found


def slow(example: Example, lengths: list[int]) -> dict[str, float]:
    """Every measure of one question, as the definitions say it."""
    assert example.option_logprobs is not None
    assert example.option_tokens is not None
    assert example.gold is not None
    sums, tokens, g = example.option_logprobs, example.option_tokens, example.gold
    means = [s / t for s, t in zip(sums, tokens, strict=True)]

    def softmax(values: list[float]) -> float:
        return math.exp(values[g]) / math.fsum(math.exp(value) for value in values)

    others = [value for k, value in enumerate(means) if k != g]
    return {
        "p_raw": softmax(sums),
        "p_token": softmax(means),
        "p_byte": softmax([s / b for s, b in zip(sums, lengths, strict=True)]),
        "margin": means[g] - max(others, default=math.nan),
        "q": math.exp(means[g]),
        "bits_per_byte": -sums[g] / (lengths[g] * math.log(2)),
    }


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_every_measure_of_every_question(tmp_path: Path, suite: Suite, kind: str) -> None:
    examples = examples_of(ROWS)
    path = tmp_path / f"records.{kind}"
    shuffled = [examples[i] for i in np.random.default_rng(1).permutation(len(examples))]
    if kind == "jsonl":
        write_examples(path, shuffled)
    else:
        write_records(path, shuffled, suite.hash)
    options = read_options(path)
    for task in suite.tasks:
        lengths = option_bytes(suite, task, None)
        found = measures(task, options[task.label], lengths)
        by_index = {e.index: e for e in examples if e.task == task.label}
        for place, index in enumerate(found.options.index.tolist()):
            expected = slow(by_index[index], lengths[index])
            for name, value in expected.items():
                column = getattr(found, name)
                if column is not None:
                    assert column[place] == pytest.approx(value, rel=1e-5), (task.label, name)
        choice = task.type != "language_modeling"
        assert (found.p_token is not None, found.q is None) == (choice, choice)


def test_the_worked_example() -> None:
    suite_task = replace(load_suite("smoke").tasks[0], type="multiple_choice")
    path_options = one_question([-4.0, -6.0], [2, 4], 0)
    found = measures(suite_task, path_options, [[8, 16]])
    for name, value in (("p_raw", 0.8808), ("p_token", 0.3775), ("p_byte", 0.4688),
                        ("bits_per_byte", 0.7213), ("margin", -0.5)):  # fmt: skip
        assert getattr(found, name)[0] == pytest.approx(value, abs=5e-5)


def one_question(sums: list[float], tokens: list[int], gold: int) -> TaskOptions:
    return TaskOptions(
        np.array([0]), np.array([0]), ("",), np.array([gold]), np.array([0, len(sums)]),
        np.array(sums), np.array(tokens),
    )  # fmt: skip


def test_extreme_sums_do_not_overflow() -> None:
    task = replace(load_suite("smoke").tasks[0], type="multiple_choice")
    found = measures(task, one_question([-1e6, -1e5], [1, 1], 1), None)
    assert found.p_raw is not None
    assert found.p_raw[0] == 1
    assert found.p_byte is None
    assert found.bits_per_byte is None


def test_lengths_are_bytes_of_the_text_alone(suite: Suite) -> None:
    by_label = {task.label: option_bytes(suite, task, None) for task in suite.tasks}
    assert by_label["choice"][0] == [8, 18]
    assert by_label["choice"][1] == [3, 6, 1]
    assert by_label["schema"] == [[7, 7], [7, 7]]
    assert by_label["words"] == [[5], [1], [6]]


def test_means_over_tasks_and_what_is_left_out(tmp_path: Path, suite: Suite) -> None:
    examples = examples_of(ROWS)
    path = tmp_path / "records.jsonl"
    write_examples(path, examples)
    found = likelihoods_of(suite, path)
    soft = {}
    for task in suite.tasks:
        lengths = option_bytes(suite, task, None)
        mine = [e for e in examples if e.task == task.label]
        values = [slow(e, lengths[e.index]) for e in mine]
        if task.type == "language_modeling":  # the mean over its categories c0 (two rows) and c1
            soft[task.label] = ((values[0]["q"] + values[2]["q"]) / 2 + values[1]["q"]) / 2
            continue
        p = sum(v["p_token"] for v in values) / len(values)
        u = sum(1 / len(lengths[e.index]) for e in mine) / len(mine)
        soft[task.label] = (p - u) / (1 - u)
    for label, value in soft.items():
        assert found.tasks[label].soft == pytest.approx(value)
    mean = found.soft["mean"]
    assert mean is not None
    assert mean.value == pytest.approx(sum(soft.values()) / 4)
    assert mean.stderr is None  # a category of a single question
    assert [label for label, task in found.tasks.items() if task.letters] == ["letters"]
    bits = found.bits_per_byte["mean"]
    assert bits is not None
    kept = [found.tasks[label].bits_per_byte for label in ("choice", "schema", "words")]
    assert bits.value == pytest.approx(sum(value for value in kept if value is not None) / 3)
    # A task that was not answered leaves no partial mean.
    write_examples(path, [e for e in examples if e.task != "schema"])
    partial = likelihoods_of(suite, path)
    assert partial.soft == {"mean": None}
    assert partial.bits_per_byte == {"mean": None}
    assert partial.missing_tasks == ("schema",)
    assert likelihoods_of(suite, path, whole=False).soft == {"mean": None}


def test_a_model_that_knows_nothing_scores_zero(tmp_path: Path, suite: Suite) -> None:
    path = tmp_path / "records.jsonl"
    even = [
        replace(e, option_logprobs=[-2.0 * t for t in e.option_tokens or []])
        for e in examples_of(ROWS)
    ]
    write_examples(path, even)
    found = likelihoods_of(suite, path)
    assert [found.tasks[label].soft for label in ("choice", "letters", "schema")] == [
        pytest.approx(0, abs=1e-12)
    ] * 3
    assert found.tasks["choice"].margin == pytest.approx(0)


def made_up(generator: np.random.Generator, questions: int) -> TaskOptions:
    """Two- and three-way questions, some easier than others."""
    counts = generator.integers(2, 4, questions)
    start = np.concatenate([[0], np.cumsum(counts)])
    ease = np.repeat(generator.normal(0.5, 1.0, questions), counts)
    sums = -np.exp(ease + 0.3 * generator.standard_normal(start[-1]))
    sums[start[:-1]] = -1.0  # the right one is the first
    none = np.zeros(questions, dtype=np.int64)
    tokens = np.ones(start[-1], dtype=np.int64)
    return TaskOptions(np.arange(questions), none, ("",), none, start, sums, tokens)


def test_intervals_hold_over_questions() -> None:
    generator = np.random.default_rng(9)
    task = replace(load_suite("smoke").tasks[0], type="multiple_choice")
    again = replace(task, label="again")

    def mean_of(questions: int, tasks: list[Any]) -> Any:
        found = measures(task, made_up(generator, questions), None)
        return soft_mean(tasks, {t.label: found for t in tasks})

    true = mean_of(200_000, [task]).value
    held, rounds = 0, 1_000
    for _ in range(rounds):
        low, high = mean_of(60, [task]).interval
        held += low <= true <= high
    assert held / rounds == pytest.approx(0.95, abs=0.021)
    # Two tasks that asked the same questions are as unsure as one: nothing averages out.
    state = generator.bit_generator.state
    one = mean_of(60, [task])
    generator.bit_generator.state = state
    both = mean_of(60, [task, again])
    assert both.stderr == pytest.approx(one.stderr)
    generator.bit_generator.state = state
    apart = mean_of(60, [task, replace(again, file="another.jsonl")])
    assert apart.stderr == pytest.approx(one.stderr / math.sqrt(2))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"option_logprobs": [math.nan, -1.0]}, "not hold the records"),
        ({"option_logprobs": [-math.inf, -1.0]}, "not hold the records"),
        ({"option_logprobs": [0.5, -1.0]}, "above zero"),
        ({"option_tokens": [0, 1]}, "without tokens"),
        ({"option_tokens": [1]}, "without their numbers"),
        ({"option_tokens": [1, "x"]}, "not hold the records"),
        ({"gold": 2}, "not there"),
        ({"gold": None}, "not there"),
        ({"index": 1}, "twice"),
        ({"option_logprobs": [-1.0] * 3, "option_tokens": [1] * 3}, "other options"),
    ],
)
def test_what_no_model_can_have_answered(
    tmp_path: Path, suite: Suite, change: dict[str, Any], what: str
) -> None:
    examples = examples_of(ROWS)
    path = tmp_path / "records.jsonl"
    lines = [json.dumps(e.as_dict()) for e in examples]
    lines[0] = json.dumps(examples[0].as_dict() | change)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(Failure, match=what) as caught:
        likelihoods_of(suite, path)
    assert caught.value.code == "results_invalid"


def test_hostile_parquet(tmp_path: Path, suite: Suite) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "records.parquet"
    examples = examples_of(ROWS)
    write_records(path, examples, suite.hash)
    table = pq.read_table(path)
    for column, values, what in (
        (
            "option_logprobs",
            [[None, -1.0]] + [e.option_logprobs for e in examples[1:]],
            "no number",
        ),
        ("option_tokens", [[1]] + [e.option_tokens for e in examples[1:]], "without their numbers"),
        ("option_logprobs", ["x"] * len(examples), "other columns"),
    ):
        place = table.schema.get_field_index(column)
        kind = None if isinstance(values[0], str) else table.schema.field(column).type
        pq.write_table(table.set_column(place, column, pa.array(values, kind)), path)
        with pytest.raises(Failure, match=what):
            likelihoods_of(suite, path)
    pq.write_table(table.drop_columns(["option_tokens"]), path)
    with pytest.raises(Failure) as caught:
        likelihoods_of(suite, path)
    assert caught.value.code == "results_invalid"


def test_written_answers_have_no_likelihood(tmp_path: Path, made_suite: Any) -> None:
    writing = {"type": "generation_task_with_answers", "rows": [{"context": "c", "answer": "a"}]}
    suite = made_suite(64, choice=ROWS["choice"], written=writing)
    examples = examples_of({"choice": ROWS["choice"]})
    examples.append(Example("written", 0, None, True, None, None, generated="a"))
    for path in (tmp_path / "a.jsonl", tmp_path / "a.parquet"):
        if path.suffix == ".jsonl":
            write_examples(path, examples)
        else:
            write_records(path, examples, suite.hash)
        found = likelihoods_of(suite, path)
        assert found.missing_tasks == ("written",)
        assert found.soft["mean"] is None
        assert found.tasks["choice"].p_token is not None


def test_the_score_document_carries_them_under_their_own_key(tmp_path: Path) -> None:
    suite = load_suite("smoke")
    rows: dict[str, Any] = {}
    for task in suite.tasks:
        lengths = option_bytes(suite, task, None) if "gen" not in task.type else None
        if lengths is not None:
            rows[task.label] = lengths
    examples = [
        Example(
            task.label, index, None, index % 2 == 0, None, 0,
            [-1.0 * (k + 1) for k in range(len(sizes))], [1] * len(sizes),
        )
        for task in suite.tasks
        for index, sizes in enumerate(rows.get(task.label, []))
    ]  # fmt: skip
    written = [task for task in suite.tasks if task.label not in rows]
    examples += [
        Example(task.label, index, None, False, None, None, generated="x")
        for task in written
        for index in range(task.rows or 0)
    ]
    path = tmp_path / "examples.jsonl"
    write_examples(path, examples)
    shares: dict[str, list[bool]] = {}
    for example in examples:
        shares.setdefault(example.task, []).append(example.correct)
    tasks = {label: {"score": sum(v) / len(v), "n": len(v)} for label, v in shares.items()}
    results = tmp_path / "results.json"
    results.write_text(
        json.dumps({"suite": "smoke", "suite_hash": suite.hash, "tasks": tasks, "limit": None})
    )
    plain, full = score_file(results), score_file(results, examples=path)
    assert plain.likelihoods is None
    found = full.likelihoods
    assert found is not None
    assert set(found) == {"problem", "soft_smoke", "bits_per_byte_smoke", "missing_tasks", "tasks"}
    assert found["missing_tasks"] == [task.label for task in written]
    assert full.smoke == plain.smoke
    assert json.dumps(found, allow_nan=False)


def test_a_score_stands_without_usable_log_probabilities(tmp_path: Path, suite: Suite) -> None:
    path = tmp_path / "examples.jsonl"
    write_examples(path, [replace(e, gold=7) for e in examples_of(ROWS)])
    found = likelihood_document(suite, path)
    assert "right option that is not there" in found["problem"]
    assert found["soft_mean"] is None
    assert found["tasks"] == {}
    write_examples(path, examples_of(ROWS))
    assert likelihood_document(suite, path)["problem"] is None
    with pytest.raises(Failure) as caught:  # a wrong folder is a mistake of the command
        likelihood_document(replace(suite, bundled=None), path, tmp_path / "nowhere")
    assert caught.value.code == "task_file_missing"
