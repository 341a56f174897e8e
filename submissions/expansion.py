"""How much larger than its file a shard may become: what stops a decompression bomb.

Text that people wrote shrinks to a tenth of its size, and repeated logs to a hundredth.
"""

from __future__ import annotations

from submissions.failures import Failure

MOST = 500  # bytes of text for each byte of the file
FREE = 64 * 2**20  # bytes that any shard may have
LINE = 16  # bytes that a line counts at least, however short it is


class Expansion:
    """The budget of one shard; `name` is the shard's, `stored` the bytes of its file."""

    def __init__(self, name: str, stored: int) -> None:
        self.name = name
        self.left = max(FREE, MOST * stored)

    def add(self, size: int, lines: int) -> None:
        """Counts what was read; raises `expands_too_much` when it is more than the budget."""
        self.left -= max(size, LINE * lines)
        if self.left < 0:
            said = (
                f"the shard holds more than {MOST} times the bytes of its file; remove repetition"
            )
            raise Failure("expands_too_much", said, shard=self.name)
