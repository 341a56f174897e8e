"""Runs out of a checkout of DCLM's repository: exp_data/evals joined to exp_data/models.

The files are data of others: their number and size are bounded, and every value that is used is
checked. Runs at sizes that are no scale of the competition, and evals that name no model of the
checkout or no dataset, are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from evaluation.metrics import centred
from evaluation.suite import Suite, load_suite
from evaluation.transfer.runs import Recipe, Run, family_of
from submissions.failures import Failure
from training_recipes.scales import load_scale, scale_names

METRIC_VERSION = "v2"
MOST_FILES, MOST_BYTES, LONGEST_TEXT = 5_000, 4 << 20, 200
ALTERED = ("avg=", "rho1", "arcade100k")  # in an eval's file name
MADE_AT = "creation_date"
RECIPE = ("lr", "wd", "cd", "warmup", "global_bs", "z_loss")  # hyperparameters that scales fix
# What `downstream_perpexity` (DCLM's spelling) calls the files of three tasks of CORE.
LOSS_NAMES = {
    "hellaswag_zeroshot": "hellaswag",
    "jeopardy": "jeopardy_all",
    "winograd": "winograd_wsc",
}


@dataclass(frozen=True)
class PublishedEval:
    """An eval JSON joined to its model's; `accuracies` are shares by the task's label."""

    name: str  # of the eval's file
    evaluation: str  # its uuid
    dataset: str
    scale: str
    seed: int | None
    made_at: str  # as DCLM writes it: 2024_01_30-00_20_14; empty where it does not
    altered: bool  # weights averaged, losses masked or another tokenizer
    accuracies: dict[str, float]
    recipe: dict[str, float]  # what of the model's hyperparameters a scale fixes too
    loss: float | None


def runs_of_checkout(checkout: Path) -> list[Run]:
    """All runs at the competition's scales with a CORE, by file name.

    Raises `checkout_invalid` where the folders or a value in them are not as DCLM writes them.
    """
    suite = load_suite("full")
    found = []
    for one in evals_of_checkout(checkout):
        core = core_of(suite, one.accuracies)
        if core is not None:
            recipe = Recipe(one.recipe["lr"], one.recipe["wd"])
            found.append(
                Run(
                    one.evaluation, one.dataset, family_of(one.dataset), one.scale, recipe,
                    one.seed, one.altered, core, one.loss,
                )
            )  # fmt: skip
    return found


def evals_of_checkout(checkout: Path) -> list[PublishedEval]:
    """Every eval whose model is known and trained at one of the competition's scales.

    Raises `checkout_invalid` like `runs_of_checkout`, and where there is none.
    """
    models = {_text(path, model, "uuid"): model for path, model in _documents(checkout, "models")}
    suite = load_suite("full")
    scales = {(scale.model.params, scale.multiplier): name for name, scale in _scales()}
    joined = [
        _joined(path, document, models[uuid], suite, scales)
        for path, document in _documents(checkout, "evals")
        if (uuid := str(document.get("model_uuid"))) in models
    ]
    found = [one for one in joined if one is not None]
    if not found:
        raise Failure("checkout_invalid", f"{checkout}: none of its evals names one of its models")
    return found


def accuracies(path: Path, document: Mapping[str, Any]) -> dict[str, float]:
    """The accuracies of an eval JSON, by label; raises `checkout_invalid`."""
    metrics = document.get("eval_metrics")
    values = metrics.get("icl") if isinstance(metrics, dict) else None
    if not isinstance(values, dict):
        raise Failure("checkout_invalid", f"{path.name}: eval_metrics has no object icl")
    return {label: _number(path, label, value, 0, 1) for label, value in values.items()}


def core_of(suite: Suite, values: Mapping[str, float]) -> float | None:
    """CORE of accuracies by label; None where a task of it is missing."""
    tasks = [task for task in suite.tasks if task.core]
    if not all(task.label in values for task in tasks):
        return None
    centres = (centred(task, values[task.label], METRIC_VERSION) for task in tasks)
    return math.fsum(centres) / len(tasks)


def tasks_of_checkout(checkout: Path) -> dict[str, dict[str, float]]:
    """The accuracies of every eval, by the eval's uuid and the task's label."""
    return {
        str(document.get("uuid")): accuracies(path, document)
        for path, document in _documents(checkout, "evals")
    }


def _joined(
    path: Path,
    document: Mapping[str, Any],
    model: Mapping[str, Any],
    suite: Suite,
    scales: Mapping[tuple[int, int], str],
) -> PublishedEval | None:
    """None at a size that is no scale, and without the name of a dataset."""
    chosen = model.get("hyperparameters")
    if not isinstance(chosen, dict):
        raise Failure("checkout_invalid", f"{path.name}: its model has no hyperparameters")
    numbers = {
        name: _number(path, name, chosen.get(name), 0, 1e15)
        for name in ("params", "chinchilla_multiplier", "lr", "wd")
    }
    params, multiplier = numbers["params"], numbers["chinchilla_multiplier"]
    whole = params == int(params) and multiplier == int(multiplier)
    scale = scales.get((int(params), int(multiplier))) if whole else None
    values = accuracies(path, document)
    seed = chosen.get("seed")
    if scale is None or not model.get("dataset_name"):
        return None
    recipe = {
        name: _number(path, name, chosen[name], 0, 1e15)
        for name in RECIPE
        if chosen.get(name) is not None
    }
    return PublishedEval(
        name=path.name,
        evaluation=_text(path, document, "uuid"),
        dataset=_text(path, model, "dataset_name"),
        scale=scale,
        seed=seed if isinstance(seed, int) and 0 <= seed < 2**63 else None,
        made_at=str(document.get(MADE_AT) or "")[:40],
        altered=any(word in path.name for word in ALTERED),
        accuracies=values,
        recipe=recipe,
        loss=_loss(path, document, suite),
    )


def _loss(path: Path, document: Mapping[str, Any], suite: Suite) -> float | None:
    losses = document["eval_metrics"].get("downstream_perpexity")
    if not isinstance(losses, dict):
        return None
    core = [task.label for task in suite.tasks if task.core]
    names = {LOSS_NAMES.get(label, label) for label in core}
    if not names <= set(losses):
        return None
    return fmean(_number(path, name, losses[name], 0, 1e6) for name in sorted(names))


def _documents(checkout: Path, kind: str) -> list[tuple[Path, dict[str, Any]]]:
    folder = checkout / "exp_data" / kind
    if not folder.is_dir():
        raise Failure("checkout_invalid", f"{checkout} has no folder exp_data/{kind}")
    paths = sorted(folder.glob("*.json"))
    if len(paths) > MOST_FILES:
        raise Failure("checkout_invalid", f"{folder} holds more than {MOST_FILES} files")
    return [(path, _document(path)) for path in paths]


def _document(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Failure("checkout_invalid", f"{path.name} is larger than {MOST_BYTES} bytes")
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Failure("checkout_invalid", f"{path.name} cannot be read as JSON") from error
    if not isinstance(document, dict):
        raise Failure("checkout_invalid", f"{path.name} does not hold a JSON object")
    return document


def _number(path: Path, name: str, value: Any, least: float, most: float) -> float:
    right = isinstance(value, int | float) and not isinstance(value, bool)
    if not right or not least <= value <= most:  # a NaN lies between no two numbers
        raise Failure(
            "checkout_invalid", f"{path.name}: {name} is {value!r}, no number {least:g}–{most:g}"
        )
    return float(value)


def _text(path: Path, document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise Failure("checkout_invalid", f"{path.name} has no text {key}")
    if len(value) > LONGEST_TEXT or not value.isprintable():
        raise Failure("checkout_invalid", f"{path.name}: {key} is too long or not printable")
    return value


def _scales() -> list[tuple[str, Any]]:
    return [(name, load_scale(name)) for name in scale_names()]
