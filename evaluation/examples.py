"""Per-example records: a model's answer to each question, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.metrics import TaskResult, accuracy_with_error
from submissions.codec import decode_or_misfit

MAX_LINE = 16 * 2**20  # bytes of one record, whose longest part is a generated text


@dataclass(frozen=True)
class Example:
    """One answered question.

    `index` counts the rows of the task's file from 0. Multiple choice and schema: `prediction` and
    `gold` are option numbers, `option_logprobs` each option's summed log-probability (natural log)
    over its `option_tokens` tokens. Language modelling: one option, which is gold, no prediction.
    Generation: the `generated` text as it came, before cleaning; where the right answer was scored
    after it, that answer's log-probability and tokens as of one option.
    `margin`, where the engine knows it, says how far the outcome is from another one: the best
    option's mean log-probability less the second's, or the logits by which the nearest token that
    decides is best or not.
    """

    task: str
    index: int
    category: str | None
    correct: bool
    prediction: int | None
    gold: int | None
    option_logprobs: list[float] | None = None
    option_tokens: list[int] | None = None
    generated: str | None = None
    margin: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The line of examples.jsonl."""
        record: dict[str, Any] = {
            "task": self.task,
            "index": self.index,
            "category": self.category,
            "correct": self.correct,
            "prediction": self.prediction,
            "gold": self.gold,
        }
        if self.generated is not None:
            record["generated"] = self.generated
        if self.generated is None or self.option_logprobs is not None:
            record["option_logprobs"] = self.option_logprobs
            record["option_tokens"] = self.option_tokens
        if self.margin is not None:
            record["margin"] = self.margin
        return record


def example_of(line: bytes) -> Example:
    """The example of a line that `as_dict` made; other keys are ignored, `MisfitError` if none."""
    return decode_or_misfit(Example, line, MAX_LINE)


def result_of(examples: Iterable[Example]) -> TaskResult:
    """A task's score: the accuracy, or the plain mean over its categories' accuracies."""
    outcomes: dict[str, list[bool]] = {}
    for example in examples:
        outcomes.setdefault(example.category or "", []).append(example.correct)
    return accuracy_with_error(outcomes)


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Writes one task's records."""
    with path.open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(json.dumps(example.as_dict(), allow_nan=False) + "\n")


def read_examples(path: Path) -> list[Example]:
    """The records of a file that `write_examples` wrote."""
    with path.open("rb") as file:
        return [example_of(line) for line in file]
