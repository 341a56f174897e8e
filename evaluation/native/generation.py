"""Writes greedy answers to many prompts: finished texts leave, waiting prompts take their slots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from evaluation.native.answers import AnswerRule
from evaluation.native.cache import SlotCache
from evaluation.native.decoding import Chosen, Decoder
from evaluation.native.drafts import MOST, Drafter
from evaluation.native.plan import Item
from evaluation.native.stops import StopFinder
from evaluation.native.tokens import Ids


@dataclass(frozen=True)
class Prompt:
    """One text to be written: at most `new_tokens` after `ids`, whose first has position `start`.

    The reference pads prompts on the left, which moves their positions: attention hardly notices,
    but the rounding of the rotary angles is the reference's own only with its positions.
    """

    question: int
    ids: Ids
    start: int
    new_tokens: int
    rule: AnswerRule
    masked: bool

    @property
    def room(self) -> int:
        """Places that it needs in a slot."""
        return len(self.ids) + self.new_tokens + MOST


@dataclass(frozen=True)
class Written:
    """A finished text: `gap` is the least distance between the best and the second logit."""

    question: int
    text: str
    gap: float
    finite: bool


class AnyWriter(Protocol):
    """Writes texts with one model; see `Writer`."""

    def write(self, prompts: list[Prompt], budget: int, slots: int) -> Iterator[Written]: ...


@dataclass
class _Active:
    prompt: Prompt
    drafter: Drafter
    written: list[int] = field(default_factory=list)
    gap: float = float("inf")
    drafted: int = 0


class Writer:
    """Writes texts with one model. `decode` turns ids into text; `end_id` ends a text."""

    def __init__(self, decoder: Decoder, decode: Callable[[list[int]], str], end_id: int) -> None:
        self.decoder, self.decode, self.end_id = decoder, decode, end_id
        self.stops = StopFinder(decode)

    def write(self, prompts: list[Prompt], budget: int, slots: int) -> Iterator[Written]:
        """The texts, in the order in which they are finished.

        Prompts are read in batches of at most `budget` tokens; up to `slots` are written at a time.
        """
        waiting = sorted(prompts, key=lambda p: (p.room, p.question))  # the longest is taken first
        if not waiting:
            return
        slots = min(slots, len(waiting))
        cache = SlotCache(self.decoder.model, slots, waiting[-1].room)
        active: list[_Active] = []
        while waiting or active:
            # Prompts are read many at a time: few slots may stay empty for a while.
            refill = not active or slots - len(active) >= max(1, slots // 4)
            while refill and waiting and len(active) < slots:
                batch = self._next(waiting, slots - len(active), budget)
                first = len(active)
                active += [_Active(p, Drafter(p.ids.tolist())) for p in batch]
                items = [Item(p.question, p.ids, (), (), p.masked, p.start) for p in batch]
                chosen = self.decoder.begin(items, cache, first)
                yield from self._take(active, range(first, len(active)), chosen, cache)
            if active:
                yield from self._step(active, cache)

    def _next(self, waiting: list[Prompt], slots: int, budget: int) -> list[Prompt]:
        """Takes the next prompts that are read together."""
        batch = [waiting.pop()]
        tokens = len(batch[0].ids)
        while waiting and len(batch) < slots and waiting[-1].masked == batch[0].masked:
            tokens += len(waiting[-1].ids)
            if tokens > budget:
                break
            batch.append(waiting.pop())
        return batch

    def _step(self, active: list[_Active], cache: SlotCache) -> Iterator[Written]:
        """One pass for all active texts: the last token of each, and a guess of the next ones."""
        texts, at = [], []
        for text in active:
            left = text.prompt.new_tokens - len(text.written)
            draft = text.drafter.draft(min(MOST, left - 1))
            text.drafted = len(draft)
            texts.append([text.written[-1], *draft])
            at.append(len(text.prompt.ids) + len(text.written) - 1)
        starts = [text.prompt.start for text in active]
        chosen = self.decoder.go_on(texts, at, starts, cache)
        yield from self._take(active, range(len(active)), chosen, cache, texts)

    def _take(
        self,
        active: list[_Active],
        slots: range,
        chosen: Chosen,
        cache: SlotCache,
        texts: list[list[int]] | None = None,
    ) -> Iterator[Written]:
        """Adds what was chosen for these slots to their texts; those that are done leave."""
        row, done = 0, []
        for slot in slots:
            fed = texts[slot] if texts is not None else [-1]
            finite, over = self._append(active[slot], fed, chosen, row)
            row += len(fed)
            if over or not finite:
                done.append((slot, finite))
        for slot, finite in reversed(done):
            text = active[slot]
            ids = text.written
            ids = ids[: ids.index(self.end_id)] if self.end_id in ids else ids
            said = text.prompt.rule.said(self.decode(ids))
            yield Written(text.prompt.question, said, text.gap, finite)
            last = len(active) - 1
            if slot != last:
                active[slot] = active[last]
                cache.move(last, slot)
            active.pop()

    def _append(self, text: _Active, fed: list[int], chosen: Chosen, row: int) -> tuple[bool, bool]:
        """Whether all was finite, and whether the text is finished."""
        right = 0
        new: list[int] = []
        for i in range(len(fed)):
            new.append(chosen.ids[row + i])
            text.gap = min(text.gap, chosen.gaps[row + i])
            if not chosen.finite[row + i]:
                return False, True
            text.written.append(new[-1])
            if new[-1] == self.end_id or len(text.written) >= text.prompt.new_tokens:
                return True, True
            if self.stops.reached(text.prompt.rule, text.written):
                return True, True
            if i + 1 == len(fed) or fed[i + 1] != new[-1]:
                break
            right += 1
        text.drafter.extend(new)
        if text.drafted:
            text.drafter.judged(right)
        return True, False


def prompt_of(
    number: int, ids: Ids, row_length: int, new_tokens: int, rule: AnswerRule, pad_id: int
) -> Prompt:
    """The prompt of question `number`, at the positions that it has in a row of `row_length`."""
    masked = bool(np.any(ids == pad_id))
    return Prompt(number, ids, row_length - len(ids), new_tokens, rule, masked)
