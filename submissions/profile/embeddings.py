"""Text to vectors, for the map of topics: the mean of the word vectors that WordLlama ships.

Its 256 dimensions were trained to tell texts apart (the package's l2_supercat, made of the token
table of a language model). The files are read from the package; its code is not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHARACTERS = 1_500  # of a text, from its middle
DIMENSIONS = 256
Vectors = NDArray[np.float32]


def window(text: str) -> str:
    """The CHARACTERS that are embedded."""
    start = max(len(text) - CHARACTERS, 0) // 2
    return text[start : start + CHARACTERS]


def embed(texts: Sequence[str]) -> Vectors:
    """One unit vector a text, shape (n, DIMENSIONS); zeros for a text without tokens."""
    tokenizer, table = word_vectors()
    vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
    windows = [window(text) for text in texts]
    for row, encoding in enumerate(tokenizer.encode_batch(windows, add_special_tokens=False)):
        if encoding.ids:
            mean = table[encoding.ids].mean(axis=0)
            vectors[row] = mean / (float(np.linalg.norm(mean)) or 1.0)
    return vectors


@cache
def word_vectors() -> tuple[Any, Vectors]:
    """WordLlama's tokenizer and the table of token vectors, shape (32000, DIMENSIONS)."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    found = find_spec("wordllama")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("no wordllama", name="wordllama")
    folder = Path(found.origin).parent
    tokenizer = Tokenizer.from_file(str(folder / "tokenizers/l2_supercat_tokenizer_config.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    weights = load_file(folder / "weights/l2_supercat_256.safetensors")
    return tokenizer, weights["embedding.weight"].astype(np.float32)
