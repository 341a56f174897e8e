"""The limits of jobs on the site's machine: a default by stage and scale, and what the file says.

The defaults are far above what an honest dataset needs, on a machine twenty times slower than the
one that docs/cost.md was measured on, and far below what would bring the machine down.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from submissions.limits import Limits
from submissions.states import Stage
from training_recipes.cost import STATE_BYTES, WEIGHT_BYTES, cost_of, storage_of, text_bytes
from training_recipes.scales import load_scale

GIB, HOUR = 2**30, 3600.0
TIMES_READ = 50  # a dataset may hold this many times the text that its scale reads
TEXT_A_SECOND = 5e5  # bytes a CPU second: a fortieth of what one core tokenises
SLOWER = 50  # a core of a busy machine, against the one that docs/cost.md was measured on
SLOWER_GPU = 10
ROW_BYTES = 16  # of memory for each row of a dataset: its place in the shuffled order, twice
FILES = 4096
# The file's names, the field of `Limits` that each sets, and its unit as a whole number or not.
NAMES: dict[str, tuple[str, int | float]] = {
    "memory_gib": ("memory_bytes", GIB),
    "cpu_hours": ("cpu_seconds", HOUR),
    "wall_hours": ("wall_seconds", HOUR),
    "open_files": ("open_files", 1),
    "file_gib": ("file_bytes", GIB),
    "disk_gib": ("disk_bytes", GIB),
}


@dataclass(frozen=True)
class LimitRule:
    """One `[[local.limits]]`: what jobs of these stages and scales may use; empty means all."""

    stages: tuple[str, ...]
    scales: tuple[str, ...]
    values: dict[str, float | None]  # by field of Limits; None: no limit

    def fits(self, stage: str, scale: str) -> bool:
        """Whether this rule is about such a job."""
        return (not self.stages or stage in self.stages) and (
            not self.scales or scale in self.scales
        )


def limits_of(stage: str, scale: str, rules: tuple[LimitRule, ...] = ()) -> Limits:
    """The default, changed by the first rule that fits."""
    found = _default(stage, scale)
    rule = next((rule for rule in rules if rule.fits(stage, scale)), None)
    values: dict[str, Any] = rule.values if rule else {}
    return structs.replace(found, **values)


def limit_values(amounts: Mapping[str, float | None]) -> dict[str, float | None]:
    """The fields of `Limits` that the amounts of an entry set: None leaves one, 0 lifts it."""
    values: dict[str, float | None] = {}
    for name, amount in amounts.items():
        field, unit = NAMES[name]
        if amount is not None:
            values[field] = type(unit)(amount * unit) if amount else None
    return values


def _default(stage: str, name: str) -> Limits:
    """What jobs may use where the file says nothing."""
    scale, cores = load_scale(name), os.cpu_count() or 1
    storage = storage_of(scale)
    text = TIMES_READ * text_bytes(scale)
    data_cpu = HOUR + text / TEXT_A_SECOND
    data_memory = 2 * GIB + cores * GIB // 2 + TIMES_READ * ROW_BYTES * scale.rows
    params = scale.model.params_trained
    cost = cost_of(scale)
    slower = SLOWER if cost.mfu is None else SLOWER_GPU
    train = HOUR + slower * cost.train.seconds
    evaluate = HOUR + slower * max(work.seconds for work in cost.evaluate.values())
    rows = TIMES_READ * (storage.scratch + storage.rows)
    memory, cpu, wall, disk = {
        Stage.VALIDATE: (data_memory, data_cpu, 4 * data_cpu, 2 * GIB + text / 10),
        Stage.SCAN: (data_memory, data_cpu, 4 * data_cpu, 4 * GIB + text / 10),
        Stage.PROFILE: (data_memory, data_cpu, 4 * data_cpu, 4 * GIB + 4 * text),
        Stage.TOKENIZE: (data_memory, data_cpu, 4 * data_cpu, 2 * GIB + 2 * rows),
        Stage.TRAIN: (8 * GIB + 4 * STATE_BYTES * params, cores * train, train,
                      4 * GIB + 2 * (storage.states + storage.model)),
        Stage.EVALUATE: (8 * GIB + 4 * WEIGHT_BYTES * params, cores * evaluate, evaluate, 8 * GIB),
        Stage.SCORE: (4 * GIB, HOUR, HOUR, 2 * GIB),
    }[Stage(stage)]  # fmt: skip
    return Limits(int(memory), cpu, wall, FILES, int(disk), int(disk))
