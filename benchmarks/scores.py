"""CPU seconds of scores with their intervals, and how often the intervals hold the truth.

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.scores [--runs 1000]

On made-up answers to all 53 tasks at their full sizes (about 239 thousand examples), in one
process. Coverage: models whose true chance of being right is known, on questions that are hard for
all alike; each run draws the questions of CORE anew, all of them or 30 a task.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from evaluation.answers import TaskAnswers, read_answers, strata_of
from evaluation.examples import Example, write_examples
from evaluation.proportions import task_differences
from evaluation.records import read_records, write_records
from evaluation.statistics import ADDED, covariance, differences, estimates, figures_of, points
from evaluation.suite import Task, load_suite
from evaluation.ties import places_of

FULL = load_suite("full")
# DCLM's eval_meta_data.csv, of the files that the suite has no count of.
UNCOUNTED = {
    "world_knowledge/mmlu.jsonl": 14042,
    "language_understanding/hellaswag.jsonl": 10042,
    "symbolic_problem_solving/bigbench_elementary_math_qa.jsonl": 38160,
    "reading_comprehension/squad.jsonl": 10570,
    "reading_comprehension/coqa.jsonl": 7983,
    "safety/bbq.jsonl": 58492,
}
CATEGORIES = {"mmlu_zeroshot": 57, "mmlu_fewshot": 57, "jeopardy": 5, "bbq": 11}
OPTIONS = {"multiple_choice": 4, "schema": 2, "language_modeling": 1}


def rows(task: Task) -> int:
    return task.rows or UNCOUNTED[task.file]


def category(task: Task, index: int) -> str | None:
    return f"category {index % CATEGORIES[task.label]}" if task.label in CATEGORIES else None


def chance(task: Task, skill: float) -> float:
    """A model's true chance of a right answer: some tasks come easier than others."""
    own = np.random.default_rng(sum(task.label.encode())).random()
    baseline = task.baselines["v2"] / 100
    return float(baseline + (1 - baseline) * skill * own)


def made_up_examples(skill: float, seed: int) -> list[Example]:
    generator = np.random.default_rng(seed)
    found: list[Example] = []
    for task in FULL.tasks:
        right = generator.random(rows(task)) < chance(task, skill)
        count = OPTIONS.get(task.type, 0)
        sums = -50 * generator.random((rows(task), count))
        text = None if count else "It is 12 and 30 together, so " * 8
        found.extend(
            Example(
                task.label, index, category(task, index), bool(right[index]), None, 0,
                sums[index].tolist() if count else None, [5] * count if count else None,
                text, margin=0.25,
            )
            for index in range(rows(task))
        )  # fmt: skip
    return found


@contextmanager
def timed(what: str) -> Iterator[None]:
    started = time.process_time()
    yield
    print(f"{time.process_time() - started:8.2f} s  {what}")


def speed(folder: Path) -> None:
    lines, columns, other = (folder / name for name in ("a.jsonl", "a.parquet", "b.parquet"))
    examples = made_up_examples(0.6, 1)
    write_examples(lines, examples)
    with timed(f"{len(examples)} records from lines to columns"):
        write_records(columns, read_records(lines), FULL.hash)
    print(f"{lines.stat().st_size / 1e6:8.1f} MB of lines, {columns.stat().st_size / 1e6:.1f} MB")
    write_records(other, made_up_examples(0.58, 2), FULL.hash)
    with timed("read for statistics"):
        one = read_answers(columns)
    two = read_answers(other)
    with timed("CORE, EXTENDED, MMLU with intervals, 1,000 resamples"):
        estimates(FULL, one, "v2", 1_000)
    with timed("the same, 5,000 resamples"):
        estimates(FULL, one, "v2", 5_000)
    with timed("paired differences of the three, 5,000 resamples"):
        differences(FULL, one, two, "v2", 5_000)
    with timed("paired differences of 53 tasks"):
        task_differences(one, two)
    figure = figures_of(FULL, "v2", list(one))[0]
    with timed("places of a board of 40"):
        strata = strata_of(FULL, [one, two] * 20)
        matrix = covariance(strata, figure, added=ADDED)
        assert matrix is not None
        places_of(points(strata, figure).tolist(), matrix)


def drawn(
    skill: float, most: int, hardness: dict[str, np.ndarray], generator: np.random.Generator
) -> dict[str, TaskAnswers]:
    found = {}
    for task in load_suite("core").tasks:
        count = min(rows(task), most)
        own = generator.random(count) < 0.4
        level = np.where(own, generator.random(count), hardness[task.file][:count])
        split = CATEGORIES.get(task.label, 1)
        numbers = np.sort(np.arange(count) % split)
        names = tuple(str(number) for number in range(split))
        right = level < chance(task, skill)
        found[task.label] = TaskAnswers(np.arange(count), numbers, names, right)
    return found


def coverage(skill: float, most: int, runs: int) -> None:
    core = load_suite("core").tasks
    generator = np.random.default_rng(0)
    held = paired = rejected = 0
    (figure,) = figures_of(FULL, "v2", [task.label for task in core])
    truth = sum(figure.weights[task.label] * chance(task, skill) for task in core) - figure.offset
    for _ in range(runs):
        hardness = {task.file: generator.random(min(rows(task), most)) for task in core}
        one, other = (drawn(skill, most, hardness, generator) for _ in range(2))
        low, high = estimates(FULL, one, "v2", 1_000)["core"].interval or (0.0, 0.0)
        held += low <= truth <= high
        difference = differences(FULL, one, other, "v2", 1_000)["core"]
        low, high = difference.interval or (0.0, 0.0)
        paired += low <= 0 <= high
        rejected += (difference.p or 0.0) < 0.05
    size = "30 questions a task" if most == 30 else "all questions"
    print(
        f"CORE {100 * truth:5.1f}, {size}: interval {held / runs:.3f}, "
        f"difference {paired / runs:.3f}, p < 0.05 {rejected / runs:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Scores: speed and coverage.")
    parser.add_argument("--runs", type=int, default=1_000, help="simulated pairs of models")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        speed(Path(folder))
    print("should be 0.95, 0.95, 0.05")
    for skill in (0.7, 0.04):
        for most in (100_000, 30):
            coverage(skill, most, arguments.runs)


if __name__ == "__main__":
    main()
