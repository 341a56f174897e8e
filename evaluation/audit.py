"""Asks the reference engine a sample of the questions that a run answered, and compares."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from evaluation.examples import Example
from evaluation.suite import Suite, Task
from submissions.failures import Failure
from submissions.progress import Progress

SEED = 53
# Between two float32 computations of a sum of log-probabilities (the largest difference seen is in
# docs/evaluation.md), and the margin below which rounding may give another answer.
TOLERANCE = 1e-4


def audit(
    model: Path,
    suite: Suite,
    tasks: dict[Task, Path],
    records: Sequence[Example],
    sample: int,
    precision: str,
    progress: Progress,
) -> dict[str, Any]:
    """The entry `audit` of results.json: `sample` of the `records` compared with LLM Foundry.

    The sample is drawn from all tasks in turn, the same one every time. Float32 records are
    compared with exact float32, on a GPU too; others with the reference's own, TF32 on a GPU.
    """
    from evaluation.engines import load_reference

    started = time.monotonic()
    exact = precision == "fp32"
    engine = load_reference(model, exactly=exact)
    chosen = draw(records, sample)
    pairs: list[tuple[Task, Example, Example]] = []
    for task, path in tasks.items():
        ours = {e.index: e for e in chosen if e.task == task.label}
        if not ours:
            continue

        def tell(count: int, before: int = len(pairs), label: str = task.label) -> None:
            progress(before + count, len(chosen), "example", f"{engine.name}: {label}")

        tell(0)
        answers = engine.evaluate_task(suite, task, path, None, tell, only=frozenset(ours))
        pairs += [(task, ours[theirs.index], theirs) for theirs in answers]
    if len(pairs) != len(chosen):
        raise Failure("internal_error", f"{len(pairs)} of {len(chosen)} questions were answered")
    head = {"engine": engine.name, "precision": engine.precision, "seed": SEED}
    return head | compare(pairs, exact) | {"seconds": round(time.monotonic() - started, 3)}


def compare(pairs: Sequence[tuple[Task, Example, Example]], exact: bool) -> dict[str, Any]:
    """Agreement of records (first) and the reference's (second); `exact`: both are float32.

    `different` are the examples with another answer, of which `close` have a margin that rounding
    may cross: TOLERANCE where `exact`, else the largest difference of a mean log-probability
    in the sample. `ok` is false where more differ than are close, or where `exact` ones have a sum
    of log-probabilities that differs by more than TOLERANCE.
    """
    tasks: dict[str, dict[str, Any]] = {}
    different: list[dict[str, Any]] = []
    a_token = 0.0
    for task, mine, theirs in pairs:
        entry = tasks.setdefault(
            task.label, {"examples": 0, "different": 0, "largest_difference": 0.0}
        )
        entry["examples"] += 1
        if question(mine) == question(theirs):
            sums = differences(mine, theirs)
            entry["largest_difference"] = max(entry["largest_difference"], *sums)
            lengths = mine.option_tokens or [1]
            a_token = max(a_token, *(d / n for d, n in zip(sums, lengths, strict=True)))
        if question(mine) != question(theirs) or answer(task, mine) != answer(task, theirs):
            entry["different"] += 1
            margin = mine.margin if question(mine) == question(theirs) else None
            different.append({"task": task.label, "index": mine.index, "margin": margin})
    bound = TOLERANCE if exact else a_token
    close = sum(one["margin"] is not None and one["margin"] <= bound for one in different)
    largest = max((entry["largest_difference"] for entry in tasks.values()), default=0.0)
    return {
        "examples": len(pairs),
        "different": different,
        "close": close,
        "largest_difference": largest,
        "ok": len(different) == close and (largest <= TOLERANCE or not exact),
        "tasks": tasks,
    }


def summary(found: dict[str, Any]) -> str:
    """An audit in a sentence."""
    different, total = found["different"], found["examples"]
    text = (
        f"{total - len(different)} of {total} examples agree with {found['engine']} "
        f"({found['precision']}), log-probabilities within {found['largest_difference']:.1e}"
    )
    if different:
        others = ", ".join(f"{one['task']} {one['index']}" for one in different[:3])
        text += f"; other answers: {others}" + (", …" if len(different) > 3 else "")
    return text


def draw(records: Sequence[Example], sample: int) -> list[Example]:
    """`sample` of the records (or all), from each task as many as from the others."""
    generator = random.Random(SEED)  # noqa: S311 - not a secret: the sample can be drawn again
    by_task: dict[str, list[Example]] = {}
    for example in records:
        by_task.setdefault(example.task, []).append(example)
    groups = [generator.sample(examples, len(examples)) for examples in by_task.values()]
    generator.shuffle(groups)
    turns = chain.from_iterable(zip_longest(*groups))
    return [example for example in turns if example is not None][:sample]


def question(example: Example) -> tuple[Any, ...]:
    """The parts in which both engines' questions must be equal."""
    return example.category, example.gold, example.option_tokens


def answer(task: Task, example: Example) -> tuple[Any, ...]:
    """The answer that both engines must give; of a text, the part before the first stop string."""
    text = example.generated
    stops = task.settings.get("early_stopping_criteria")
    if text is not None and stops:
        text = re.split("|".join(stops), text)[0]
    return example.correct, example.prediction, text


def differences(mine: Example, theirs: Example) -> list[float]:
    """How far two records' sums of log-probabilities are apart; 0 for a generated text."""
    pairs = zip(mine.option_logprobs or [0.0], theirs.option_logprobs or [0.0], strict=True)
    return [abs(a - b) for a, b in pairs]
