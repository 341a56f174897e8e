"""Finds the first stop string of a text that is being written, after every token."""

from __future__ import annotations

from collections.abc import Callable

from evaluation.native.answers import AnswerRule

LOOK_BACK = 24  # tokens in which a stop string is looked for after every step


class StopFinder:
    """Looks for stop strings; `decode` turns ids into text."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self.decode = decode
        self._pieces: dict[int, str] = {}

    def reached(self, rule: AnswerRule, written: list[int]) -> bool:
        """Whether a stop string stands in the text; a cheap test first, then the exact one."""
        if not rule.can_stop:
            return False
        tail = "".join(map(self._piece, written[-LOOK_BACK:]))
        if not any(stop in tail for stop in rule.stops):
            return False
        whole = self.decode(written)
        return any(stop in whole for stop in rule.stops)

    def _piece(self, token: int) -> str:
        if token not in self._pieces:
            self._pieces[token] = self.decode([token])
        return self._pieces[token]
