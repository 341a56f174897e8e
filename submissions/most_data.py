"""How much a dataset may hold: a multiple of what one training at its scale reads.

More is refused as soon as sizes, footers or counts show it: it would cost the site disk and hours,
and training would read a few per cent of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from submissions.failures import Failure
from submissions.parquet import declared
from submissions.shards import LocalShard, OpenShard, Shard

MULTIPLE = 50


@dataclass(frozen=True)
class MostData:
    """The bounds of a dataset at `scale`.

    `tokens` bounds its tokens, and its documents too, each of which gives one at least; `bytes`
    bounds its texts, and its files as they are stored.
    """

    scale: str
    multiple: int
    tokens: int
    bytes: int

    @classmethod
    def of(
        cls, scale: str, tokens_needed: int, bytes_per_token: float, multiple: int = MULTIPLE
    ) -> MostData:
        """From the tokens that one training reads, and about how many bytes of text make one."""
        tokens = multiple * tokens_needed
        return cls(scale, multiple, tokens, round(tokens * bytes_per_token))

    def check(self, *, documents: int = 0, tokens: int = 0, text: int = 0, stored: int = 0) -> None:
        """Raises `dataset_too_large` where one of the counts, the last two in bytes, is beyond."""
        for count, most, what in (
            (documents, self.tokens, "documents"),
            (tokens, self.tokens, "tokens"),
            (text, self.bytes, "bytes of text"),
            (stored, self.bytes, "bytes of files"),
        ):
            if count > most:
                raise Failure(
                    "dataset_too_large",
                    f"the dataset has {count:,} {what} or more, and {most:,} are the most: "
                    f"{self.multiple:,} times what one training at {self.scale} reads",
                )

    def check_unread(self, shards: Sequence[Shard | OpenShard]) -> None:
        """The same from sizes and, of parquet on this machine, footers, before a text is read."""
        self.check(stored=sum(shard.bytes for shard in shards))
        documents = text = 0
        for shard in shards:
            if isinstance(shard, LocalShard) and shard.format == "parquet":
                # What is wrong with a footer, reading the shard says.
                with contextlib.suppress(Failure, OSError):
                    rows, size = declared(shard.path, shard.name)
                    documents, text = documents + rows, text + size
                self.check(documents=documents, text=text)
