"""Which jobs go to a scheduler and what they ask of it: the file that `CRUCIBLE_BACKENDS` names.

The first `[[slurm.jobs]]` or `[[ray.jobs]]` whose stages and scales fit decides; a job that none
fits runs on this machine, within the first `[[local.limits]]` that fits. What a job asks for is
said in the scheduler's own words, so that there is no second vocabulary to learn.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import structs

from crucible.jobs.backends.local_limits import LimitRule, limit_values
from submissions.codec import MisfitError, convert_or_misfit
from submissions.states import Stage
from training_recipes.scales import canonical_name, scale_names

TORCHRUN_STAGES = (Stage.TRAIN,)  # the stages that know what to do as several processes
SLOTS = 100  # where the table does not say
Slots = Annotated[int, msgspec.Meta(ge=1)]
Amount = Annotated[float, msgspec.Meta(ge=0, lt=1e15)] | None  # 0: no limit; None: the default


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
    """The whole file: each scheduler's table, in the file's order, and the limits of local jobs."""

    tables: dict[str, Table] = field(default_factory=dict)
    limits: tuple[LimitRule, ...] = ()

    def of(self, scheduler: str) -> Table:
        """That scheduler's table, an empty one where the file has none."""
        return self.tables.get(scheduler, Table())

    def scheduler_for(self, stage: str, scale: str) -> str | None:
        """Whose table has the first rule that fits; None: the job runs on this machine."""
        return next((name for name, t in self.tables.items() if t.rule_for(stage, scale)), None)


class _Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which jobs an entry of the file is about."""

    stages: tuple[str, ...] = ()
    scales: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_known("stage", self.stages, list(Stage))
        _require_known("scale", _canonical(self.scales), scale_names())


class _JobRule(_Selection, frozen=True, kw_only=True):
    """What `[[slurm.jobs]]` and `[[ray.jobs]]` have in common."""

    processes_per_node: Annotated[int, msgspec.Meta(ge=0)] = 0
    environment: dict[str, str | int | float] = {}

    def __post_init__(self) -> None:
        _Selection.__post_init__(self)
        if self.processes_per_node and (not self.stages or set(self.stages) - set(TORCHRUN_STAGES)):
            raise ValueError("processes_per_node is for the stage train alone")


class SlurmRule(_JobRule, frozen=True, kw_only=True):
    """An entry of `[[slurm.jobs]]`."""

    options: tuple[str, ...] = ()


class RayRule(_JobRule, frozen=True, kw_only=True):
    """An entry of `[[ray.jobs]]`."""

    resources: dict[str, Annotated[float, msgspec.Meta(ge=0)]] = {}


class SlurmTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[slurm]` as it stands in the file."""

    slots: Slots = SLOTS
    jobs: tuple[SlurmRule, ...] = ()


class RayTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[ray]` as it stands in the file."""

    slots: Slots = SLOTS
    jobs: tuple[RayRule, ...] = ()
    address: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError('address must be that of the head, as "http://head:8265"')


class LimitsEntry(_Selection, frozen=True, kw_only=True):
    """An entry of `[[local.limits]]`."""

    memory_gib: Amount = None
    cpu_hours: Amount = None
    wall_hours: Amount = None
    open_files: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] | None = None
    file_gib: Amount = None
    disk_gib: Amount = None


class LocalTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[local]` as it stands in the file."""

    limits: tuple[LimitsEntry, ...] = ()


class RulesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file as it is written."""

    slurm: SlurmTable | None = None
    ray: RayTable | None = None
    local: LocalTable = LocalTable()


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
        file = convert_or_misfit(RulesFile, document)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from error
    except MisfitError as misfit:
        raise ValueError(misfit.message_for(path)) from None
    tables = {name: _table(getattr(file, name)) for name in document if name != "local"}
    return Rules(tables, tuple(map(_limit_rule, file.local.limits)))


def _limit_rule(entry: LimitsEntry) -> LimitRule:
    amounts = structs.asdict(entry)
    stages, scales = amounts.pop("stages"), _canonical(amounts.pop("scales"))
    return LimitRule(stages, scales, limit_values(amounts))


def _table(table: SlurmTable | RayTable) -> Table:
    jobs = tuple(
        Rule(**structs.asdict(job) | _as_text(job.environment) | {"scales": _canonical(job.scales)})
        for job in table.jobs
    )
    address = table.address.rstrip("/") if isinstance(table, RayTable) else ""
    return Table(table.slots, jobs, address)


def _canonical(scales: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(canonical_name, scales))


def _as_text(environment: Mapping[str, str | int | float]) -> dict[str, dict[str, str]]:
    return {"environment": {name: str(value) for name, value in environment.items()}}


def _require_known(what: str, words: Sequence[str], known: Sequence[str]) -> None:
    for word in words:
        if word not in known:
            raise ValueError(f"there is no {what} {word!r}, only {', '.join(known)}")
