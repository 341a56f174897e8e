"""The subcommands `loss` and `verify-stack`."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from submissions.cli import Commands
from submissions.dataset import PATH_HELP
from submissions.progress import progress_for_terminal
from training_recipes.hardware import CHOICES, Hardware
from training_recipes.scales import load_scale


def register(commands: Commands) -> None:
    """Adds the subcommands; libraries that take long to import wait until one of them runs."""
    loss = commands.add(
        "loss", "compute the loss of a model on held-out text", run_loss, render_loss
    )
    loss.add_argument("--model", required=True, type=Path, metavar="DIR", help="from `train`")
    loss.add_argument("--input", required=True, nargs="+", metavar="PATH", help=PATH_HELP)
    loss.add_argument(
        "--precision", default="fp32", choices=["fp32", "bf16"], help="default: %(default)s"
    )
    loss.add_argument("--limit", type=int, metavar="N", help="number of rows (default: all)")

    verify = commands.add(
        "verify-stack",
        "train a published run again and compare its loss",
        run_verify,
        render_verify,
    )
    verify.add_argument("--scale", default="11m-1x", help="11m-1x, 79m-1x or 154m-1x")
    verify.add_argument("--data", required=True, type=Path, metavar="DIR", help="RefinedWeb's rows")
    verify.add_argument("--input", required=True, nargs="+", metavar="PATH", help="C4's validation")
    verify.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="folder for the model"
    )
    verify.add_argument(
        "--engine",
        default="composer",
        choices=["composer", "native", "open_lm"],
        help="default: %(default)s",
    )
    verify.add_argument("--micro-batch", type=int, metavar="ROWS", help=CHOICES["micro_batch"])
    verify.add_argument("--compile", action="store_true", help=CHOICES["compile"])


def run_loss(arguments: argparse.Namespace) -> dict[str, Any]:
    """The loss and what it was measured on."""
    from training_recipes.held_out import held_out_loss

    found = held_out_loss(
        arguments.model,
        arguments.input,
        arguments.precision,
        arguments.limit,
        progress_for_terminal(),
    )
    return asdict(found) | {"precision": arguments.precision}


def render_loss(document: dict[str, Any]) -> str:
    """One line."""
    return (
        f"loss {document['loss']:.4f} ± {document['stderr']:.4f} nats a token, "
        f"{document['tokens']:,} tokens in {document['rows']:,} rows, {document['precision']}"
    )


def run_verify(arguments: argparse.Namespace) -> dict[str, Any]:
    """The verdict; `ok` false makes the command end with 1."""
    from training_recipes.verify_stack import verify_stack

    verdict = verify_stack(
        arguments.data,
        arguments.input,
        arguments.output,
        load_scale(arguments.scale),
        arguments.engine,
        progress_for_terminal(),
        Hardware(arguments.micro_batch, arguments.compile),
    )
    if verdict is None:
        raise SystemExit(0)  # the process of rank 0 prints
    return asdict(verdict)


def render_verify(document: dict[str, Any]) -> str:
    """Both losses and whether they agree."""
    verdict = "agrees" if document["ok"] else "DOES NOT AGREE"
    return (
        f"{document['scale']}: loss {document['loss']:.4f} ± {document['stderr']:.4f}, published "
        f"{document['published']:.4f}: {verdict} within {document['tolerance']}"
    )
