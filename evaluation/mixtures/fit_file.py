"""A fit as a file: everything that predictions need, and the same bytes for the same input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson

from evaluation.mixtures.fit import Calibration, MixtureFit, Pool, TargetFit
from evaluation.mixtures.json_input import array, field, read_json
from evaluation.mixtures.laws import LAWS
from evaluation.mixtures.selection import CANDIDATES, Candidate
from evaluation.mixtures.table import MAX_COLUMNS, MAX_ROWS
from submissions.failures import Failure

MAX_LOSS = 1e6  # nats
FORMAT = "crucible mixture fit 1"


def write_fit(fit: MixtureFit, path: Path) -> None:
    """Writes the file; raises `disk_full` and the like as the operating system does."""
    content = orjson.dumps(_document(fit), option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def read_fit(path: Path) -> MixtureFit:
    """Reads what `write_fit` wrote. Raises `fit_invalid` for anything else."""
    document = read_json(path, "fit_invalid")
    where = path.name
    if field(document, "format", str, where) != FORMAT:
        raise Failure("fit_invalid", f"{where} is not a fit of this version ({FORMAT})")
    domains = _names(document, "domains", where)
    names = _names(document, "target_names", where)
    law = field(document, "law", str, where)
    if law not in CANDIDATES:
        raise Failure("fit_invalid", f'{where} names the law "{law[:40]}"')
    runs = field(document, "runs", dict, where)
    count = len(field(runs, "mixtures", list, where))
    if not 1 <= count <= MAX_ROWS:
        raise Failure("fit_invalid", f"{where} holds {count} runs")
    mixtures = array(runs["mixtures"], (count, len(domains)), f"{where}: mixtures")
    if (mixtures < 0).any() or (np.abs(mixtures.sum(axis=1) - 1) > 1e-6).any():
        raise Failure("fit_invalid", f"{where}: a run's proportions do not sum to 1")
    losses = array(runs.get("losses"), (count, len(names)), f"{where}: losses")
    if (losses <= 0).any() or (losses > MAX_LOSS).any():
        raise Failure("fit_invalid", f"{where}: a loss is not above 0")
    seed = field(document, "seed", int, where)
    if seed < 0:
        raise Failure("fit_invalid", f"{where}: the seed is negative")
    named = array(runs.get("folds"), (count,), f"{where}: folds")
    folds = named.clip(-1, count).astype(np.int64)
    if (folds < 0).any() or len(np.unique(folds)) != folds.max() + 1:
        raise Failure("fit_invalid", f"{where}: the folds are not numbered from 0")
    targets = field(document, "targets", dict, where)
    uncalibrated = document.get("uncalibrated")
    if uncalibrated is not None and not isinstance(uncalibrated, str):
        raise Failure("fit_invalid", f'{where} has no proper "uncalibrated"')
    return MixtureFit(
        field(document, "data_hash", str, where),
        seed,
        law,
        domains,
        mixtures,
        folds,
        tuple(
            _target(targets.get(name), name, losses[:, k], len(domains), int(folds.max()) + 1)
            for k, name in enumerate(names)
        ),
        tuple(str(note) for note in field(document, "notes", list, where)),
        uncalibrated,
        _pool(document.get("pool"), len(domains)),
    )


def _document(fit: MixtureFit) -> dict[str, Any]:
    pool = fit.pool
    return {
        "format": FORMAT,
        "data_hash": fit.data_hash,
        "seed": fit.seed,
        "law": fit.law,
        "standing": fit.standing,
        "domains": list(fit.domains),
        "target_names": [target.name for target in fit.targets],
        "targets": {target.name: _target_document(target) for target in fit.targets},
        "runs": {
            "mixtures": fit.mixtures.tolist(),
            "losses": np.column_stack([target.losses for target in fit.targets]).tolist(),
            "folds": fit.folds.tolist(),
        },
        "notes": list(fit.notes),
        "uncalibrated": fit.uncalibrated,
        "pool": pool and {"tokens": pool.tokens.tolist(), "budget": pool.budget},
    }


def _target_document(target: TargetFit) -> dict[str, Any]:
    line = target.calibration
    return {
        "law": target.candidate.law,
        "lambda": target.candidate.lam,
        "parameters": target.theta.tolist(),
        "fold_parameters": target.fold_thetas.tolist(),
        "out_of_fold_residuals": target.residuals.tolist(),
        "tried": [{"law": c.law, "lambda": c.lam, "mae": mae} for c, mae in target.tried],
        "calibration": line
        and {
            "slope": line.slope,
            "intercept": line.intercept,
            "runs": line.runs,
            "centre": line.centre,
            "spread": line.spread,
            "deviation": line.deviation,
        },
    }


def _target(document: Any, name: str, losses: Any, domains: int, folds: int) -> TargetFit:
    where = f"the target {name}"
    law = field(document, "law", str, where)
    if law not in LAWS:
        raise Failure("fit_invalid", f'{where} names the law "{law[:40]}"')
    size = LAWS[law].count(domains)
    theta = array(document.get("parameters"), (size,), f"{where}: parameters")
    parts = array(document.get("fold_parameters"), (folds, size), f"{where}: fold_parameters")
    box = LAWS[law].box(domains)
    every = np.vstack([theta, parts])
    if ((every < box.lower) | (every > box.upper)).any() or every[:, 0].max() > MAX_LOSS:
        raise Failure("fit_invalid", f"{where} has parameters that no fit gives")
    tried = [
        (
            Candidate(field(entry, "law", str, where), float(field(entry, "lambda", float, where))),
            float(field(entry, "mae", float, where)),
        )
        for entry in field(document, "tried", list, where)
    ]
    return TargetFit(
        name,
        Candidate(law, float(field(document, "lambda", float, where))),
        theta,
        parts,
        array(document.get("out_of_fold_residuals"), losses.shape, f"{where}: residuals"),
        losses,
        tuple(tried),
        _calibration(document.get("calibration"), where),
    )


def _calibration(document: Any, where: str) -> Calibration | None:
    if document is None:
        return None
    keys = ("slope", "intercept", "centre", "spread")
    slope, intercept, centre, spread = array(
        [field(document, key, (int, float), where) for key in keys], (4,), where
    ).tolist()
    deviation = document.get("deviation")
    if deviation is not None:
        deviation = float(array([deviation], (1,), where)[0])
    runs = field(document, "runs", int, where)
    if spread < 0 or runs < (1 if deviation is None else 3):
        raise Failure("fit_invalid", f"{where} has a calibration that no runs give")
    return Calibration(slope, intercept, runs, centre, spread, deviation)


def _pool(document: Any, domains: int) -> Pool | None:
    if document is None:
        return None
    budget = array([field(document, "budget", (int, float), "pool")], (1,), "the pool's budget")[0]
    return Pool(array(document.get("tokens"), (domains,), "the pool's tokens"), float(budget))


def _names(document: Any, key: str, where: str) -> tuple[str, ...]:
    names = field(document, key, list, where)
    if not 1 <= len(names) <= MAX_COLUMNS or not all(isinstance(name, str) for name in names):
        raise Failure("fit_invalid", f'{where} has no proper "{key}"')
    if len(set(names)) < len(names):
        raise Failure("fit_invalid", f'{where} names one of "{key}" twice')
    return tuple(names)
