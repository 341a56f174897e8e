"""Guesses the next tokens of a text from the last place where its final two tokens occurred.

Greedy decoding with guesses that are checked gives what greedy decoding gives, in fewer steps: the
model reads the guessed tokens in one pass and keeps those that it would have written itself. Small
models repeat themselves and copy from their prompts, so that many guesses are right.
"""

from __future__ import annotations

from collections.abc import Sequence

MOST = 15


class Drafter:
    """Follows one text; `ids` are the prompt's."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids: list[int] = []
        self._after: dict[tuple[int, int], int] = {}  # where the text continued after two tokens
        self._size = 1
        self.extend(ids)

    def extend(self, ids: Sequence[int]) -> None:
        """Adds the ids with which the text continues."""
        for token in ids:
            if len(self.ids) >= 2:
                self._after[(self.ids[-2], self.ids[-1])] = len(self.ids)
            self.ids.append(token)

    def draft(self, most: int) -> list[int]:
        """Up to `most` ids that may come next; fewer after guesses that were wrong."""
        start = self._after.get((self.ids[-2], self.ids[-1])) if len(self.ids) >= 2 else None
        if start is None:
            return []
        return self.ids[start : start + min(most, self._size)]

    def judged(self, right: int) -> None:
        """Tells it how many ids of the last draft were right."""
        self._size = min(2 * right + 1, MOST)
