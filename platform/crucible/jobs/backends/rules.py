"""Which jobs go to a scheduler and what they ask of it: the file that `CRUCIBLE_BACKENDS` names.

The first `[[slurm.jobs]]` or `[[ray.jobs]]` whose stages and scales fit decides; a job that none
fits runs on this machine. What a job asks for is said in the scheduler's own words, so that there
is no second vocabulary to learn.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from submissions.states import Stage
from training_recipes.scales import scale_names

TORCHRUN_STAGES = ("train",)  # the stages that know what to do as several processes
SLOTS = 100  # where the table does not say


@dataclass(frozen=True)
class Rule:
    """What jobs of these stages and scales get; an empty list of either means all."""

    stages: tuple[str, ...] = ()
    scales: tuple[str, ...] = ()
    options: tuple[str, ...] = ()  # sbatch's
    resources: dict[str, float] = field(default_factory=dict)  # Ray's, by name
    processes_per_node: int = 0  # torchrun's, on every node of the job; 0: one plain process
    environment: dict[str, str] = field(default_factory=dict)

    def fits(self, stage: str, scale: str) -> bool:
        """Whether this rule is about such a job."""
        return (not self.stages or stage in self.stages) and (
            not self.scales or scale in self.scales
        )


@dataclass(frozen=True)
class Table:
    """What the file says about one scheduler."""

    slots: int = 0  # jobs that are handed to the scheduler at once, those that wait there included
    jobs: tuple[Rule, ...] = ()
    address: str = ""  # of Ray's head; Slurm's commands know theirs

    def rule_for(self, stage: str, scale: str) -> Rule | None:
        """The first rule that fits."""
        return next((rule for rule in self.jobs if rule.fits(stage, scale)), None)


@dataclass(frozen=True)
class Rules:
    """The whole file: each scheduler's table, in the file's order."""

    tables: dict[str, Table] = field(default_factory=dict)

    def of(self, scheduler: str) -> Table:
        """That scheduler's table, an empty one where the file has none."""
        return self.tables.get(scheduler, Table())

    def scheduler_for(self, stage: str, scale: str) -> str | None:
        """Whose table has the first rule that fits; None: the job runs on this machine."""
        return next((name for name, t in self.tables.items() if t.rule_for(stage, scale)), None)


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
    _no_others(path, document, {"slurm", "ray"})
    return Rules({name: _table(path, name, table) for name, table in document.items()})


def _table(path: str, name: str, table: dict[str, Any]) -> Table:
    _no_others(f"{path}, [{name}]", table, {"slots", "jobs"} | ({"address"} & _own(name)))
    slots = table.get("slots", SLOTS)
    if not isinstance(slots, int) or slots < 1:
        raise ValueError(f"{path}: slots must be a number above 0")
    address = table.get("address", "")
    if name == "ray" and not _is_address(address):
        raise ValueError(f'{path}, [ray]: address must be that of the head, as "http://head:8265"')
    entries = enumerate(table.get("jobs", []), start=1)
    jobs = tuple(_rule(path, name, number, entry) for number, entry in entries)
    return Table(slots, jobs, address.rstrip("/"))


def _own(name: str) -> set[str]:
    """The names that this scheduler's table alone knows."""
    return {"address", "resources"} if name == "ray" else {"options"}


def _is_address(address: Any) -> bool:
    parts = urlsplit(address if isinstance(address, str) else "")
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _rule(path: str, name: str, number: int, entry: dict[str, Any]) -> Rule:
    place = f"{path}, [[{name}.jobs]] number {number}"
    lists = ("stages", "scales", "options")
    common = {"stages", "scales", "processes_per_node", "environment"}
    _no_others(place, entry, common | ({"options", "resources"} & _own(name)))
    for word in lists:
        value = entry.get(word, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ValueError(f"{place}: {word} must be a list of strings")
    processes = entry.get("processes_per_node", 0)
    if not isinstance(processes, int) or processes < 0:
        raise ValueError(f"{place}: processes_per_node must be a number")
    stages = entry.get("stages", [])
    _known(place, "stage", stages, list(Stage))
    _known(place, "scale", entry.get("scales", []), scale_names())
    if processes and (not stages or set(stages) - set(TORCHRUN_STAGES)):
        raise ValueError(f"{place}: processes_per_node is for the stage train alone")
    environment = {key: str(value) for key, value in entry.get("environment", {}).items()}
    words = {word: tuple(entry.get(word, [])) for word in lists}
    return Rule(**words, resources=_resources(place, entry), processes_per_node=processes,
                environment=environment)  # fmt: skip


def _resources(place: str, entry: dict[str, Any]) -> dict[str, float]:
    resources = entry.get("resources", {})
    right = isinstance(resources, dict) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
        for value in resources.values()
    )
    if not right:
        raise ValueError(f"{place}: resources must be numbers by name, as {{ num_gpus = 1 }}")
    return dict(resources)


def _known(place: str, what: str, words: list[str], known: Sequence[str]) -> None:
    unknown = [word for word in words if word not in known]
    if unknown:
        raise ValueError(f"{place}: there is no {what} {unknown[0]!r}, only {', '.join(known)}")


def _no_others(place: str, table: dict[str, Any], known: set[str]) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise ValueError(f"{place}: unknown name {unknown[0]!r}")
