"""Writes published.json from a checkout of DCLM's repository, the same every time.

    python -m evaluation.transfer.build_published CHECKOUT

Runs come from exp_data. Repeats with another seed come from assets/DCLM_model_database.csv, which
knows more of them: rows whose names differ in the seed, or in it and the suffix of the
implementation (`_swiglutorch`), alone. Rows of one name with all answers equal are copies of one
result and count once.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evaluation.suite import load_suite
from evaluation.transfer.checkout import ALTERED, METRIC_VERSION, core_of, runs_of_checkout
from evaluation.transfer.published import FILE, Repeats
from training_recipes.scales import load_scale, scale_names

# A run's name: the dataset, then the model and hyperparameters in one fixed order.
NAME = re.compile(
    r"evaluation_(?P<dataset>.+)-(?P<model>open_lm_\w+)-warm=(?P<recipe>.+?)-mult=(?P<mult>[\dp]+)"
    r"-seed=(?P<seed>\d+)-tokens=(?P<tokens>\d+)_heavy\.json"
)


def document_of(checkout: Path) -> dict[str, Any]:
    """What published.json holds."""
    return {
        "source": {
            "repository": "https://github.com/mlfoundations/dclm",
            "commit": _commit(checkout),
            "files": ["exp_data/evals", "exp_data/models", "assets/DCLM_model_database.csv"],
            "made_by": "python -m evaluation.transfer.build_published CHECKOUT",
            "metric_version": METRIC_VERSION,
        },
        "runs": [
            {
                "eval": run.evaluation,
                "dataset": run.dataset,
                "scale": run.scale,
                "lr": run.recipe.lr,
                "weight_decay": run.recipe.weight_decay,
                "seed": run.seed,
                "altered": run.altered,
                "core": round(run.core, 9),
                "loss": None if run.loss is None else round(run.loss, 6),
            }
            for run in runs_of_checkout(checkout)
        ],
        "repeats": [
            {"scale": found.scale, "dataset": found.dataset, "cores": list(found.cores)}
            for found in repeats_of(checkout / "assets" / "DCLM_model_database.csv")
        ],
    }


def repeats_of(database: Path) -> list[Repeats]:
    """Runs that differ in their seed, by scale and dataset."""
    groups: dict[tuple[str, str, str, str], dict[int, float]] = defaultdict(dict)
    for scale, found, core in _named_rows(database):
        model = found["model"].removesuffix("_swiglutorch")
        key = (scale, found["dataset"], model, found["recipe"])
        groups[key][int(found["seed"])] = round(core, 9)
    return [
        Repeats(scale, dataset, tuple(core for _, core in sorted(seeds.items())))
        for (scale, dataset, *_), seeds in sorted(groups.items())
        if len(set(seeds.values())) > 1
    ]


def _named_rows(database: Path) -> Iterator[tuple[str, re.Match[str], float]]:
    suite = load_suite("full")
    tokens = {load_scale(name).tokens: name for name in scale_names()}
    with database.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found = NAME.fullmatch(Path(row["Model JSON"]).name)
            if found is None or any(word in row["Model JSON"] for word in ALTERED):
                continue
            scale = tokens.get(int(float(row["tokens"])))
            values = {
                task.label: float(row[task.label])
                for task in suite.tasks
                if task.core and row.get(task.label)
            }
            core = core_of(suite, values)
            if scale is not None and core is not None:
                yield scale, found, core


def _commit(checkout: Path) -> str:
    done = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def write(document: dict[str, Any], path: Path) -> None:
    """One line a run, so that a change can be read."""
    parts = [f'  "source": {json.dumps(document["source"])}']
    for name in ("runs", "repeats"):
        rows = ",\n".join(f"    {json.dumps(row)}" for row in document[name])
        parts.append(f'  "{name}": [\n{rows}\n  ]')
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    write(document_of(Path(sys.argv[1])), FILE)
