"""How much of a process's computing is done, for the time that is left."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.native.generation import Prompt
from evaluation.native.plan import Item
from training_recipes.scales import ModelShape

# A step of a text that is written reads all weights for one token: how many times as long it takes
# as a token of a prompt, about.
WRITING = 8.0


class Cost:
    """Counts multiplications: of the layers by token, of attention by pair, of the head by row."""

    def __init__(self, shape: ModelShape, items: Sequence[Item], prompts: Sequence[Prompt]) -> None:
        self._shape = shape
        self._total = sum(map(self.of_item, items))
        self._texts = [self.of_prompt(prompt) for prompt in prompts]
        self._total += sum(self._texts)
        self._done = 0.0
        self._each = sum(self._texts) / len(self._texts) if self._texts else 0.0

    @property
    def left(self) -> float:
        """The part that is still to be done, from 1 to 0."""
        return max(0.0, 1 - self._done / self._total) if self._total else 0.0

    def scored(self, batch: Sequence[Item]) -> None:
        """A batch of items is done."""
        self._done += sum(map(self.of_item, batch))

    def written(self) -> None:
        """One text more is done: which, makes little difference."""
        self._done += self._each

    def of_item(self, item: Item) -> float:
        """Multiplications for one item."""
        return self._tokens(item.tokens) + self._head * item.predictions

    def of_prompt(self, prompt: Prompt) -> float:
        """About as many multiplications as would take the same time."""
        each = self._tokens(1) + self._head
        return self._tokens(len(prompt.ids)) + WRITING * prompt.new_tokens * each

    def _tokens(self, tokens: int) -> float:
        shape = self._shape
        layer = 4 * shape.dim**2 + 3 * shape.dim * shape.ffn_hidden + shape.dim * tokens
        return float(shape.layers * layer * tokens)

    @property
    def _head(self) -> float:
        return float(self._shape.dim * self._shape.vocab)
