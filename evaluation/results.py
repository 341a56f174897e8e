"""What the stage `evaluate` reports, as a type; only data, so that the site reads it.

What a result of an older release may lack has a default.
"""

from __future__ import annotations

import msgspec

from evaluation.task_results import TaskFigures


class Rounding(msgspec.Struct, frozen=True, kw_only=True):
    """How far rounding moved a sample of questions, and how many answers twice that may decide."""

    sample: int
    largest_difference: float
    examples_within_twice_that: int


class OtherAnswer(msgspec.Struct, frozen=True):
    """An example that the reference engine answered differently; `margin` where it is known."""

    task: str
    index: int
    margin: float | None


class AuditedTask(msgspec.Struct, frozen=True):
    """One task's part in an audit."""

    examples: int
    different: int
    largest_difference: float


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """A sample of the answers compared with the reference engine's; see evaluation.audit."""

    engine: str
    precision: str
    examples: int
    different: list[OtherAnswer]
    close: int
    largest_difference: float
    ok: bool
    seed: int | None = None
    seconds: float = 0.0
    tasks: dict[str, AuditedTask] = {}


class EvaluateResult(msgspec.Struct, frozen=True, kw_only=True):
    """What results.json holds of the answers: the suite by its hash, the engine, every task.

    `rounding` is None where nothing was measured, `audit` where the reference was not asked.
    """

    suite_hash: str
    engine: str
    suite: str = ""
    precision: str = ""
    missing_tasks: list[str] = []
    tasks: dict[str, TaskFigures] = {}
    rounding: Rounding | None = None
    audit: Audit | None = None
