"""Which jobs go to a scheduler and what they ask of it: the file that `CRUCIBLE_BACKENDS` names.

The first `[[slurm.jobs]]` whose stages and scales fit decides; a job that none fits runs on this
machine. The options are sbatch's own, so that there is no second vocabulary to learn.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from training_recipes.scales import scale_names

TORCHRUN_STAGES = ("train",)  # the stages that know what to do as several processes


@dataclass(frozen=True)
class Rule:
    """What jobs of these stages and scales get; an empty list of either means all."""

    stages: tuple[str, ...] = ()
    scales: tuple[str, ...] = ()
    options: tuple[str, ...] = ()  # sbatch's
    processes_per_node: int = 0  # torchrun's, on every node of the job; 0: one plain process
    environment: dict[str, str] = field(default_factory=dict)

    def fits(self, stage: str, scale: str) -> bool:
        """Whether this rule is about such a job."""
        return (not self.stages or stage in self.stages) and (
            not self.scales or scale in self.scales
        )


@dataclass(frozen=True)
class Rules:
    """The whole file."""

    slots: int = 0  # jobs that are handed to the scheduler at once, those that wait there included
    jobs: tuple[Rule, ...] = ()

    def rule_for(self, stage: str, scale: str) -> Rule | None:
        """The first rule that fits; None: the job runs on this machine."""
        return next((rule for rule in self.jobs if rule.fits(stage, scale)), None)


def rules_load(path: str) -> Rules:
    """The rules of that file, no rules for no file; `ValueError` says what is wrong with it."""
    if not path:
        return Rules()
    try:
        return _read(path, Path(path).stat().st_mtime_ns)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error


@lru_cache(maxsize=8)
def _read(path: str, changed: int) -> Rules:
    """Read anew when the file has changed."""
    try:
        document = tomllib.loads(Path(path).read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from error
    _no_others(path, document, {"slurm"})
    slurm = document.get("slurm", {})
    _no_others(f"{path}, [slurm]", slurm, {"slots", "jobs"})
    slots = slurm.get("slots", 100)
    if not isinstance(slots, int) or slots < 1:
        raise ValueError(f"{path}: slots must be a number above 0")
    return Rules(slots, tuple(_rule(path, number, entry) for number, entry in
                              enumerate(slurm.get("jobs", []), start=1)))  # fmt: skip


def _rule(path: str, number: int, entry: dict[str, Any]) -> Rule:
    from crucible.jobs.models import Stage  # tables are not there yet when this is imported

    place = f"{path}, [[slurm.jobs]] number {number}"
    lists = ("stages", "scales", "options")
    _no_others(place, entry, {*lists, "processes_per_node", "environment"})
    for name in lists:
        value = entry.get(name, [])
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise ValueError(f"{place}: {name} must be a list of strings")
    processes = entry.get("processes_per_node", 0)
    if not isinstance(processes, int) or processes < 0:
        raise ValueError(f"{place}: processes_per_node must be a number")
    stages = entry.get("stages", [])
    _known(place, "stage", stages, list(Stage))
    _known(place, "scale", entry.get("scales", []), scale_names())
    if processes and (not stages or set(stages) - set(TORCHRUN_STAGES)):
        raise ValueError(f"{place}: processes_per_node is for the stage train alone")
    environment = {name: str(value) for name, value in entry.get("environment", {}).items()}
    words = {name: tuple(entry.get(name, [])) for name in lists}
    return Rule(**words, processes_per_node=processes, environment=environment)


def _known(place: str, what: str, words: list[str], known: Sequence[str]) -> None:
    unknown = [word for word in words if word not in known]
    if unknown:
        raise ValueError(f"{place}: there is no {what} {unknown[0]!r}, only {', '.join(known)}")


def _no_others(place: str, table: dict[str, Any], known: set[str]) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise ValueError(f"{place}: unknown name {unknown[0]!r}")
