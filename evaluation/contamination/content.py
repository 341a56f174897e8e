"""How much a question says: the words of an average text that carry as much.

A word that stands once in w words of the index carries log2(w) bits; the unit is what a word of the
index carries on average. "The capital of France is Paris" has six words and says as much as 4.5.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Of fewer words no count says how rare a word is: each then counts as rare, and nothing is doubted.
LEAST_WORDS = 1_000_000


def content_of(
    words: npt.NDArray[np.uint64], first: npt.NDArray[np.int64], asked: npt.NDArray[np.int32]
) -> npt.NDArray[np.float32]:
    """[examples, 2]: average words that say as much as the question, and as it with its answer.

    `words` are the hashes of all examples, of which `asked` gives the question's words, and of all
    passages; those of unit u begin at `first[u]`.
    """
    _, kind, counts = np.unique(words, return_inverse=True, return_counts=True)
    shares = counts / max(len(words), 1)
    average = -float(shares @ np.log2(shares)) or 1.0
    bits = -np.log2(counts / max(len(words), LEAST_WORDS)) / average
    sums = np.concatenate([[0.0], np.cumsum(bits[kind])])
    begin, end = first[: len(asked)], first[1 : len(asked) + 1]
    both = np.column_stack([sums[begin + asked] - sums[begin], sums[end] - sums[begin]])
    return both.astype(np.float32)
