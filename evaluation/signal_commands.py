"""The subcommand `crucible suite signal`."""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.metrics import DEFAULT_METRIC_VERSION, TaskResult
from evaluation.score import read_results
from evaluation.suite import Suite, load_suite
from evaluation.suite_file import METRIC_VERSIONS, SUITE_NAMES
from submissions.cli import Commands
from submissions.commands import table
from submissions.failures import Failure

if TYPE_CHECKING:
    from evaluation.signal import Results


def register_signal(suite: Commands) -> None:
    """Adds it to the group `crucible suite`."""
    signal = suite.add(
        "signal", "rank tasks by how well they tell datasets apart", run_signal, render_signal
    )
    signal.add_argument(
        "results", type=Path, nargs="*", metavar="RESULTS.json", help="one dataset's results each"
    )
    signal.add_argument(
        "--target",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="results of the same datasets at a larger scale",
    )
    signal.add_argument("--suite", metavar="FILE", help="your own suite's file, for its results")
    signal.add_argument(
        "--metric-version",
        default=DEFAULT_METRIC_VERSION,
        choices=METRIC_VERSIONS,
        help="default: %(default)s",
    )
    signal.add_argument("--dclm", type=Path, metavar="CHECKOUT", help="use DCLM's published runs")
    signal.add_argument("--from", dest="source", metavar="SCALE", help="smaller scale, with --dclm")
    signal.add_argument(
        "--to", dest="target_scale", metavar="SCALE", help="larger scale, with --dclm"
    )


def run_signal(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every task with its signal, noise and orders."""
    from evaluation.signal import headline_name, rank_tasks

    if arguments.dclm is not None:
        suite, sources, targets, more = _of_checkout(arguments)
    else:
        suite, sources, targets = _of_files(arguments)
        more = []
    ranked = rank_tasks(suite, sources, targets, arguments.metric_version, more)
    return {
        "suite": suite.name,
        "suite_hash": suite.hash,
        "metric_version": arguments.metric_version,
        "mean": headline_name(suite),
        "datasets": len(sources),
        "datasets_at_source": len(sources) + len(more),
        "tasks": [asdict(found) for found in ranked],
    }


def _of_files(
    arguments: argparse.Namespace,
) -> tuple[Suite, list[Results], list[Results] | None]:
    if not arguments.results:
        raise Failure("refused", "give results files, or a checkout with --dclm, --from and --to")
    if arguments.source or arguments.target_scale:
        raise Failure("refused", "--from and --to need --dclm")
    if arguments.target is not None and len(arguments.target) != len(arguments.results):
        raise Failure(
            "refused",
            f"{len(arguments.results)} results and {len(arguments.target)} targets: one target for "
            "each result, in the same order",
        )
    names: dict[tuple[str, str | None], Path] = {}
    read: list[Results] = []
    for path in (*arguments.results, *(arguments.target or ())):
        document, results = read_results(path)
        if document.limit is not None:
            raise Failure("not_comparable", f"{path.name} is of a sample of each task's questions")
        names.setdefault((document.suite_name, document.suite_hash), path)
        read.append(results)
    suite = _suite(names, arguments.suite)
    count = len(arguments.results)
    return suite, read[:count], None if arguments.target is None else read[count:]


def _suite(names: dict[tuple[str, str | None], Path], own: str | None) -> Suite:
    """The one suite of all files; DCLM's name no hash and are of the full one."""
    if len({name for name, _ in names}) > 1:
        listed = ", ".join(f"{path.name} ({name})" for (name, _), path in names.items())
        raise Failure("not_comparable", f"these results are of different suites: {listed}")
    (name, _), path = next(iter(names.items()))
    if name not in SUITE_NAMES and own is None:
        raise Failure(
            "results_invalid", f"{path.name} is of the suite {name}: give its file with --suite"
        )
    suite = load_suite(own or name)
    for (found, suite_hash), where in names.items():
        if found != suite.name or suite_hash not in (None, suite.hash):
            raise Failure(
                "not_comparable", f"{where.name} is not of this version of the suite {suite.name}"
            )
    return suite


def _of_checkout(
    arguments: argparse.Namespace,
) -> tuple[Suite, list[Results], list[Results] | None, list[Results]]:
    from evaluation.transfer.runs import check_order

    if arguments.results or arguments.target or arguments.suite:
        raise Failure("refused", "--dclm replaces files and --suite: leave them out")
    if arguments.source is None or arguments.target_scale is None:
        raise Failure("refused", "--dclm needs --from and --to")
    check_order(arguments.source, arguments.target_scale)
    here, there = _datasets(arguments.dclm, arguments.source, arguments.target_scale)
    shared = sorted(set(here) & set(there))
    return (
        load_suite("full"),
        [here[name] for name in shared],
        [there[name] for name in shared],
        [results for name, results in here.items() if name not in shared],
    )


def _datasets(checkout: Path, *scales: str) -> list[dict[str, Results]]:
    """Each dataset's accuracies at the scales, the mean over its unaltered runs."""
    from evaluation.transfer.checkout import runs_of_checkout, tasks_of_checkout
    from evaluation.transfer.runs import recipe_of

    accuracies = tasks_of_checkout(checkout)
    runs = runs_of_checkout(checkout)
    found: list[dict[str, Results]] = []
    for scale in scales:
        wanted = recipe_of(scale, "published")
        groups: dict[str, list[dict[str, float]]] = defaultdict(list)
        for run in runs:
            if run.scale == scale and run.recipe == wanted and not run.altered:
                groups[run.dataset].append(accuracies[run.evaluation])
        found.append({name: _averaged(values) for name, values in groups.items()})
    return found


def _averaged(values: list[dict[str, float]]) -> Results:
    from statistics import fmean  # which takes longer to import than most commands to run

    labels = set(values[0]).intersection(*values[1:])
    return {label: TaskResult(fmean(value[label] for value in values)) for label in labels}


def render_signal(document: dict[str, Any]) -> str:
    """A line a task."""
    lines = [
        f"suite {document['suite']}, {document['datasets_at_source']} datasets, "
        f"{document['datasets']} of them at the target too where there is one"
    ]
    rows = []
    for task in document["tasks"]:
        interval = task["mean_order_90"]
        rows.append(
            [
                task["label"],
                f"{task['mean']:.3f}",
                f"{task['signal']:.4f}",
                _shown(task["noise"], 4),
                _shown(task["ratio"], 1),
                _shown(task["own_order"], 2),
                _shown(task["mean_order"], 2),
                "" if interval is None else f"{interval[0]:.2f}–{interval[1]:.2f}",
            ]
        )
    head = ["task", "accuracy", "signal", "noise", "ratio", "orders itself",
            f"orders {document['mean'].upper()}", "90 %"]  # fmt: skip
    return "\n".join([*lines, table(head, rows)])


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
