"""The subcommands `crucible transfer fit`, `predict` and `compare`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submissions.cli import Commands
from submissions.commands import table
from submissions.failures import Failure
from training_recipes.scales import scale_names

if TYPE_CHECKING:
    from evaluation.transfer.calibration import Calibration
    from evaluation.transfer.line import Pair
    from evaluation.transfer.quality import Count, Quality
    from evaluation.transfer.results import Measured
    from evaluation.transfer.runs import RecipeName

RECIPES = ("published", "official")  # RecipeName of runs.py, whose import would slow every start


def register(commands: Commands) -> None:
    """Adds the subcommands; what they need is imported when one of them runs."""
    group = commands.group("transfer", "predict a larger scale from a small one")
    fit = group.add("fit", "show a calibration and its errors", run_fit, render_fit)
    fit.add_argument("--dclm", type=Path, metavar="CHECKOUT", help="default: built-in figures")
    fit.add_argument("--from", dest="source", required=True, metavar="SCALE", help="smaller scale")
    fit.add_argument("--by", default="core", choices=("core", "loss"), help="figure at the source")
    predict = group.add("predict", "predict CORE at a larger scale", run_predict, render_predict)
    predict.add_argument(
        "results", type=Path, nargs="+", metavar="RESULTS.json", help="one dataset's results each"
    )
    compare = group.add(
        "compare", "give the chance that one beats the other there", run_compare, render_compare
    )
    compare.add_argument("one", type=Path, metavar="A.json")
    compare.add_argument("other", type=Path, metavar="B.json")
    for parser in (predict, compare):
        parser.add_argument(
            "--from", dest="source", metavar="SCALE", help="default: the nearest with pairs"
        )
    for parser in (fit, predict, compare):
        scales = ", ".join(scale_names())
        parser.add_argument("--to", dest="target", required=True, metavar="SCALE", help=scales)
        parser.add_argument(
            "--recipe", choices=RECIPES, help="of the target: published (DCLM's runs) or official"
        )
        parser.add_argument("--pairs", type=Path, metavar="CSV", help="your own pairs")


def run_fit(arguments: argparse.Namespace) -> dict[str, Any]:
    """The calibration's line, its pairs, and its errors on held-out pairs."""
    from evaluation.transfer.calibration import calibrate
    from evaluation.transfer.checkout import runs_of_checkout
    from evaluation.transfer.quality import judge

    runs = None if arguments.dclm is None else runs_of_checkout(arguments.dclm)
    if arguments.by == "loss" and arguments.pairs is not None:
        raise Failure("refused", "your own pairs hold CORE: leave out --by loss")
    calibration = calibrate(
        arguments.source,
        arguments.target,
        _recipe(arguments),
        own=_own(arguments),
        runs=runs,
        by=arguments.by,
    )
    quality = judge(calibration)
    return _calibration(calibration) | {"by": arguments.by} | _quality(calibration, quality)


def run_predict(arguments: argparse.Namespace) -> dict[str, Any]:
    """Each result's predicted score with its interval, and the places among them."""
    from evaluation.transfer.results import read_measured

    measured = [read_measured(path) for path in arguments.results]
    calibration = _calibrated(arguments, measured)
    places = calibration.places([found.core for found in measured])
    rows = []
    for found, place in zip(measured, places, strict=True):
        predicted = calibration.predict(found.core, found.name)
        rows.append(
            {
                "file": found.name,
                "source": found.core,
                "core": predicted.value,
                "half_width": predicted.half_width,
                "interval_90": predicted.ends,
                "places": list(place),
            }
        )
    return _calibration(calibration) | {"predictions": rows, "notes": _notes(calibration)}


def run_compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """The chance that A beats B at the target."""
    from evaluation.transfer.results import read_measured

    measured = [read_measured(path) for path in (arguments.one, arguments.other)]
    calibration = _calibrated(arguments, measured)
    one, other = measured
    found = calibration.compare(one.core, other.core, (one.name, other.name))
    return _calibration(calibration) | {
        "files": [one.name, other.name],
        "sources": [one.core, other.core],
        "probability": found.probability,
        "difference": found.difference.value,
        "interval_90": found.difference.ends,
        "separable": found.separable,
        "named_from": calibration.named_from,
        "notes": _notes(calibration),
    }


def _calibrated(arguments: argparse.Namespace, measured: list[Measured]) -> Calibration:
    from evaluation.transfer.calibration import calibrate, default_source
    from evaluation.transfer.results import check_recipes, scale_of

    source = arguments.source or scale_of(measured) or default_source(arguments.target)
    check_recipes(measured, source)
    return calibrate(source, arguments.target, _recipe(arguments), own=_own(arguments))


def _recipe(arguments: argparse.Namespace) -> RecipeName:
    """`official` goes with a site's own pairs, whose runs had it."""
    if arguments.pairs is None:
        return "official" if arguments.recipe == "official" else "published"
    if arguments.recipe == "published":
        raise Failure("refused", "your own pairs have the official recipe: leave out --recipe")
    return "official"


def _own(arguments: argparse.Namespace) -> list[Pair]:
    from evaluation.transfer.results import read_pairs

    return [] if arguments.pairs is None else read_pairs(arguments.pairs)


def _calibration(calibration: Calibration) -> dict[str, Any]:
    line = calibration.line
    return {
        "from": calibration.source,
        "to": calibration.target,
        "recipe": {"lr": calibration.recipe.lr, "weight_decay": calibration.recipe.weight_decay},
        "metric_version": "v2",
        "n": len(calibration.datasets),
        "slope": line.slope,
        "intercept": line.intercept,
        "s": line.s,
        "df": line.df,
        "range": list(calibration.range),
    }


def _notes(calibration: Calibration) -> list[str]:
    from evaluation.transfer.published import read_published
    from evaluation.transfer.runs import recipe_of, values_at

    notes = [
        "All published pairs are filtered web text: a mixture or another kind of data may lie off "
        "the line."
    ]
    official = recipe_of(calibration.target, "official")
    if calibration.recipe == official:
        return notes
    runs = read_published().runs
    here, there = (values_at(runs, calibration.target, r) for r in (calibration.recipe, official))
    apart = [there[name] - here[name] for name in set(here) & set(there)]
    if apart:
        notes.append(
            f"The target has the recipe of DCLM's runs ({calibration.recipe}); {len(apart)} "
            f"datasets scored {min(apart):+.3f} to {max(apart):+.3f} under the official one "
            "(--recipe official)."
        )
    return notes


def _quality(calibration: Calibration, quality: Quality | None) -> dict[str, Any]:
    """The measured part of the document; None where there are too few pairs."""
    from evaluation.transfer.calibration import NAMED, NAMED_FROM_SMALL

    pairs: list[dict[str, Any]] = [
        {"dataset": pair.dataset, "source": pair.source, "target": pair.target}
        for pair in calibration.pairs
    ]
    others = [
        {"dataset": pair.dataset, "source": pair.source, "target": pair.target}
        for pair in calibration.others
    ]
    measured = dict.fromkeys(
        ("loo_mae", "loo_max", "mean_mae", "interval_90", "hits", "decision_accuracy",
         "decision_accuracy_90", "brier", "brier_baseline", "brier_gain_90", "log_loss",
         "log_loss_baseline", "named", "gaps", "reliability", "families")
    )  # fmt: skip
    if quality is not None:
        for pair, found in zip(pairs, quality.held_out, strict=True):
            pair |= {"predicted": found.predicted, "half_width": found.half_width}
        measured |= {
            "loo_mae": quality.mae,
            "loo_max": max(abs(found.error) for found in quality.held_out),
            "mean_mae": quality.mean_mae,
            "interval_90": quality.half_width,
            "hits": sum(found.hit for found in quality.held_out),
            "decision_accuracy": quality.decision_accuracy,
            "decision_accuracy_90": list(quality.decision_interval),
            "brier": quality.brier,
            "brier_baseline": quality.brier_order,
            "brier_gain_90": list(quality.brier_gain_interval),
            "log_loss": quality.log_loss,
            "log_loss_baseline": quality.log_loss_order,
            "named": [_count(quality.named(chance)) for chance in (NAMED, NAMED_FROM_SMALL)],
            "gaps": [_count(found) for found in quality.by_gap()],
            "reliability": [_count(found) for found in quality.by_chance()],
            "families": [_count(found) for found in quality.by_family()],
        }
    return {"pairs": pairs, "other_recipe_pairs": others} | measured


def _count(found: Count) -> dict[str, Any]:
    return {
        "name": found.name,
        "pairs": found.of,
        "right": found.right,
        "chance": found.chance,
        "brier": found.brier,
    }


def render_fit(document: dict[str, Any]) -> str:
    """The line, what was measured of it, and the datasets behind it."""
    lines = [
        _head(document),
        f"target = {document['intercept']:.4f} + {document['slope']:.4f} × source, scatter "
        f"{document['s']:.5f}, {document['df']:g} degrees of freedom",
    ]
    if document["brier"] is None:
        lines.append("too few pairs at this recipe to judge the line")
    else:
        low, high = document["decision_accuracy_90"]
        lines += [
            f"held out: mean error {document['loo_mae']:.4f} (of the mean "
            f"{document['mean_mae']:.4f}), 90 % interval ± {document['interval_90']:.3f}, holds "
            f"{document['hits']} of {len(document['pairs'])}",
            f"order right {document['decision_accuracy']:.3f} (90 % interval {low:.2f} to "
            f"{high:.2f})",
            f"Brier {document['brier']:.3f}, by the order alone {document['brier_baseline']:.3f}; "
            f"log loss {document['log_loss']:.3f}, {document['log_loss_baseline']:.3f}",
        ]
        for title, key in (
            ("gap at the source", "gaps"),
            ("chance of the favourite", "reliability"),
            ("that is", "named"),
            ("kinds", "families"),
        ):
            rows = [
                [
                    row["name"],
                    f"{row['right']:g} of {row['pairs']}",
                    "" if row["chance"] is None else f"{row['chance']:.2f}",
                    "" if row["brier"] is None else f"{row['brier']:.3f}",
                ]
                for row in document[key]
            ]
            lines.append(table([title, "right", "chance", "Brier"], rows))
    for pair in document["pairs"]:
        lines.append(f"{pair['source']:8.4f} {pair['target']:8.4f}  {pair['dataset']}")
    return "\n".join(lines)


def render_predict(document: dict[str, Any]) -> str:
    """A line a file."""
    lines = [_head(document)]
    for row in document["predictions"]:
        first, last = row["places"]
        place = "" if len(document["predictions"]) == 1 else f", place {first} to {last}"
        lines.append(
            f"{row['file']}: {row['source']:.4f} at {document['from']}; predicted CORE "
            f"{row['core']:.3f} ± {row['half_width']:.3f} (90 %) at {document['to']}{place}"
        )
    return "\n".join([*lines, *document["notes"]])


def render_compare(document: dict[str, Any]) -> str:
    """The verdict first."""
    one, other = document["files"]
    low, high = document["interval_90"]
    chance = document["probability"]
    better, worse = (one, other) if chance >= 0.5 else (other, one)
    verdict = (
        f"{better} is better than {worse} at {document['to']}"
        if document["separable"]
        else f"cannot be separated at {document['to']}"
    )
    return "\n".join(
        [
            f"{verdict}: {chance:.2f} that {one} is better",
            f"difference {document['difference']:+.3f} (90 % interval {low:+.3f} to {high:+.3f})",
            _head(document),
            *document["notes"],
        ]
    )


def _head(document: dict[str, Any]) -> str:
    recipe = document["recipe"]
    return (
        f"{document['from']} to {document['to']}, {document['n']} datasets, target at learning "
        f"rate {recipe['lr']:g}, weight decay {recipe['weight_decay']:g}"
    )
