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
from training_recipes.model_dir import load_model_dir

SEED = 53
# Between two float32 computations of a sum of log-probabilities; the largest seen is in
# docs/evaluation.md.
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
    """The entry `audit` of results.json: how `sample` of the `records` fare with LLM Foundry.

    The sample is drawn from all tasks in turn, the same one every time. `ok` is false where an
    answer differs, or in float32 a log-probability by more than TOLERANCE.
    """
    from evaluation.llm_foundry import LLMFoundryEngine
    from evaluation.native.tokens import read_tokenizer

    started = time.monotonic()
    engine = LLMFoundryEngine(load_model_dir(model), read_tokenizer(model / "tokenizer"))
    chosen = draw(records, sample)
    different, largest, done = [], 0.0, 0
    for task, path in tasks.items():
        ours = {e.index: e for e in chosen if e.task == task.label}
        if not ours:
            continue

        def tell(count: int, before: int = done, label: str = task.label) -> None:
            progress(before + count, len(chosen), "example", f"{engine.name}: {label}")

        tell(0)
        answers = engine.evaluate_task(suite, task, path, None, tell, only=frozenset(ours))
        done += len(answers)
        for theirs in answers:
            mine = ours[theirs.index]
            largest = max(largest, difference(mine, theirs))
            if outcome(task, mine) != outcome(task, theirs):
                different.append({"task": task.label, "index": mine.index, "margin": mine.margin})
    if done != len(chosen):
        raise Failure("internal_error", f"the reference answered {done} of {len(chosen)} questions")
    exact = precision != "fp32" or largest <= TOLERANCE
    return {
        "engine": engine.name,
        "precision": engine.precision,
        "examples": len(chosen),
        "seed": SEED,
        "different": different,
        "largest_difference": largest,
        "ok": not different and exact,
        "seconds": round(time.monotonic() - started, 3),
    }


def draw(records: Sequence[Example], sample: int) -> list[Example]:
    """`sample` of the records (or all), from each task as many as from the others."""
    generator = random.Random(SEED)  # noqa: S311 - anybody may draw the same sample again
    by_task: dict[str, list[Example]] = {}
    for example in records:
        by_task.setdefault(example.task, []).append(example)
    groups = [generator.sample(examples, len(examples)) for examples in by_task.values()]
    generator.shuffle(groups)
    turns = chain.from_iterable(zip_longest(*groups))
    return [example for example in turns if example is not None][:sample]


def outcome(task: Task, example: Example) -> tuple[Any, ...]:
    """What both engines must agree on; of a text, what stands before the first stop string."""
    text = example.generated
    stops = task.settings.get("early_stopping_criteria")
    if text is not None and stops:
        text = re.split("|".join(stops), text)[0]
    return example.correct, example.prediction, example.gold, example.option_tokens, text


def difference(mine: Example, theirs: Example) -> float:
    """The largest difference between two records' log-probabilities."""
    pairs = zip(mine.option_logprobs or [], theirs.option_logprobs or [], strict=True)
    return max((abs(a - b) for a, b in pairs), default=0.0)
