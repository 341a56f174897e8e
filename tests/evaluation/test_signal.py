"""Which tasks tell datasets apart: by hand, on made-up datasets, and by the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.metrics import TaskResult
from evaluation.signal import order_share, rank_tasks
from evaluation.suite import load_suite
from submissions import cli
from submissions.failures import Failure


def test_ties_count_a_half() -> None:
    assert order_share([1, 2, 3], [4, 5, 6]) == 1
    assert order_share([1, 2, 3], [6, 5, 4]) == 0
    assert order_share([1, 1, 3], [4, 5, 6]) == pytest.approx(2.5 / 3)
    assert order_share([1, 2, 3], [5, 5, 6]) == pytest.approx(2.5 / 3)


def made_up(seed: int) -> tuple[list[dict[str, TaskResult]], list[dict[str, TaskResult]]]:
    """Twelve datasets at two scales: one smoke task follows their quality, the rest is noise."""
    generator = np.random.default_rng(seed)
    labels = [task.label for task in load_suite("smoke").tasks]
    quality = np.linspace(0.3, 0.6, 12)
    sources, targets = [], []
    for value in quality:
        here = {label: TaskResult(float(generator.uniform(0.45, 0.55)), 100) for label in labels}
        there = dict(here)
        here[labels[0]] = TaskResult(float(value), 400)
        there[labels[0]] = TaskResult(float(value) + 0.1, 400)
        sources.append(here)
        targets.append({label: TaskResult((there[label].score + value) / 2) if label != labels[0]
                        else there[label] for label in labels})  # fmt: skip
    return sources, targets


def test_the_task_that_follows_quality_comes_first() -> None:
    suite = load_suite("smoke")
    sources, targets = made_up(1)
    best = suite.tasks[0]
    by_order = rank_tasks(suite, sources, targets, "v2")
    assert by_order[0].label == best.label
    assert by_order[0].own_order == 1
    assert by_order[0].own_order_90 == (1, 1)
    assert by_order[0].mean_order is not None
    assert by_order[0].mean_order > 0.95
    by_ratio = rank_tasks(suite, sources, None, "v2")
    assert by_ratio[0].label == best.label
    assert by_ratio[0].own_order is None
    assert by_ratio[0].mean_order_90 is None
    scores = [results[best.label].score for results in sources]
    errors = [p * (1 - p) / 399 for p in scores]
    assert by_ratio[0].signal == pytest.approx(np.std(scores, ddof=1))
    assert by_ratio[0].noise == pytest.approx(np.sqrt(np.mean(errors)))
    assert by_ratio[0].ratio == pytest.approx(by_ratio[0].signal / np.sqrt(np.mean(errors)))
    middle = [found for found in by_order[1:] if found.own_order is not None]
    assert 0.2 < np.mean([found.mean_order for found in middle]) < 0.8


def test_standard_errors_of_results_count_before_numbers_of_questions() -> None:
    suite = load_suite("smoke")
    label = suite.tasks[0].label
    known = [{label: TaskResult(0.4 + n / 10, 100, 0.02)} for n in range(3)]
    (found,) = rank_tasks(suite, known, None, "v2")
    assert found.noise == pytest.approx(0.02)
    more = rank_tasks(suite, known, None, "v2", [{label: TaskResult(0.9, 100, 0.04)}, {}])
    assert more[0].noise == pytest.approx(np.sqrt((3 * 0.02**2 + 0.04**2) / 4))


def test_too_few_datasets_and_nothing_in_common() -> None:
    suite = load_suite("smoke")
    sources, _ = made_up(2)
    with pytest.raises(Failure, match="2 results, 3 needed"):
        rank_tasks(suite, sources[:2], None, "v2")
    with pytest.raises(Failure, match="no task"):
        rank_tasks(suite, [*sources, {}], None, "v2")


def file_of(path: Path, results: dict[str, TaskResult], **more: Any) -> Path:
    tasks = {label: {"score": r.score, "n": r.n} for label, r in results.items()}
    suite = load_suite("smoke")
    path.write_text(json.dumps({"suite": "smoke", "suite_hash": suite.hash, "tasks": tasks} | more))
    return path


def test_the_command(tmp_path: Path, capfd: Any) -> None:
    sources, targets = made_up(3)
    here = [file_of(tmp_path / f"s{n}.json", r) for n, r in enumerate(sources)]
    there = [file_of(tmp_path / f"t{n}.json", r) for n, r in enumerate(targets)]

    def call(*arguments: object) -> tuple[int, Any]:
        capfd.readouterr()
        code = cli.main(["suite", "signal", *map(str, arguments), "--json"])
        return code, json.loads(capfd.readouterr().out)

    code, found = call(*here, "--target", *there)
    assert code == 0
    assert (found["mean"], found["datasets"]) == ("smoke", 12)
    assert found["tasks"][0]["own_order"] == 1
    assert call(*here)[1]["tasks"][0]["mean_order"] is None
    assert cli.main(["suite", "signal", *map(str, here)]) == 0
    assert "orders SMOKE" in capfd.readouterr().out
    for arguments, code_word in (
        ((*here, "--target", *there[1:]), "refused"),
        (("--target", *there), "refused"),
        ((*here, "--from", "1b-1x"), "refused"),
        (("--dclm", tmp_path), "refused"),
        (("--dclm", tmp_path, "--from", "1b-1x", "--to", "7b-1x"), "checkout_invalid"),
        (("--dclm", tmp_path, "--from", "7b-1x", "--to", "1b-1x"), "refused"),
        (here[:2], "too_few_pairs"),
        ((*here, file_of(tmp_path / "limited.json", sources[0], limit=3)), "not_comparable"),
        ((*here, file_of(tmp_path / "other.json", sources[0], suite="core")), "not_comparable"),
        ((*here, file_of(tmp_path / "old.json", sources[0], suite_hash="0")), "not_comparable"),
        ([file_of(tmp_path / "own.json", sources[0], suite="own")] * 3, "results_invalid"),
    ):
        code, document = call(*arguments)
        assert (code, document["error"]["code"]) == (1, code_word)
