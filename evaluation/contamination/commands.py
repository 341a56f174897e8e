"""The subcommands `crucible contamination index`, `scan`, `clean` and `grade`."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from evaluation.suite import load_suite
from evaluation.suite_file import SUITE_NAMES
from submissions.argument_types import given_path, output_file, output_folder, positive, seed
from submissions.cli import Commands
from submissions.commands import table
from submissions.dataset import PATH_HELP
from submissions.executor import LocalProcesses, Placement, cores
from submissions.progress import progress_for_terminal
from submissions.ray_executor import RayCluster
from submissions.shards import is_s3

CLEANED = ("high", "medium", "review", "passage")
METHODS = ("dclm-overlap", "dclm-option", "cosmopedia", "decon")  # see methods.py


def register(commands: Commands) -> None:
    """Adds the subcommands; what they need is imported when one of them runs."""
    group = commands.group("contamination", "look for test questions in a dataset")
    index = group.add("index", "build the index of a suite's questions", run_index, render_index)
    index.add_argument("--suite", default="full", help=", ".join(SUITE_NAMES))
    index.add_argument("--tasks", metavar="LABEL,…", help="only these tasks, all of them")
    index.add_argument("--data", type=Path, help="folder of task files (smoke: bundled)")
    index.add_argument(
        "--output", type=output_folder, required=True, metavar="INDEX", help="folder"
    )
    index.add_argument(
        "--without-text", action="store_true", help="leave the questions out, to hand it on"
    )

    scan = group.add("scan", "report the questions that stand in a dataset", run_scan, render_scan)
    clean = group.add("clean", "write a dataset without them", run_clean, render_clean)
    for parser in (scan, clean):
        parser.add_argument("--index", type=Path, required=True, help="folder of an index")
        parser.add_argument(
            "--input", required=True, nargs="+", type=given_path, metavar="PATH", help=PATH_HELP
        )
        place = parser.add_mutually_exclusive_group()
        place.add_argument(
            "--workers",
            type=positive,
            default=cores(),
            metavar="N",
            help="processes; default: cores",
        )
        place.add_argument("--ray", metavar="ADDRESS", help="the Ray cluster that does the work")
    scan.add_argument("--output", type=output_file, required=True, metavar="REPORT.json")
    scan.add_argument(
        "--methods", nargs="*", default=[], choices=METHODS, help="published rules, to compare"
    )
    scan.add_argument(
        "--paraphrases", action="store_true", help="hints at reworded questions, from a sample"
    )
    clean.add_argument("--output", type=output_folder, required=True, metavar="DIR")
    clean.add_argument(
        "--severity", default="medium", choices=CLEANED, help="the least grave that leaves"
    )
    clean.add_argument("--spans", action="store_true", help="cut out what was found, not documents")

    graded = group.add("grade", "measure the search on leaks made from a seed", run_grade,
                       render_grade)  # fmt: skip
    graded.add_argument("--suite", default="full", help=", ".join(SUITE_NAMES))
    graded.add_argument("--data", type=Path, help="folder of task files (smoke: bundled)")
    graded.add_argument("--index", type=Path, help="folder of an index; default: made for this")
    graded.add_argument("--seed", type=seed, default=1, metavar="N", help="of everything drawn")
    graded.add_argument(
        "--leaks", type=positive, default=200, metavar="N", help="examples to plant"
    )
    graded.add_argument(
        "--documents", type=positive, default=20_000, metavar="N", help="ordinary documents at most"
    )
    graded.add_argument(
        "--ordinary", nargs="+", type=given_path, metavar="PATH",
        help="shards of ordinary text; default: documentation of the installed Python packages",
    )  # fmt: skip
    graded.add_argument(
        "--methods", nargs="*", default=METHODS, choices=METHODS, help="published rules beside ours"
    )


def run_index(arguments: argparse.Namespace) -> dict[str, Any]:
    from evaluation.contamination.index import build_index

    started = time.monotonic()
    index = build_index(
        load_suite(arguments.suite),
        arguments.data,
        arguments.output,
        labels=arguments.tasks.split(",") if arguments.tasks else None,
        without_text=arguments.without_text,
        progress=progress_for_terminal(),
    )
    kept = ("index_hash", "suite", "with_text", "tasks", "missing")
    seconds = round(time.monotonic() - started, 2)
    return {key: index.meta[key] for key in kept} | {"seconds": seconds}


def render_index(document: dict[str, Any]) -> str:
    """The tasks with their checkable examples, and those that were left out."""
    rows = [(t["label"], f"{t['examples']:,}", f"{t['checkable']:,}") for t in document["tasks"]]
    lines = [table(("task", "examples", "checkable"), rows), f"index {document['index_hash'][:12]}"]
    if document["missing"]:
        lines.append("left out, without a file: " + ", ".join(document["missing"]))
    return "\n".join(lines)


def run_scan(arguments: argparse.Namespace) -> dict[str, Any]:
    from evaluation.contamination.scan import scan_dataset

    return scan_dataset(
        _inputs(arguments),
        arguments.index.absolute(),
        arguments.output.absolute(),
        progress_for_terminal(),
        _placement(arguments),
        tuple(arguments.methods),
        arguments.paraphrases,
    )


def render_scan(report: dict[str, Any]) -> str:
    """The tasks of which anything was found."""
    rows = [
        (label, f"{task['checkable']:,}", *(f"{task[name]:,}" for name in CLEANED))
        for label, task in report["tasks"].items()
        if any(task[name] for name in CLEANED)
    ]
    head = f"{report['documents']:,} documents, {report['bytes'] / 1e6:,.1f} MB"
    lines = [f"{head} in {report['seconds']:.0f} s"]
    lines.append(table(("task", "checkable", *CLEANED), rows) if rows else "nothing was found")
    for name, found in report["methods"].items():
        key = "dirty" if name == "dclm-overlap" else "flagged"
        examples = sum(task[key] for task in found["tasks"].values())
        lines.append(f"{name}: {found['documents']:,} documents, {examples:,} examples {key}")
    if hints := report.get("paraphrases"):
        said = f"PARAPHRASE: {hints['found']:,} in a sample of {hints['documents']:,} documents"
        lines.append(f"{said}, hints for a person to read")
    if report["missing_tasks"]:
        lines.append("not looked for: " + ", ".join(report["missing_tasks"]))
    return "\n".join(lines)


def run_clean(arguments: argparse.Namespace) -> dict[str, Any]:
    from evaluation.contamination.clean import clean_dataset

    started = time.monotonic()
    document = clean_dataset(
        _inputs(arguments),
        arguments.index.absolute(),
        arguments.output.absolute(),
        severity=arguments.severity,
        spans=arguments.spans,
        progress=progress_for_terminal(),
        placement=_placement(arguments),
    )
    return document | {"seconds": round(time.monotonic() - started, 2)}


def render_clean(document: dict[str, Any]) -> str:
    """What left and where it is told."""
    return (
        f"{document['documents']:,} documents: {document['removed']:,} left out, "
        f"{document['cut']:,} cut\n{document['log']}"
    )


def run_grade(arguments: argparse.Namespace) -> dict[str, Any]:
    from evaluation.contamination.grade import grade
    from evaluation.contamination.index import build_index, load_index
    from evaluation.contamination.ordinary import documents_of, ordinary_documents

    suite, drawn_by = load_suite(arguments.suite), arguments.seed
    with tempfile.TemporaryDirectory(prefix="crucible-grade-") as folder:
        if arguments.index:
            index = load_index(arguments.index)
        else:
            made = Path(folder) / "index"
            index = build_index(suite, arguments.data, made, progress=progress_for_terminal())
        if arguments.ordinary:
            texts = documents_of(arguments.ordinary, arguments.documents)
        else:
            texts = ordinary_documents(arguments.documents, drawn_by)
        return grade(
            index, suite, texts, seed=drawn_by, leaks=arguments.leaks, methods=arguments.methods,
            progress=progress_for_terminal(),
        )  # fmt: skip


def render_grade(document: dict[str, Any]) -> str:
    """Recall by kind and search, then what was flagged wrongly."""
    methods = document["methods"]
    rows = [
        (kind, f"{ours['n']:,}", *(f"{m['kinds'][kind]['recall']:.3f}" for m in methods.values()))
        for kind, ours in document["kinds"].items()
    ]
    rows += [
        (f"honest: {kind}", f"{ours['n']:,}",
         *(f"{m['honest'][kind]['flagged']:.3f}" for m in methods.values()))
        for kind, ours in document["honest"].items()
    ]  # fmt: skip
    for name in ("recall", "precision", "flags_per_million"):
        shown = (m[name] for m in methods.values())
        rows.append((name, "", *("" if value is None else f"{value:g}" for value in shown)))
    lines = [table(("kind", "n", *methods), rows)]
    lines += [
        f"{name}: {one['recall']:.3f} of {one['n']:,}" for name, one in document["families"].items()
    ]
    return "\n".join(lines)


def _inputs(arguments: argparse.Namespace) -> list[str]:
    """Absolute, because workers elsewhere have another working directory."""
    return [given if is_s3(given) else str(Path(given).absolute()) for given in arguments.input]


def _placement(arguments: argparse.Namespace) -> Placement:
    return RayCluster(arguments.ray) if arguments.ray else LocalProcesses(arguments.workers)
