"""The subcommand `train`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from submissions.argument_types import output_folder, positive, seed
from submissions.cli import Commands
from submissions.codec import to_json
from submissions.progress import progress_for_terminal
from training_recipes.hardware import CHOICES, Hardware
from training_recipes.scales import load_scale, scale_names


def register(commands: Commands) -> None:
    """Adds the subcommand; libraries that take long to import wait until it runs."""
    scales = ", ".join(scale_names())
    train = commands.add("train", "train a model on tokenised rows", run_train, render_train)
    train.add_argument("--scale", required=True, help=f"one of {scales}")
    train.add_argument("--data", required=True, type=Path, metavar="DIR", help="from `tokenize`")
    train.add_argument(
        "--output", required=True, type=output_folder, metavar="DIR", help="folder for the model"
    )
    train.add_argument(
        "--engine",
        default="composer",
        choices=["composer", "native", "open_lm"],
        help="default: %(default)s",
    )
    train.add_argument(
        "--seed", type=seed, help="seed of the initial weights (default: the recipe's)"
    )
    train.add_argument("--resume", action="store_true", help="continue an interrupted run")
    train.add_argument("--micro-batch", type=positive, metavar="ROWS", help=CHOICES["micro_batch"])
    train.add_argument("--compile", action="store_true", help=CHOICES["compile"])
    train.add_argument("--fsdp", action="store_true", help=CHOICES["fsdp"])


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
        Hardware(arguments.micro_batch, arguments.compile, arguments.fsdp),
    )
    if figures is None:
        raise SystemExit(0)  # the process of rank 0 prints
    document: dict[str, Any] = to_json(figures)
    return document | {"checkpoint": str(arguments.output / "checkpoint.pt")}


def render_train(document: dict[str, Any]) -> str:
    """The loss and what it took."""
    return (
        f"loss {document['loss']:.4f} after {document['steps']:,} steps and "
        f"{document['tokens']:,} tokens in {document['seconds']:.0f} s "
        f"({document['tokens_per_second']:,.0f} tokens/s)\n{document['checkpoint']}"
    )
