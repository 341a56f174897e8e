"""The form of a suite file, those that come with Crucible and an organiser's own.

A mistake in it would be a wrong question to every model, so nothing is guessed. Impossible values
and repeated labels are refused with the task's place in the file; so are unknown keys in your own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from submissions.codec import MisfitError, decode, decode_or_misfit, read
from submissions.failures import Failure

METRIC_VERSIONS = ("v1", "v2")
SUITE_NAMES = ("smoke", "core", "full")
TYPES = ("multiple_choice", "schema", "language_modeling", "generation_task_with_answers")
# What an LLM Foundry task configuration may hold beyond label, type, shots and file.
SETTINGS = (
    "continuation_delimiter",
    "question_prelimiter",
    "cot_delimiter",
    "early_stopping_criteria",
    "max_seq_len",
    "batch_size",
)
NAME = re.compile(r"[a-z][a-z0-9_-]{0,19}")
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
SHA1 = re.compile(r"[0-9a-f]{40}")
MAX_BYTES = 4 * 2**20

Words = Annotated[str, msgspec.Meta(min_length=1)]
FromOne = Annotated[int, msgspec.Meta(ge=1)]


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of `tasks`; evaluation.suite.Task says what each means."""

    label: str
    category: Words
    type: str
    shots: Annotated[int, msgspec.Meta(ge=0)]
    file: str
    sha1: str
    baselines: dict[str, int | float]  # as written: they are hashed
    rows: FromOne | None = None
    has_categories: bool = False
    core: bool = False
    continuation_delimiter: str | UnsetType = UNSET
    question_prelimiter: str | UnsetType = UNSET
    cot_delimiter: str | UnsetType = UNSET
    early_stopping_criteria: list[Words] | UnsetType = UNSET
    max_seq_len: FromOne | UnsetType = UNSET
    batch_size: FromOne | UnsetType = UNSET

    @property
    def settings(self) -> dict[str, Any]:
        """LLM Foundry's further options, those that the entry gives."""
        given = {name: getattr(self, name) for name in SETTINGS}
        return {name: value for name, value in given.items() if value is not UNSET}

    def __post_init__(self) -> None:
        """Every metric version needs a baseline: at 100 per cent nothing could be centred."""
        versions = " and ".join(METRIC_VERSIONS)
        path = PurePosixPath(self.file)
        fine = {
            "label must be letters, digits, _, - and .": LABEL.fullmatch(self.label),
            f"type must be one of {', '.join(TYPES)}": self.type in TYPES,
            "file must be a path inside the folder of task files": self.file
            and not path.is_absolute()
            and ".." not in path.parts,
            "sha1 must be 40 hex digits (git hash-object)": SHA1.fullmatch(self.sha1),
            f"baselines must give {versions} a percentage from 0 to below 100": (
                set(self.baselines) == set(METRIC_VERSIONS)
                and all(0 <= value < 100 for value in self.baselines.values())
            ),
        }
        for rule, kept in fine.items():
            if not kept:
                raise ValueError(rule)


class BundledTask(TaskRow, frozen=True, kw_only=True):
    """A task of DCLM's or of the smoke suite, which may need an archive to be made from."""

    made_from: str | None = None


class OwnTask(TaskRow, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task of an organiser's own suite."""


class SuiteFile(msgspec.Struct, frozen=True):
    """A file of Crucible's own; its tasks are looked at one by one."""

    name: str
    max_seq_len: FromOne
    batch_size: FromOne
    tasks: list[msgspec.Raw]
    source: str = ""


class OwnSuiteFile(SuiteFile, frozen=True, forbid_unknown_fields=True):
    """An organiser's own, which may not take the name of another."""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or self.name in (*SUITE_NAMES, "dclm"):
            raise ValueError(
                "its name must be up to 20 small letters, digits, - and _, and not "
                f"{', '.join(SUITE_NAMES)} or dclm"
            )


class _Labelled(msgspec.Struct):
    label: Any = None


Row = TypeVar("Row", bound=TaskRow)


def read_bundled(path: Path) -> tuple[SuiteFile, list[BundledTask]]:
    """A suite file that comes with Crucible, and its tasks; raises `suite_invalid`."""
    document = read(SuiteFile, path, code="suite_invalid", where=str(path), limit=MAX_BYTES)
    return document, _tasks(path, document.tasks, BundledTask)


def read_own(path: Path) -> tuple[OwnSuiteFile, list[OwnTask]]:
    """An organiser's suite file and its tasks; raises `suite_invalid`: what is wrong and where."""
    document = read(OwnSuiteFile, path, code="suite_invalid", where=str(path), limit=MAX_BYTES)
    return document, _tasks(path, document.tasks, OwnTask)


def _tasks(path: Path, entries: Sequence[msgspec.Raw], kind: type[Row]) -> list[Row]:
    if not entries:
        raise Failure("suite_invalid", f"{path}: it holds no task")
    rows: dict[str, Row] = {}
    for number, entry in enumerate(entries, 1):
        where = f"{path}: task {number} ({_label_of(entry)})"
        row = decode(kind, entry, code="suite_invalid", where=where)
        if rows.setdefault(row.label, row) is not row:
            raise Failure("suite_invalid", f"{where}: its label occurs twice")
    return list(rows.values())


def _label_of(entry: msgspec.Raw) -> Any:
    """The label of an entry that may be no task."""
    try:
        return decode_or_misfit(_Labelled, entry).label
    except MisfitError:
        return None
