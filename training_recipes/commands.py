"""The subcommands `check`, `recipe`, `tokenize` and `train`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from submissions.check import Report, check_dataset
from submissions.cli import Commands
from submissions.failures import Failure
from submissions.progress import progress_for_terminal
from training_recipes.scales import load_scale, scale_names


def register(commands: Commands) -> None:
    """Adds the subcommands; libraries that take long to import wait until one of them runs."""
    scales = ", ".join(scale_names())
    check = commands.add("check", "check a dataset before handing it in", run_check, render_check)
    check.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="shard or folder")
    check.add_argument("--track", required=True, help="filtering or mixing")
    check.add_argument("--scale", required=True, help=f"one of {scales}")

    recipe = commands.group("recipe", "show the frozen recipes")
    recipe.add("list", "list all scales", run_recipe_list, render_recipe_list)
    show = recipe.add(
        "show", "show everything that is fixed at a scale", run_recipe_show, render_recipe_show
    )
    show.add_argument("scale", metavar="SCALE", help=f"one of {scales}")

    tokenize = commands.add(
        "tokenize", "turn a dataset into shuffled rows of ids", run_tokenize, render_tokenize
    )
    tokenize.add_argument("--scale", required=True, help=f"one of {scales}")
    tokenize.add_argument(
        "--input", required=True, nargs="+", type=Path, metavar="PATH", help="shard or folder"
    )
    tokenize.add_argument("--output", required=True, type=Path, metavar="DIR")
    tokenize.add_argument("--seed", type=int, help="of the shuffle; the recipe's if left out")

    train = commands.add("train", "train a model on tokenised rows", run_train, render_train)
    train.add_argument("--scale", required=True, help=f"one of {scales}")
    train.add_argument("--data", required=True, type=Path, metavar="DIR", help="from `tokenize`")
    train.add_argument("--output", required=True, type=Path, metavar="DIR")
    train.add_argument("--engine", default="composer", choices=["composer"])
    train.add_argument("--seed", type=int, help="of the weights; the recipe's if left out")
    train.add_argument("--resume", action="store_true", help="go on with an interrupted run")


def run_check(arguments: argparse.Namespace) -> dict[str, Any]:
    """The report of `submissions.check`, with the scale's own numbers.

    Whatever is wrong is a problem of the report, an unknown scale or an empty folder too: a script
    looks in one place.
    """
    try:
        scale = load_scale(arguments.scale)
        report = check_dataset(
            arguments.paths,
            track=arguments.track,
            scale=scale.name,
            tokens_needed=scale.tokens_needed,
            bytes_per_token=scale.bytes_per_token,
            progress=progress_for_terminal(),
        )
    except Failure as failure:
        report = Report(problems=[failure])
    return report.as_dict()


def render_check(report: dict[str, Any]) -> str:
    """The figures, then one line a problem."""
    lines = [
        f"{len(report['shards'])} shards, {report['documents']:,} documents, "
        f"{report['bytes'] / 1e6:,.1f} MB, about {report['tokens_estimate']:,} tokens"
    ]
    for problem in report["problems"]:
        place = ":".join(str(problem[key]) for key in ("shard", "line") if problem[key])
        lines.append(f"{place}: {problem['message']}" if place else problem["message"])
    lines.append("ready to hand in" if report["ok"] else "not ready: correct this and check again")
    return "\n".join(lines)


def run_recipe_list(_arguments: argparse.Namespace) -> dict[str, Any]:
    """Every scale's document."""
    return {"scales": [load_scale(name).as_document() for name in scale_names()]}


def render_recipe_list(document: dict[str, Any]) -> str:
    """One line a scale."""
    head = f"{'scale':<8} {'params':>14} {'tokens':>16} {'FLOPs':>8} {'steps':>8}  hash"
    rows = [
        f"{scale['scale']:<8} {scale['params']:>14,} {scale['tokens']:>16,} "
        f"{scale['flops']:>8.1e} {scale['steps']:>8,}  {scale['hash'][:12]}"
        for scale in document["scales"]
    ]
    return "\n".join([head, *rows])


def run_recipe_show(arguments: argparse.Namespace) -> dict[str, Any]:
    """One scale's document."""
    return load_scale(arguments.scale).as_document()


def render_recipe_show(document: dict[str, Any]) -> str:
    """Name and value a line, grouped values indented."""
    lines = []
    for key, value in document.items():
        if isinstance(value, dict):
            lines.append(key)
            lines += [f"  {name:<20} {_number(item)}" for name, item in value.items()]
        else:
            lines.append(f"{key:<22} {_number(value)}")
    return "\n".join(lines)


def _number(value: Any) -> str:
    return f"{value:,}" if type(value) is int else str(value)


def run_tokenize(arguments: argparse.Namespace) -> dict[str, Any]:
    """The summary of the rows that were written."""
    from training_recipes.packed_rows import MANIFEST
    from training_recipes.tokenize import figures_of, tokenize_dataset

    started = time.monotonic()
    summary = tokenize_dataset(
        arguments.input,
        arguments.output,
        load_scale(arguments.scale),
        arguments.seed,
        progress_for_terminal(),
    )
    return figures_of(summary) | {
        "manifest": str(arguments.output / MANIFEST),
        "seconds": round(time.monotonic() - started, 2),
    }


def render_tokenize(document: dict[str, Any]) -> str:
    """What was read, what was written, and what one training takes of it."""
    return (
        f"{document['documents']:,} documents gave {document['sequences']:,} rows with "
        f"{document['tokens']:,} tokens in {document['seconds']:.0f} s\n"
        f"one training reads {document['epochs']:.0%} of them: {document['manifest']}"
    )


def run_train(arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of the run, and where its weights are."""
    from training_recipes.train import train

    scale = load_scale(arguments.scale)
    figures = train(
        arguments.data,
        arguments.output,
        scale,
        arguments.seed,
        arguments.engine,
        arguments.resume,
        progress_for_terminal(),
    )
    return figures | {"checkpoint": str(arguments.output / "checkpoint.pt")}


def render_train(document: dict[str, Any]) -> str:
    """The loss and what it took."""
    return (
        f"loss {document['loss']:.4f} after {document['steps']:,} steps and "
        f"{document['tokens']:,} tokens in {document['seconds']:.0f} s "
        f"({document['tokens_per_second']:,.0f} tokens/s)\n{document['checkpoint']}"
    )
