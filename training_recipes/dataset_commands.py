"""The subcommands `check` and `tokenize`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from submissions.argument_types import given_path, output_folder, positive, seed
from submissions.check import Report, check_dataset
from submissions.cli import Commands
from submissions.codec import to_json
from submissions.dataset import PATH_HELP
from submissions.executor import LocalProcesses, cores
from submissions.failures import Failure
from submissions.most_data import MULTIPLE
from submissions.progress import progress_for_terminal
from submissions.ray_executor import RayCluster
from submissions.shards import is_s3
from submissions.states import Fault, Track
from training_recipes.scales import load_scale, scale_names


def register(commands: Commands) -> None:
    """Adds the subcommands; libraries that take long to import wait until one of them runs."""
    scales = ", ".join(scale_names())
    check = commands.add("check", "check a dataset before you submit it", run_check, render_check)
    check.add_argument("paths", nargs="+", type=given_path, metavar="PATH", help=PATH_HELP)
    check.add_argument("--track", required=True, help=" or ".join(Track))
    check.add_argument("--scale", required=True, help=f"one of {scales}")

    tokenize = commands.add(
        "tokenize", "turn a dataset into shuffled rows of ids", run_tokenize, render_tokenize
    )
    tokenize.add_argument("--scale", required=True, help=f"one of {scales}")
    tokenize.add_argument(
        "--input", required=True, nargs="+", type=given_path, metavar="PATH", help=PATH_HELP
    )
    tokenize.add_argument(
        "--output", required=True, type=output_folder, metavar="DIR", help="folder for the rows"
    )
    tokenize.add_argument("--seed", type=seed, help="seed of the shuffle (default: the recipe's)")
    for parser in (check, tokenize):
        parser.add_argument(
            "--multiple",
            type=positive,
            default=MULTIPLE,
            metavar="N",
            help="refuse a dataset of more than N times what training reads (default: %(default)s)",
        )
    place = tokenize.add_mutually_exclusive_group()
    place.add_argument(
        "--workers",
        type=positive,
        default=cores(),
        metavar="N",
        help="processes; all cores if left out",
    )
    place.add_argument("--ray", metavar="ADDRESS", help="address of a Ray cluster to run on")


def run_check(arguments: argparse.Namespace) -> dict[str, Any]:
    """The report of `submissions.check`, with the scale's own numbers.

    Every fault is a problem of the report, an unknown scale or an empty folder too, so a script
    reads one place.
    """
    from training_recipes.encoder import token_counter

    try:
        scale = load_scale(arguments.scale)
        report = check_dataset(
            arguments.paths,
            track=arguments.track,
            scale=scale.name,
            tokens_needed=scale.tokens_needed,
            bytes_per_token=scale.bytes_per_token,
            max_epochs=scale.max_epochs,
            multiple=arguments.multiple,
            count_tokens=token_counter(scale.tokenizer),
            progress=progress_for_terminal(),
        )
    except Failure as failure:
        if failure.fault == Fault.INFRASTRUCTURE:
            raise
        report = Report(problems=[failure])
    return report.as_dict()


def render_check(report: dict[str, Any]) -> str:
    """The figures, then one line a problem."""
    lines = [
        f"{len(report['shards'])} shards, {report['documents']:,} documents, "
        f"{report['bytes'] / 1e6:,.1f} MB, about {report['tokens_estimate']:,} tokens"
        + (f" (± {report['tokens_error']:,})" if report["tokens_error"] else "")
    ]
    lines += [
        f"{source['name']}: weight {source['weight']:g}, {source['documents']:,} documents, "
        f"about {source['tokens_estimate']:,} tokens, {_times(source['epochs_estimate'])}"
        for source in report["sources"]
    ]
    if not report["sources"] and (report["epochs_estimate"] or 0) > 1:
        lines.append(f"the dataset {_times(report['epochs_estimate'])}")
    for problem in report["problems"]:
        place = ":".join(str(problem[key]) for key in ("shard", "line") if problem[key])
        lines.append(f"{place}: {problem['message']}" if place else problem["message"])
    lines.append("ready to submit" if report["ok"] else "not ready: correct this and check again")
    return "\n".join(lines)


def _times(epochs: float | None) -> str:
    return "holds no text" if epochs is None else f"would be read about {epochs:.2f} times"


def run_tokenize(arguments: argparse.Namespace) -> dict[str, Any]:
    """The summary of the rows that were written."""
    from training_recipes.packed_rows import MANIFEST
    from training_recipes.tokenize import require_enough, result_of, tokenize_dataset

    started = time.monotonic()
    scale = load_scale(arguments.scale)
    # Absolute, because workers elsewhere have another working directory.
    inputs = [given if is_s3(given) else str(Path(given).absolute()) for given in arguments.input]
    summary = tokenize_dataset(
        inputs,
        arguments.output.absolute(),
        scale,
        arguments.seed,
        progress_for_terminal(),
        RayCluster(arguments.ray) if arguments.ray else LocalProcesses(arguments.workers),
        multiple=arguments.multiple,
    )
    try:
        require_enough(summary, scale)
    except Failure as failure:
        print(f"`crucible train` will refuse this: {failure}", file=sys.stderr)
    figures: dict[str, Any] = to_json(result_of(summary))
    return figures | {
        "shards": to_json(summary.shards),
        "manifest": str(arguments.output / MANIFEST),
        "seconds": round(time.monotonic() - started, 2),
    }


def render_tokenize(document: dict[str, Any]) -> str:
    """What was read, what was written, and what one training takes of it."""
    return (
        f"{document['documents']:,} documents gave {document['sequences']:,} rows with "
        f"{document['tokens']:,} tokens in {document['seconds']:.0f} s\n"
        f"training reads {document['epochs']:.0%} of them: {document['manifest']}"
    )
