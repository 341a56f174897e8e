"""Text to ids, fast, and proven on a sample of every run to be Hugging Face's ids.

`fastokens` reads the same tokenizer.json and gives the same ids about fifty times as fast as the
`tokenizers` library (docs/benchmarks.md), which is the reference: it checks samples, and does the
work where the fast one is missing or does not know a tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt

from submissions.failures import Failure
from training_recipes.tokenizer import FILE, load_tokenizer, tokenizer_folder

Ids = npt.NDArray[np.uint16]  # every vocabulary of ours has fewer than 65,536 ids
MAX_IDS = 2**16

# Both libraries hold up to 50 bytes for a byte of text while they encode it, so a document goes to
# them in pieces, and one without any place to cut it is refused.
PIECE, LONGEST_PIECE = 2_000_000, 8_000_000  # characters
# Between these two characters every byte-level tokenizer begins a new pre-token, and nothing that
# normalisation or an added token spans is cut: a letter and a space before a letter; a line end
# between two characters that are no white space.
CUTS = re.compile(r"(?<=[A-Za-z])(?= [A-Za-z])|(?<=\S\n)(?=\S)")


@dataclass(frozen=True)
class Encoded:
    """The ids of several texts one after another; text i has ids[starts[i] : starts[i + 1]]."""

    ids: Ids
    starts: npt.NDArray[np.int64]

    def of(self, text: int) -> Ids:
        """The ids of one of the texts."""
        return self.ids[self.starts[text] : self.starts[text + 1]]


class Encoder:
    """Encodes with the fast library where it can; `name` says which library and version it is.

    No special tokens are added. `tokenizer` is a name as `load_tokenizer` takes it.
    """

    def __init__(self, tokenizer: str) -> None:
        self.reference = load_tokenizer(tokenizer)
        if self.reference.get_vocab_size() > MAX_IDS:
            raise Failure(
                "missing_dependency",
                f"the tokenizer {tokenizer} has more than {MAX_IDS:,} ids, and rows hold 16 bits",
            )
        self._fast = _fast_tokenizer(str(tokenizer_folder(tokenizer) / FILE))
        library = "fastokens" if self._fast else "tokenizers"
        self.name = f"{library} {metadata.version(library)}"

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The ids of `texts`."""
        if self._fast is None:
            return self.encode_by_reference(texts)
        ids, starts = self._fast.encode_batch_flat(list(texts))
        return Encoded(
            np.frombuffer(ids, dtype="<u4").astype(np.uint16),
            np.frombuffer(starts, dtype="<u8").astype(np.int64),
        )

    def encode_by_reference(self, texts: Sequence[str]) -> Encoded:
        """The same by the `tokenizers` library."""
        encodings = self.reference.encode_batch_fast(list(texts), add_special_tokens=False)
        lists = [np.array(encoding.ids, dtype=np.uint16) for encoding in encodings]
        starts = np.cumsum([0, *map(len, lists)])
        return Encoded(np.concatenate([np.empty(0, np.uint16), *lists]), starts)

    def first_difference(
        self, texts: Sequence[str], encoded: Encoded, sample: Iterable[int]
    ) -> int | None:
        """The first text of `sample` (positions in `texts`) with other ids than the reference's."""
        chosen = list(sample) if self._fast is not None else []
        truth = self.encode_by_reference([texts[position] for position in chosen])
        for number, position in enumerate(chosen):
            if not np.array_equal(truth.of(number), encoded.of(position)):
                return position
        return None


@cache
def encoder_of(tokenizer: str) -> Encoder:
    """The encoder of that name, loaded once a process."""
    return Encoder(tokenizer)


def token_counter(tokenizer: str) -> Callable[[Sequence[str]], list[int]] | None:
    """Counts the ids of each of some texts; None where the tokenizer is not on this machine."""
    try:
        encoder = encoder_of(tokenizer)
    except Failure:
        return None
    return lambda texts: np.diff(encoder.encode(texts).starts).tolist()


def _fast_tokenizer(path: str) -> Any:
    """The fast library's tokenizer, or None where it is not installed or cannot take this one."""
    try:
        import fastokens

        return fastokens.Tokenizer.from_file(path)
    except (ImportError, ValueError, RuntimeError):
        return None


def pieces(text: str) -> Iterator[str]:
    """A text cut where the ids of the pieces, one after another, are the ids of the whole.

    Raises `line_too_long` when 8 million characters offer no such place.
    """
    start = 0
    while len(text) - start > PIECE:
        cut = CUTS.search(text, start + PIECE, start + LONGEST_PIECE)
        if cut is None:
            if len(text) - start <= LONGEST_PIECE:
                break
            raise Failure(
                "line_too_long",
                f"the document has {LONGEST_PIECE:,} characters without a line end or a space "
                "between two letters",
            )
        yield text[start : cut.start()]
        start = cut.start()
    yield text[start:] if start else text
