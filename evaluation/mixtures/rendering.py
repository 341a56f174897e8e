"""The documents of `crucible mix` as text for people."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Document = dict[str, Any]
Handler = Callable[[argparse.Namespace], Document]


def fit(document: Document) -> str:
    """The law and the held-out quality of each target, beside the baselines."""
    width = max(len(name) for name in document["targets"])
    lines = [
        f"{document['runs']} runs, {len(document['domains'])} domains: {document['standing']}",
        f"{'target':{width}}  law   lambda     MAE    MRE %  rank   mean %  linear %",
    ]
    for name, own in document["targets"].items():
        plain = own["baselines"]
        lines.append(
            f"{name:{width}}  {own['law']:4}  {own['lambda']:<7g} {own['mae']:7.4f} "
            f"{100 * own['mre']:6.2f}  {_rank(own['spearman'])}  "
            f"{100 * plain['mean']['mre']:6.2f}  {100 * plain['linear']['mre']:6.2f}"
        )
    lines.append("all figures are of held-out runs")
    return "\n".join([*lines, *document["notes"], f"written to {document['fit']}"])


def predict(document: Document) -> str:
    """One block a mixture."""
    lines = []
    for number, row in enumerate(document["rows"], 1):
        lines.append(f"mixture {number}" + _flags(row["flags"]))
        lines += [f"  {name}  {_interval(own)}" for name, own in row["targets"].items()]
    return "\n".join([*lines, *document["notes"]])


def optimise(document: Document) -> str:
    """The mixture with its limits, and what it is worth."""
    width = max(len(name) for name in document["mixture"])
    limits = {entry["domain"]: entry["limit"] for entry in document["binding"]}
    lines = []
    for name, share in sorted(document["mixture"].items(), key=lambda item: -item[1]):
        low, high = document["spread"][name]
        epochs = "" if document["epochs"] is None else f"  {document['epochs'][name]:6.2f} epochs"
        held = f"  limited by its {limits[name]}" if name in limits else ""
        lines.append(f"{name:{width}}  {share:8.4%}  ({low:.1%} to {high:.1%}){epochs}{held}")
    gain = document["gain"]
    worth = "not known: no run tells of it"
    if gain is not None:
        worth = f"{gain['value']:.4f} nats ({gain['low']:.4f} to {gain['high']:.4f})"
    lines += [
        f"gain over the natural mixture: {worth}",
        f"expected regret {document['expected_regret']:.4f} nats; no allowed mixture is better by "
        f"more than {document['certificate']['gap']:.1g} under this law",
    ]
    if document["flags"]:
        lines.append("caution" + _flags(document["flags"]))
    if document["uncalibrated"]:
        lines.append(document["uncalibrated"])
    return "\n".join([*lines, *document["warnings"]])


def critical(document: Document) -> str:
    """The share, its range, and the runs."""
    if document["share"] is None:
        lines = ["no critical share"]
    else:
        found = (
            ""
            if document["low"] is None
            else (f" ({document['low']:.4f} to {document['high']:.4f}, leaving out one run)")
        )
        lines = [f"critical share of {document['domain']}: {document['share']:.4f}{found}"]
    for run in document["runs"]:
        lines.append(
            f"  {run['share']:.4f}  loss {run['loss']:.4f}  predicted without it "
            f"{run['left_out']:.4f}"
        )
    return "\n".join([*lines, *document["notes"]])


def transfer(document: Document) -> str:
    """The line of each target and its held-out error beside the alternatives."""
    width = max(len(name) for name in document["targets"])
    lines = [f"calibrated with {document['runs']} runs; errors (MRE) of runs left out"]
    for name, own in document["targets"].items():
        lines.append(
            f"{name:{width}}  {own['intercept']:+.4f} {own['slope']:+.4f} × law  "
            f"{_share(own['calibrated'])}  mean of the runs {_share(own['mean_of_runs'])}  "
            f"uncalibrated {_share(own['uncalibrated'])}"
        )
    if document["fit"]:
        lines.append(f"written to {document['fit']}")
    return "\n".join([*lines, *document["notes"]])


def check(document: Document) -> str:
    """Each target and the mean."""
    rows = {**document["targets"], "mean": document["mean"]}
    width = max(len(name) for name in rows)
    lines = [f"{document['rows']} runs, {document['outside_hull']} of them outside the hull"]
    for name, own in rows.items():
        if own["mae"] is None:
            continue
        covered = "none" if own["coverage"] is None else f"{own['coverage']:.2f}"
        lines.append(
            f"{name:{width}}  MAE {own['mae']:.4f}  MRE {own['mre']:.2%}  "
            f"rank {_rank(own['spearman'])}  coverage {covered}"
        )
    if document["refused"]:
        lines.append(f"{document['refused']} runs move along directions that are not identified")
    if document["exceeded"]:
        lines.append("beyond the limit: " + ", ".join(document["exceeded"]))
    return "\n".join([*lines, *document["notes"]])


def design(document: Document) -> str:
    """One line a mixture, only the sources in it."""
    lines = []
    for number, mixture in enumerate(document["mixtures"], 1):
        width = document["widths"][number - 1]
        parts = [f"{name} {share:.4g}" for name, share in mixture.items() if share > 0]
        unsure = "" if width is None else f"  (interval of {width:.3f} nats)"
        lines.append(f"{number:3}  {', '.join(parts)}{unsure}")
    if document["subsample"] is not None:
        kept = ", ".join(f"{name} {tokens:.4g}" for name, tokens in document["subsample"].items())
        lines.append(f"to match repetition, keep these tokens of each source: {kept}")
    if document["output"]:
        lines.append(f"written to {document['output']}")
    return "\n".join([*lines, *document["notes"]])


def _interval(own: Document) -> str:
    if own["value"] is None:
        return "no prediction"
    ends = "" if own["low"] is None else f"  ({own['low']:.4f} to {own['high']:.4f})"
    return f"{own['value']:.4f}{ends}"


def _flags(flags: list[str]) -> str:
    return f": {', '.join(flags)}" if flags else ""


def _rank(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _share(quality: Document | None) -> str:
    return "none" if quality is None else f"{quality['mre']:.2%}"
