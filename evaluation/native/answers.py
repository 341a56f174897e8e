"""When a generation may stop, and whether its answer is right.

Source: llm-foundry 0.22.0, eval/metrics/nlp.py (InContextLearningGenerationExactMatchAccuracy).
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass

from evaluation.suite import Task

PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))
ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True)
class AnswerRule:
    """A task's stop strings and the delimiter after which its answer stands ("" for none).

    LLM Foundry joins stop strings to a regular expression, so that one is what they are.
    """

    stops: tuple[str, ...]
    delimiter: str

    def said(self, text: str) -> str:
        """The text up to the end of its first stop string: what follows changes nothing."""
        found = re.search("|".join(self.stops), text) if self.stops else None
        return text[: found.end()] if found and self.can_stop else text

    @property
    def can_stop(self) -> bool:
        """Whether a stop string found in a text stays the first one, whatever text follows."""
        return bool(self.stops) and all(plain(stop) for stop in self.stops)

    def right(self, text: str, labels: Iterable[str]) -> bool:
        """Whether the answer in a generated text begins with one of `labels`."""
        answer = re.split("|".join(self.stops), text)[0] if self.stops else text
        if self.delimiter:
            answer = answer.split(self.delimiter)[-1]
        cleaned = clean(answer)
        return any(cleaned.startswith(clean(label)) for label in labels)


def rule_of(task: Task) -> AnswerRule:
    """The rule of a generation task."""
    stops = tuple(task.settings.get("early_stopping_criteria") or ())
    return AnswerRule(stops, str(task.settings.get("cot_delimiter", "")))


def plain(stop: str) -> bool:
    """Whether a stop string means itself as a regular expression too."""
    return bool(stop) and not set(stop) & set("\\^$.|?*+()[]{}")


def clean(answer: str) -> str:
    """Lower case, without punctuation, articles and needless white space."""
    lowered = answer.replace("_", " ").lower().translate(PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", lowered).split())
