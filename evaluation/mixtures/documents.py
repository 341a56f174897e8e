"""The JSON documents of `crucible mix`; docs/command-line.md lists their keys."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.mixtures.advice import Gain, Spread, binding
from evaluation.mixtures.critical import Critical
from evaluation.mixtures.design import Proposal
from evaluation.mixtures.fit import MixtureFit
from evaluation.mixtures.intervals import LEVEL
from evaluation.mixtures.laws import Floats
from evaluation.mixtures.limits import Limits
from evaluation.mixtures.optimum import Optimum
from evaluation.mixtures.predict import Predictions
from evaluation.mixtures.predict import predict as predicted_of
from evaluation.mixtures.quality import Quality, mean_of, quality
from evaluation.mixtures.repetition import epochs_of
from evaluation.mixtures.table import Runs
from evaluation.mixtures.transfer import Transfer

Document = dict[str, Any]
AT_LEAST = {"spearman", "coverage"}  # the other tolerances of a check are upper bounds


def fit(found: MixtureFit, path: Path) -> Document:
    """What `mix fit` prints."""
    baselines = found.baselines()
    targets = {}
    for target in found.targets:
        targets[target.name] = {
            "law": target.candidate.law,
            "lambda": target.candidate.lam,
            **target.quality.as_dict(),
            "baselines": {n: q.as_dict() for n, q in baselines[target.name].items()},
            "tried": [{"law": c.law, "lambda": c.lam, "mae": mae} for c, mae in target.tried],
        }
    return {
        "fit": str(path),
        "data_hash": found.data_hash,
        "seed": found.seed,
        "law": found.law,
        "runs": len(found.mixtures),
        "domains": list(found.domains),
        "standing": found.standing,
        "unidentified": list(found.span.sentences),
        "uncalibrated": found.uncalibrated,
        "targets": targets,
        "mean": mean_of([target.quality for target in found.targets]).as_dict(),
        "notes": list(found.notes),
    }


def predictions(found: MixtureFit, mixtures: Floats, notes: Sequence[str]) -> Document:
    """What `mix predict` prints; `ok` is false where a mixture is refused."""
    said = predicted_of(found, mixtures)
    refused = [k for k, flags in enumerate(said.flags) if "unidentified" in flags]
    notes = list(notes)
    if refused:
        why = "; ".join(found.span.sentences)
        notes.append(f"no prediction for {len(refused)} mixtures, which move where {why}")
    return {
        "rows": [_row(found, said, k) for k in range(len(mixtures))],
        "level": LEVEL,
        "standing": found.standing,
        "uncalibrated": found.uncalibrated,
        "notes": notes,
        "ok": not refused,
    }


def optimum(
    found: MixtureFit, limits: Limits, best: Optimum, natural: Floats, spread: Spread,
    gain: Gain | None, tokens: Floats | None, budget: float | None, warnings: Sequence[str],
) -> Document:  # fmt: skip
    """What `mix optimise` prints."""
    said = predicted_of(found, np.vstack([best.mixture, natural]))
    epochs = None
    if tokens is not None and budget is not None:
        epochs = _by_domain(found, epochs_of(best.mixture, tokens, budget))
    return {
        "mixture": _by_domain(found, best.mixture),
        "objective": best.value,
        "certificate": {"convex": True, "gap": best.gap},
        "predicted": _row(found, said, 0),
        "natural": {"mixture": _by_domain(found, natural), **_row(found, said, 1)},
        "gain": gain and {"value": gain.value, "low": gain.low, "high": gain.high},
        "caps": _by_domain(found, limits.caps),
        "floors": _by_domain(found, limits.floors),
        "binding": [
            {"domain": name, "limit": limit} for name, limit in binding(found, limits, best.mixture)
        ],
        "epochs": epochs,
        "spread": {
            name: [float(low), float(high)]
            for name, low, high in zip(found.domains, spread.low, spread.high, strict=True)
        },
        "expected_regret": spread.regret,
        "regret_95": spread.regret_high,
        "resamples": spread.resamples,
        "flags": list(said.flags[0]),
        "warnings": list(warnings),
        "uncalibrated": found.uncalibrated,
    }


def critical(runs: Runs, found: Critical, base: float, law: str) -> Document:
    """What `mix critical` prints; `ok` is false without a single crossing."""
    notes = list(runs.notes)
    if found.share is None:
        notes.append(
            f"the law crosses the base's loss {len(found.crossings)} times: there is no one share"
        )
    elif not found.inside:
        notes.append("the share lies outside the trained ones: an extrapolation")
    grid = np.linspace(0, 1, len(found.curve))
    return {
        "share": found.share,
        "low": found.low,
        "high": found.high,
        "crossings": list(found.crossings),
        "without_crossing": found.without_crossing,
        "inside": found.inside,
        "domain": runs.domains[0],
        "target": runs.targets[0],
        "base": base,
        "law": law,
        "runs": [
            {"share": float(share), "loss": float(loss), "fitted": float(fitted),
             "left_out": float(left_out)}
            for share, loss, fitted, left_out in zip(
                runs.mixtures.values[:, 0], runs.losses[:, 0], found.fitted, found.left_out,
                strict=True,
            )
        ],
        "curve": [
            {"share": float(share), "loss": float(loss)}
            for share, loss in zip(grid, found.curve, strict=True)
        ],
        "notes": notes,
        "ok": found.share is not None,
    }  # fmt: skip


def transfer(found: MixtureFit, reports: Sequence[Transfer], path: Path | None) -> Document:
    """What `mix transfer` prints."""
    return {
        "fit": None if path is None else str(path),
        "runs": reports[0].line.runs,
        "targets": {
            report.name: {
                "intercept": report.line.intercept,
                "slope": report.line.slope,
                "deviation": report.line.deviation,
                "calibrated": _quality(report.calibrated),
                "mean_of_runs": _quality(report.mean),
                "uncalibrated": _quality(report.uncalibrated),
            }
            for report in reports
        },
        "notes": list(found.notes),
    }


def check(found: MixtureFit, runs: Runs, tolerances: Mapping[str, float | None]) -> Document:
    """What `mix check` prints; `ok` is false where the mean over targets exceeds a limit."""
    said = predicted_of(found, runs.mixtures.values)
    kept = np.array(["unidentified" not in flags for flags in said.flags])
    notes = list(runs.notes)
    targets: dict[str, Document] = {}
    qualities = []
    for k, target in enumerate(found.targets):
        if target.name not in runs.targets or not kept.any():
            continue
        y = runs.losses[kept, runs.targets.index(target.name)]
        own = quality(said.values[kept, k], y)
        low, high = said.low[kept, k], said.high[kept, k]
        covered = None if np.isnan(low).any() else float(((low <= y) & (y <= high)).mean())
        qualities.append(own)
        targets[target.name] = own.as_dict() | {"coverage": covered}
    if not qualities:
        notes.append("all runs move along directions that are not identified: nothing is compared")
    mean = _mean_of_targets(qualities, targets)
    exceeded = [
        name
        for name, limit in tolerances.items()
        if limit is not None and _beyond(name, mean.get(name), limit)
    ]
    return {
        "rows": int(kept.sum()),
        "refused": int((~kept).sum()),
        "outside_hull": sum("outside_hull" in flags for flags in said.flags),
        "level": LEVEL,
        "targets": targets,
        "mean": mean,
        "exceeded": exceeded,
        "uncalibrated": found.uncalibrated,
        "notes": notes,
        "ok": bool(qualities) and not exceeded,
    }


def design(
    names: Sequence[str],
    proposals: Sequence[Proposal],
    before: int,
    limits: Limits,
    kept: Floats | None,
    path: Path | None,
) -> Document:
    """What `mix design` prints."""
    needed = 2 * len(names)
    notes = []
    if before + len(proposals) < needed:
        said = f"{before + len(proposals)} runs of {len(names)} sources: {needed} make a prediction"
        notes.append(said)
    return {
        "mixtures": [dict(zip(names, p.mixture.tolist(), strict=True)) for p in proposals],
        "widths": [proposal.width for proposal in proposals],
        "runs": len(proposals),
        "runs_before": before,
        "needed": needed,
        "caps": dict(zip(names, limits.caps.tolist(), strict=True)),
        "subsample": None if kept is None else dict(zip(names, kept.tolist(), strict=True)),
        "output": None if path is None else str(path),
        "notes": notes,
    }


def _row(found: MixtureFit, said: Predictions, k: int) -> Document:
    return {
        "targets": {
            target.name: {
                "value": _number(said.values[k, place]),
                "low": _number(said.low[k, place]),
                "high": _number(said.high[k, place]),
            }
            for place, target in enumerate(found.targets)
        },
        "flags": list(said.flags[k]),
    }


def _mean_of_targets(qualities: list[Quality], targets: Mapping[str, Document]) -> Document:
    if not qualities:
        return dict.fromkeys(("mae", "mre", "spearman", "coverage"))
    coverages = [own["coverage"] for own in targets.values()]
    covered = None if None in coverages else float(np.mean(coverages))
    return mean_of(qualities).as_dict() | {"coverage": covered}


def _beyond(name: str, value: float | None, limit: float) -> bool:
    """A missing figure is beyond every limit."""
    if value is None:
        return True
    return value < limit if name in AT_LEAST else value > limit


def _by_domain(found: MixtureFit, values: Floats) -> dict[str, float]:
    return dict(zip(found.domains, values.tolist(), strict=True))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _quality(found: Quality | None) -> Document | None:
    return None if found is None else found.as_dict()
