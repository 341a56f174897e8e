"""How much rounding moves a result here: a sample of questions computed in another way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluation.native.plan import Item
from evaluation.native.questions import Pending
from evaluation.native.scoring import AnyScorer

SAMPLE = 16  # questions
LONGEST = 4096  # tokens of a question that is computed again


@dataclass(frozen=True)
class Noise:
    """The largest difference in a mean log-probability (or in a gap of logits) among a sample."""

    questions: int
    largest: float


def measure_noise(
    scorer: AnyScorer, items: Sequence[Item], questions: Sequence[Pending]
) -> Noise | None:
    """Computes every option of some questions alone; None where no question was scored.

    The questions are spread over the queue from the shortest to the longest.
    """
    fit = sorted((i for i in items if i.tokens <= LONGEST), key=lambda item: item.tokens)
    chosen = fit[:: max(1, len(fit) // SAMPLE)]
    if not chosen:
        return None
    largest = 0.0
    for item in chosen:
        question = questions[item.question]
        for alone in apart(item):
            ((_, row, score),) = scorer.score([alone], with_gaps=True)
            tokens = len(alone.scored[0].targets)
            before = question.scores[row]
            largest = max(largest, abs(score.logprob - before.logprob) / tokens)
            if question.task.type == "language_modeling":
                largest = max(largest, abs(score.gap - before.gap))
    return Noise(len(chosen), largest)


def apart(item: Item) -> list[Item]:
    """Each scored row of an item as an item of its own, without the others."""
    rows = []
    for scored in item.scored:
        own = item.prefix
        places = scored.places
        first = len(item.prefix)
        for suffix in item.suffixes:
            inside = (places >= first) & (places < first + len(suffix))
            if inside.any():
                own = np.concatenate((item.prefix, suffix))
                places = np.where(inside, places - first + len(item.prefix), places)
            first += len(suffix)
        rows.append(
            replace(item, prefix=own, suffixes=(), scored=(replace(scored, places=places),))
        )
    return rows
