"""MinHash signatures, by which two documents are recognised as nearly the same text.

A signature stands for the set of a text's shingles, every run of five words. The share of equal
places of two signatures estimates the Jaccard similarity of the sets (Broder 1997), here with a
standard error of at most 0.05. The parameters are FineWeb's: 14 bands of 8, so that documents of
similarity 0.75 share a band with probability 0.77, those of 0.5 with 0.05.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a command that compares nothing does not wait for it
    import numpy as np
    from numpy.typing import NDArray

BANDS, ROWS = 14, 8
PERMUTATIONS = BANDS * ROWS
SHINGLE = 5  # words
LONGEST = 1_000_000  # characters of one document that are looked at: they bound the memory
SEED = 42
# Scripts that are written without spaces: each of their characters counts as a word.
_NO_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_NO_SPACES}]|[^\W{_NO_SPACES}]+")


def words(text: str) -> list[str]:
    """The text's words in lower case, without punctuation, of its first LONGEST characters."""
    return _WORD.findall(text[:LONGEST].lower())


def shingles(text: str) -> list[str]:
    """Every run of SHINGLE words, in order; all words as one where there are fewer, if any."""
    found = words(text)
    if len(found) < SHINGLE:
        return [" ".join(found)] if found else []
    return [" ".join(found[i : i + SHINGLE]) for i in range(len(found) - SHINGLE + 1)]


def signature(text: str) -> NDArray[np.uint32]:
    """The MinHash signature, shape (PERMUTATIONS,); the same in every process and on any machine.

    Texts without a word all have the signature of the empty set.
    """
    import numpy as np
    from rensa import RMinHash

    sketch = RMinHash(num_perm=PERMUTATIONS, seed=SEED)
    sketch.update(shingles(text))
    return np.array(sketch.digest(), dtype=np.uint32)


def bands(sketch: NDArray[np.uint32]) -> list[bytes]:
    """The BANDS keys of a signature: two documents that share one are worth comparing.

    The number of the band is part of its key.
    """
    data = sketch.astype("<u4").tobytes()
    size = len(data) // BANDS
    return [bytes([band]) + data[band * size :][:size] for band in range(BANDS)]


def similarity(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    """The estimated Jaccard similarity of two texts' shingles, from 0 to 1."""
    return float((one == other).mean())
