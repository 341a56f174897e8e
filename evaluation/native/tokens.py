"""Token ids for prompts: many texts at a time, each different text once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.hf_folder import is_hugging_face
from submissions.failures import Failure
from training_recipes.encoder import Encoder, encoder_of

Ids = NDArray[np.int32]
CHECKED = 64  # of so many texts that the fast encoder takes, one is encoded by the reference too


def read_tokenizer(folder: Path) -> Any:
    """The Hugging Face fast tokenizer in a folder; `model_invalid` when it is unreadable.

    Of a Hugging Face directory it is of the class that transformers chooses, as in LLM Foundry:
    some of them decide themselves about the token at the beginning.
    """
    if is_hugging_face(folder):
        from evaluation.hf_model import load_tokenizer

        return load_tokenizer(folder)
    from transformers import PreTrainedTokenizerFast

    try:
        return PreTrainedTokenizerFast.from_pretrained(str(folder))
    except Exception as error:  # a damaged file can raise any error in the library
        raise Failure("model_invalid", f"cannot read the tokenizer in {folder}: {error}") from None


class PromptEncoder:
    """Encodes as Hugging Face's `tokenizer(text)["input_ids"]` does, with the fast encoder.

    `folder` holds the tokenizer's files. Hugging Face's own encoding is the reference on a sample
    of the texts (`internal_error` at a difference), and does the work for a tokenizer that the fast
    encoder does not take.
    """

    def __init__(self, folder: Path) -> None:
        self.tokenizer = tokenizer = read_tokenizer(folder)
        if tokenizer.eos_token_id is None:
            raise Failure("model_invalid", "the tokenizer names no end-of-text token")
        self.end_id: int = tokenizer.eos_token_id
        pad_id = tokenizer.pad_token_id
        self.pad_id: int = self.end_id if pad_id is None else pad_id
        self._fast: Encoder | None
        try:
            # What the class of a foreign tokenizer does to its file, the fast encoder cannot know.
            self._fast = None if is_hugging_face(folder) else encoder_of(str(folder))
        except Failure:  # a tokenizer with which our recipes do not train
            self._fast = None
        ids = tokenizer(" a", add_special_tokens=False)["input_ids"]
        # Whether " a" is one token, as with byte-level BPE: then answers get a leading space.
        self.prefix_space = len(ids) == 1
        # What LLM Foundry puts before the texts of others, whose first token loses its space.
        self.lead = "" if self.prefix_space else " "
        self._adds_tokens = tokenizer(" a")["input_ids"] != ids

    def encode(self, texts: Sequence[str], *, special: bool = False) -> list[Ids]:
        """The ids of each text; `special` lets the tokenizer add its special tokens."""
        if self._fast is None or (special and self._adds_tokens):
            return self._encode_by_reference(texts, special)
        encoded = self._fast.encode(texts)
        found = [encoded.of(i).astype(np.int32) for i in range(len(texts))]
        sample = range(0, len(texts), CHECKED)
        for i, ids in zip(sample, self._encode_by_reference(texts[::CHECKED], False), strict=True):
            if not np.array_equal(ids, found[i]):
                raise Failure(
                    "internal_error",
                    f"{self._fast.name} gives other ids than Hugging Face for {texts[i][:200]!r}",
                )
        return found

    def encode_distinct(self, texts: Iterable[str], *, special: bool = False) -> dict[str, Ids]:
        """The ids of each different text, by the text."""
        distinct = list(dict.fromkeys(texts))
        return dict(zip(distinct, self.encode(distinct, special=special), strict=True))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated ids, without special tokens."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _encode_by_reference(self, texts: Sequence[str], special: bool) -> list[Ids]:
        encodings = self.tokenizer.backend_tokenizer.encode_batch_fast(
            list(texts), add_special_tokens=special
        )
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
