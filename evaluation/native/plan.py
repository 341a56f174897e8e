"""What is computed together: questions become items, items become batches.

An item is a stretch of tokens that all options of a question begin with (the prefix), and the rest
of each (its suffix). The prefix is computed once. The last token of an option is
never fed: nothing is predicted after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.native.prompts import Question
from evaluation.native.tokens import Ids

# Below this many common tokens, or with much longer suffixes, options are computed apart.
LEAST_PREFIX = 4
SHORT_SUFFIXES = 128


@dataclass(frozen=True)
class Scored:
    """One distinct row of a question: at `places` of its item, `targets` are to be predicted.

    Places count the prefix's tokens, then the suffixes' in their order. `row` numbers the
    question's distinct rows.
    """

    row: int
    places: NDArray[np.int64]
    targets: Ids


@dataclass(frozen=True)
class Item:
    """Tokens that are computed together; `question` numbers the questions of the whole queue."""

    question: int
    prefix: Ids
    suffixes: tuple[Ids, ...]
    scored: tuple[Scored, ...]
    masked: bool = False  # a token with the padding's id stands inside: see `padding_inside`
    start: int = 0  # the position of the first token

    @property
    def suffix_tokens(self) -> int:
        return sum(map(len, self.suffixes))

    @property
    def tokens(self) -> int:
        return len(self.prefix) + self.suffix_tokens

    @property
    def predictions(self) -> int:
        return sum(len(scored.targets) for scored in self.scored)


def distinct_rows(question: Question) -> tuple[list[int], list[int]]:
    """The options that differ, by number, and for each option the place of its equal among them.

    Equal options are computed once: computed twice, rounding could make the second the better one,
    where the reference takes the first.
    """
    seen: dict[tuple[bytes, bytes], int] = {}
    first: list[int] = []
    place = []
    for number, option in enumerate(question.options):
        key = (option.context.tobytes(), option.answer.tobytes())
        if key not in seen:
            seen[key] = len(first)
            first.append(number)
        place.append(seen[key])
    return first, place


def items_of(number: int, question: Question, pad_id: int) -> list[Item]:
    """One item for question `number` where its options share enough, else one a distinct row."""
    options = [question.options[i] for i in distinct_rows(question)[0]]
    rows = [np.concatenate((option.context, option.answer)) for option in options]
    masked = any(padding_inside(row, pad_id) for row in rows)
    rows = [row[:-1] for row in rows]
    shared = common_prefix(rows)
    rest = sum(len(row) - shared for row in rows)
    worth = shared >= LEAST_PREFIX and (rest <= SHORT_SUFFIXES or rest <= 2 * shared)
    if masked or len(rows) == 1 or not worth:
        return [
            Item(number, row, (), (_scored(i, option.context, option.answer, 0),), masked)
            for i, (row, option) in enumerate(zip(rows, options, strict=True))
        ]
    suffixes = [row[shared:] for row in rows]
    scored, before = [], 0
    for i, (option, suffix) in enumerate(zip(options, suffixes, strict=True)):
        entry = _scored(i, option.context, option.answer, 0)
        moved = np.where(entry.places < shared, entry.places, entry.places + before)
        scored.append(Scored(i, moved, entry.targets))
        before += len(suffix)
    kept = tuple(suffix for suffix in suffixes if len(suffix))
    return [Item(number, rows[0][:shared], kept, tuple(scored))]


def _scored(row: int, context: Ids, answer: Ids, offset: int) -> Scored:
    start = len(context) - 1 + offset
    return Scored(row, np.arange(start, start + len(answer)), answer)


def padding_inside(row: Ids, pad_id: int) -> bool:
    """Whether the reference's mask, which hides the padding's id wherever it is, has a hole."""
    real = np.flatnonzero(row != pad_id)
    return len(real) > 0 and int(real[-1]) + 1 != len(real)


def common_prefix(rows: Sequence[Ids]) -> int:
    """How many tokens all rows begin with."""
    shared = min(map(len, rows))
    for row in rows[1:]:
        different = np.flatnonzero(row[:shared] != rows[0][:shared])
        if len(different):
            shared = int(different[0])
    return shared


def batches(items: Sequence[Item], budget: Callable[[], int]) -> Iterator[list[Item]]:
    """The items, longest first, in batches of at most `budget()` tokens (one item may have more).

    Items with suffixes, without, and with hidden tokens come apart; neighbours are of like length.
    The budget is asked for with every item: it may shrink under way.
    """
    order = sorted(
        items,
        key=lambda item: (item.masked, bool(item.suffixes), -len(item.prefix), -item.suffix_tokens),
    )
    batch: list[Item] = []
    size = 0
    for item in order:
        other_kind = batch and (item.masked, bool(item.suffixes)) != (
            batch[0].masked,
            bool(batch[0].suffixes),
        )
        if batch and (size + item.tokens > budget() or other_kind):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.tokens
    if batch:
        yield batch
