"""The subcommands `crucible suite`, `crucible evaluate` and `crucible score`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from evaluation.audit import summary
from evaluation.engines import DEFAULT_ENGINE, ENGINES, PRECISIONS, REFERENCE
from evaluation.evaluate import evaluate_model
from evaluation.fetch import fetch_suite
from evaluation.metrics import DEFAULT_METRIC_VERSION
from evaluation.processes import Processes
from evaluation.score import ScoreResult, score_file
from evaluation.signal_commands import register_signal
from evaluation.suite import load_suite, verify_rows
from evaluation.suite_file import METRIC_VERSIONS, SUITE_NAMES
from submissions.argument_types import output_folder, positive
from submissions.cli import Commands
from submissions.failures import Failure
from submissions.progress import no_progress, progress_for_terminal


def register(commands: Commands) -> None:
    """Adds this package's subcommands."""
    suite = commands.group("suite", "the tasks a model is asked")
    listing = suite.add("list", "list the tasks of a suite", _list, _render_suite)
    _suite_argument(listing)
    listing.add_argument("--data", type=Path, help="folder of task files: show which are there")
    verify = suite.add("verify", "check task files against the suite", _verify, _render_suite)
    _suite_argument(verify)
    verify.add_argument("--data", type=Path, required=True, help="folder of task files")
    fetch = suite.add("fetch", "copy or download task files into a folder", _fetch, _render_fetch)
    fetch.add_argument("--suite", default="full", help="core, full, or your own suite's file")
    fetch.add_argument("--data", type=Path, required=True, help="folder to fill")
    fetch.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="FOLDER|URL",
        help="folder or address of the files, for instance LLM Foundry's local_data",
    )
    fetch.add_argument("--gpqa", metavar="FILE|URL", help="GPQA's archive, dataset.zip")

    register_signal(suite)

    evaluate = commands.add(
        "evaluate", "ask a model the questions of a suite", _evaluate, _render_results
    )
    evaluate.add_argument(
        "--model", type=Path, required=True, help="model directory, or Hugging Face directory"
    )
    evaluate.add_argument(
        "--suite", required=True, help=f"{', '.join(SUITE_NAMES)}, or your own suite's file"
    )
    evaluate.add_argument("--tasks", metavar="LABEL,…", help="only these tasks")
    evaluate.add_argument("--limit", type=positive, help="only the first N rows of a task")
    evaluate.add_argument("--data", type=Path, help="folder of task files (smoke: bundled)")
    evaluate.add_argument(
        "--engine", default=DEFAULT_ENGINE, choices=ENGINES, help="default: %(default)s"
    )
    evaluate.add_argument(
        "--precision", choices=PRECISIONS, help="of the native engine (default: fp32)"
    )
    evaluate.add_argument("--verify-with", choices=(REFERENCE,), help="audit a sample with it")
    evaluate.add_argument(
        "--sample", type=positive, default=100, metavar="N", help="size of that sample"
    )
    evaluate.add_argument(
        "--reference-answers", action="store_true", help="score the right answers of written tasks"
    )
    evaluate.add_argument(
        "--output", type=output_folder, required=True, help="folder for the results"
    )

    score = commands.add("score", "compute CORE, EXTENDED and MMLU", _score, _render_score)
    score.add_argument("results", type=Path, help="results.json, or an eval JSON of DCLM")
    score.add_argument(
        "--metric-version",
        default=DEFAULT_METRIC_VERSION,
        choices=METRIC_VERSIONS,
        help="default: %(default)s",
    )
    score.add_argument(
        "--examples", type=Path, metavar="FILE", help="records of the run: adds intervals"
    )
    score.add_argument("--data", type=Path, help="folder of task files: adds bits per byte")
    score.add_argument("--suite", metavar="FILE", help="your own suite's file, for its results")
    score.add_argument("--dclm", type=Path, metavar="FILE", help="write DCLM's eval JSON too")


def _suite_argument(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(SUITE_NAMES)
    parser.add_argument("--suite", default="full", help=f"{names}, or your own suite's file")


def _list(arguments: argparse.Namespace) -> dict[str, Any]:
    suite = load_suite(arguments.suite)
    rows = verify_rows(suite, arguments.data)
    return {"suite": suite.name, "suite_hash": suite.hash, "tasks": rows}


def _verify(arguments: argparse.Namespace) -> dict[str, Any]:
    document = _list(arguments)
    return document | {"ok": all(row["ok"] for row in document["tasks"])}


def _fetch(arguments: argparse.Namespace) -> dict[str, Any]:
    suite = load_suite(arguments.suite)
    if suite.bundled is not None:
        raise Failure("refused", f"the files of the suite {suite.name} come with Crucible")
    files = fetch_suite(
        suite, arguments.data, arguments.source, arguments.gpqa, progress_for_terminal()
    )
    good = {"present", "fetched"}
    return {"files": files, "ok": all(row["state"] in good for row in files)}


def _evaluate(arguments: argparse.Namespace) -> dict[str, Any]:
    labels = arguments.tasks.split(",") if arguments.tasks else None
    document = evaluate_model(
        arguments.model,
        arguments.suite,
        arguments.output,
        data=arguments.data,
        labels=labels,
        limit=arguments.limit,
        engine_name=arguments.engine,
        precision=arguments.precision,
        audit=arguments.sample if arguments.verify_with else None,
        reference_answers=arguments.reference_answers,
        progress=progress_for_terminal() if Processes().first else no_progress,
    )
    if not Processes().first:
        raise SystemExit(0)  # the first of torchrun's processes prints the document
    return document | {"ok": document["audit"]["ok"]} if "audit" in document else document


def _score(arguments: argparse.Namespace) -> ScoreResult:
    document = score_file(
        arguments.results,
        arguments.metric_version,
        examples=arguments.examples,
        suite_name=arguments.suite,
        data=arguments.data,
    )
    if arguments.dclm is not None:
        from evaluation.dclm_json import write_dclm_json

        write_dclm_json(arguments.results, arguments.dclm)
    return document


def _render_suite(document: dict[str, Any]) -> str:
    rows = document["tasks"]
    width = max(len(row["label"]) for row in rows)
    lines = [f"suite {document['suite']}, {len(rows)} tasks, hash {document['suite_hash'][:12]}"]
    for row in rows:
        count = "" if row["rows"] is None else str(row["rows"])
        lines.append(
            f"{row['label']:{width}}  {row['type']:28}  {row['shots']:2}-shot  {count:>6}  "
            f"{row['file']}{_state(row)}"
        )
    if "ok" in document:
        good = sum(bool(row["ok"]) for row in rows)
        lines.append(f"{good} of {len(rows)} tasks have the expected file")
    return "\n".join(lines)


def _state(row: dict[str, Any]) -> str:
    if row["present"] is None:
        return ""
    if row["ok"]:
        return "  ok"
    if row["present"]:
        return "  OTHER CONTENT"
    return "  missing (made from GPQA's archive)" if row["made_from"] else "  missing"


def _render_fetch(document: dict[str, Any]) -> str:
    meanings = {
        "present": "already there",
        "fetched": "fetched",
        "absent": "MISSING at the source",
        "wrong": "OTHER CONTENT at the source",
        "archive": "MISSING: name GPQA's archive with --gpqa",
    }
    return "\n".join(f"{row['file']}  {meanings[row['state']]}" for row in document["files"])


def _render_results(document: dict[str, Any]) -> str:
    width = max(len(label) for label in document["tasks"])
    lines = [
        f"suite {document['suite']}, engine {document['engine']}, precision {document['precision']}"
    ]
    for label, task in document["tasks"].items():
        error = "" if task["stderr"] is None else f" ± {task['stderr']:.3f}"
        lines.append(f"{label:{width}}  {task['score']:.3f}{error}  of {task['n']}")
    if document["missing_tasks"]:
        lines.append("no file for: " + ", ".join(document["missing_tasks"]))
    if "audit" in document:
        lines.append("audit: " + summary(document["audit"]))
        if not document["audit"]["ok"]:
            lines.append("the answers DIFFER from the reference's: do not use these results")
    return "\n".join(lines)


def _render_score(document: dict[str, Any]) -> str:
    lines = [f"metric version {document['metric_version']}"]
    shown_by = {"CORE": ("core", "extended", "mmlu"), "SMOKE": ("smoke",)}
    for name in shown_by.get(document["label"], ("mean",)):
        value, error = document[name], document[f"{name}_stderr"]
        interval = document["intervals"].get(name)
        shown = "none" if value is None else f"{100 * value:.2f}"
        shown += "" if error is None else f" ± {100 * error:.2f}"
        if interval:
            shown += f"  (95 % interval {100 * interval[0]:.2f} to {100 * interval[1]:.2f})"
        lines.append(f"{name.upper():9} {shown}")
    for name, value in document["categories"].items():
        lines.append(f"  {name:26} {'none' if value is None else f'{100 * value:.2f}'}")
    if document["missing_tasks"]:
        lines.append("missing: " + ", ".join(document["missing_tasks"]))
    lines += _likelihood_lines(document["likelihoods"] or {})
    if document["limit"] is not None:
        lines.append(f"only the first {document['limit']} rows of each task were asked: no score")
    return "\n".join(lines)


def _likelihood_lines(likelihoods: dict[str, Any]) -> list[str]:
    """The means over tasks; they are shown beside CORE, never in its place."""
    if likelihoods.get("problem"):
        return [f"no likelihoods: {likelihoods['problem']}"]
    lines = []
    for name, found in likelihoods.items():
        if name in ("problem", "tasks", "missing_tasks"):
            continue
        shown = "none"
        if found is not None:
            shown = f"{found['value']:.4f}"
            shown += "" if found["stderr"] is None else f" ± {found['stderr']:.4f}"
        lines.append(f"{name.replace('_', ' '):22} {shown}")
    if likelihoods.get("missing_tasks"):
        lines.append("without log-probabilities: " + ", ".join(likelihoods["missing_tasks"]))
    return lines
