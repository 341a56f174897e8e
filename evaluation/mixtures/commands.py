"""The subcommands of `crucible mix`: from runs to a law, and from a law to a mixture."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from evaluation.mixtures import rendering
from submissions.cli import Commands

LAWS = ("auto", "pslx", "edp", "m4")
FIT_HELP = "a file that `crucible mix fit` wrote"


def register(commands: Commands) -> None:
    """Adds the subcommands; numpy is imported when one of them runs."""
    mix = commands.group("mix", "predict losses of mixtures and find the best one")
    _register_fit(mix)

    predict = mix.add(
        "predict", "predict the losses of other mixtures", _run("predict"), rendering.predict
    )
    predict.add_argument("fit", type=Path, metavar="FIT", help=FIT_HELP)
    predict.add_argument("mixtures", type=Path, metavar="MIXTURES", help="CSV of proportions")

    _register_optimise(mix)

    critical = mix.add(
        "critical",
        "find the share of old data that keeps the old loss",
        _run("critical"),
        rendering.critical,
    )
    _runs_arguments(critical)
    critical.add_argument(
        "--base",
        type=_positive,
        required=True,
        metavar="LOSS",
        help="loss of the base model on the old corpus",
    )
    critical.add_argument("--law", choices=("m4", "edp"), default="m4", help="default %(default)s")

    transfer = mix.add(
        "transfer",
        "calibrate a fit with runs of a larger scale",
        _run("transfer"),
        rendering.transfer,
    )
    transfer.add_argument("fit", type=Path, metavar="FIT", help=FIT_HELP)
    transfer.add_argument("runs", type=Path, metavar="LARGE", help="CSV of runs at that scale")
    _scale_arguments(transfer)
    transfer.add_argument("-o", "--output", type=Path, metavar="FIT", help="the calibrated fit")

    check = mix.add("check", "compare predictions with runs", _run("check"), rendering.check)
    check.add_argument("fit", type=Path, metavar="FIT", help=FIT_HELP)
    check.add_argument("runs", type=Path, metavar="HELDOUT", help="CSV of runs not in the fit")
    _scale_arguments(check)
    check.add_argument("--max-mae", type=_positive, help="limit in nats, of the mean over targets")
    check.add_argument(
        "--max-mre", type=_positive, help="limit as a share of the loss: 0.02 is 2 %%"
    )
    check.add_argument("--min-spearman", type=float, help="rank correlation")
    check.add_argument("--min-coverage", type=float, help="share of runs in their interval")

    _register_design(mix)


def _register_fit(mix: Commands) -> None:
    fit = mix.add("fit", "fit laws to runs", _run("fit"), rendering.fit)
    _runs_arguments(fit)
    fit.add_argument("--law", choices=LAWS, default="auto", help="default %(default)s")
    fit.add_argument(
        "--seed", type=_seed, default=0, help="seed of the folds (default %(default)s)"
    )
    fit.add_argument("--at-size", metavar="SIZE", help="extrapolate to this size, as 1B or 1e9")
    fit.add_argument("--at-step", type=_positive, metavar="STEP", help="extrapolate to this step")
    fit.add_argument(
        "--tokens", type=Path, metavar="TOKENS", help="JSON: tokens by source of the runs"
    )
    fit.add_argument("--budget", type=_positive, metavar="N", help="tokens of each run")
    fit.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FIT", help="the fit's file"
    )


def _register_optimise(mix: Commands) -> None:
    optimise = mix.add(
        "optimise", "find the best mixture under limits", _run("optimise"), rendering.optimise
    )
    optimise.add_argument("fit", type=Path, metavar="FIT", help=FIT_HELP)
    optimise.add_argument("--tokens", type=Path, metavar="TOKENS", help="JSON: tokens by source")
    optimise.add_argument("--budget", type=_positive, metavar="N", help="tokens to train on")
    optimise.add_argument("--max-epochs", type=_positive, default=4.0, help="default %(default)s")
    optimise.add_argument("--floors", metavar="NAME=SHARE,…", help="smallest share of a source")
    optimise.add_argument(
        "--weights", metavar="NAME=W,…", help="weights of targets (default: equal)"
    )
    optimise.add_argument(
        "--kl",
        type=_not_negative,
        default=0.0,
        metavar="λ",
        help="nats for a divergence of 1 from the natural mixture",
    )


def _register_design(mix: Commands) -> None:
    design = mix.add("design", "suggest mixtures to train", _run("design"), rendering.design)
    design.add_argument(
        "--sources", type=Path, required=True, metavar="SOURCES", help="JSON: tokens by source"
    )
    design.add_argument(
        "--runs", type=_count, required=True, metavar="N", help="number of mixtures"
    )
    design.add_argument("--budget", type=_positive, metavar="N", help="tokens of each run")
    design.add_argument("--max-epochs", type=_positive, default=4.0, help="default %(default)s")
    design.add_argument(
        "--larger-budget",
        type=_positive,
        metavar="N",
        help="tokens at the larger scale: matches repetition",
    )
    design.add_argument(
        "--fit", type=Path, metavar="FIT", help="suggest the next runs for this fit"
    )
    design.add_argument("--seed", type=_seed, default=0, help="default %(default)s")
    design.add_argument("-o", "--output", type=Path, metavar="CSV", help="the mixtures as a table")


def _runs_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, metavar="RUNS", help="CSV, one run a row")
    parser.add_argument("--domains", type=_names, metavar="a,b", help="default: all mix_ columns")
    parser.add_argument("--targets", type=_names, metavar="x,y", help="default: all loss_ columns")
    _scale_arguments(parser)


def _scale_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", metavar="SIZE", help="only rows of this size")
    parser.add_argument("--step", type=float, metavar="STEP", help="only rows of this step")


def _run(name: str) -> rendering.Handler:
    """The handler of that name, imported when it runs."""

    def run(arguments: argparse.Namespace) -> rendering.Document:
        from evaluation.mixtures import handlers

        document: rendering.Document = getattr(handlers, name)(arguments)
        return document

    return run


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _positive(text: str) -> float:
    number = float(text)
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError("must be a number above 0")
    return number


def _not_negative(text: str) -> float:
    number = float(text)
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError("must be a number of 0 or more")
    return number


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**63:
        raise argparse.ArgumentTypeError("must be a whole number from 0")
    return number


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1_000:
        raise argparse.ArgumentTypeError("must be 1 to 1,000")
    return number
