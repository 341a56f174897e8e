"""The second pass: looks closely at the texts that were drawn, each once.

A task reads one shard that holds drawn texts and returns what it saw of each. Of a long text only
the start is looked at, so that memory and time are bounded whatever the data.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from submissions.documents import Document
from submissions.languages import language_of
from submissions.near_duplicates import SHINGLE, shingles, signature, words
from submissions.profile.embeddings import embed, window
from submissions.profile.looks import (
    compression_ratio,
    furniture_share,
    host_of,
    is_code,
    repeated_lines,
    repeated_runs,
    script_of,
)
from submissions.profile.personal import personal_data
from submissions.profile.rules import RULES, broken_rules
from submissions.profile.sketches import Hashes, text_hash
from submissions.profile.texts import line_pieces
from submissions.shards import Shard, read_documents

LOOKED_AT = 30_000  # characters of a text
SHOWN = 2_000  # characters of a text that is kept to be read
TOKENISED = 20_000  # characters of a text whose tokens are counted
TERMS, TERM_CHARACTERS = 30, 24  # words that are kept of a text to name its topic, and of a word
GRAMS_KEPT = 2**64 // 64  # of the hashes of runs of words, those below are kept: one in 64
BATCH = 64  # texts that are embedded together


@dataclass(frozen=True)
class LookTask:
    """Look at the drawn texts of one shard; hashes are sorted and lie in a file of the folder.

    Of its three rows `looked` are to be looked at, `near` to get signatures, `shown` to be kept.
    """

    shard: Shard
    source: str
    folder: Path
    drawn: str
    salt: bytes
    tokenizer: str


@dataclass(frozen=True)
class Row:
    """What was seen of one text; shares are from 0 to 1, `words` and `lines` of what was read.

    `grams` are hashes of one in 64 of its runs of words. `text` is empty unless it is to be shown.
    """

    hash: int
    shard: str
    line: int
    source: str
    host: str
    characters: int
    words: int
    lines: int
    language: str
    script: str
    compression: float
    repeated_lines: float
    repeated_runs: float
    furniture: float
    code: bool
    personal: dict[str, int]
    broken: list[str]
    terms: list[str]
    grams: Hashes
    grams_total: int
    tokenised_bytes: int
    text: str
    tokens: int | None = None

    @property
    def quality(self) -> float:
        """The share of the RULES that the text keeps."""
        return 1 - len(self.broken) / len(RULES)


@dataclass
class Looked:
    """Rows with their vectors, batches of shape (n, 256), and signatures (112,) by text hash."""

    rows: list[Row] = field(default_factory=list)
    vectors: list[Any] = field(default_factory=list)
    near_hashes: list[int] = field(default_factory=list)
    signatures: list[Any] = field(default_factory=list)


def look_at_shard(task: LookTask) -> Looked:
    """Looks at every drawn text of the shard once; the same whatever was drawn of other shards."""
    with np.load(task.folder / task.drawn, allow_pickle=False) as arrays:
        looked, near, shown = (set(arrays[name].tolist()) for name in ("looked", "near", "shown"))
    done = Looked()
    batch: list[Row] = []
    texts: list[str] = []
    counter = _token_counter(task.tokenizer)
    for value, document in _drawn(task, looked | near):
        if value in near:
            done.near_hashes.append(value)
            done.signatures.append(signature(document.text[:LOOKED_AT]))
        if value in looked:
            batch.append(_row(value, document, task, keep=value in shown))
            texts.append(document.text[:TOKENISED])
        if len(batch) == BATCH:
            _finish(done, batch, texts, counter)
            batch, texts = [], []
    if batch:
        _finish(done, batch, texts, counter)
    return done


def _drawn(task: LookTask, wanted: set[int]) -> Iterator[tuple[int, Document]]:
    """The wanted texts of the shard by their hash, each the first time that it comes."""
    left = set(wanted)
    with task.shard.fetched(task.folder) as local:
        for document in read_documents(local):
            value = text_hash(document.text, task.salt)
            if value in left:
                left.discard(value)
                yield value, document
                if not left:
                    return


def _row(value: int, document: Document, task: LookTask, *, keep: bool) -> Row:
    head = document.text[:LOOKED_AT]
    lines = [line for piece in line_pieces(head) for line in piece if line]
    language = language_of(head)
    runs = shingles(head)
    hashes = [xxhash.xxh3_64_intdigest(run) for run in runs]
    return Row(
        hash=value,
        shard=task.shard.name,
        line=document.line,
        source=task.source,
        host=host_of(document.url) if document.url else "",
        characters=len(document.text),
        # Every word but the first four begins a run; of one run alone that is not known.
        words=len(runs) + SHINGLE - 1 if len(runs) > 1 else len(words(head)),
        lines=len(lines),
        language=language.code,
        script=script_of(head),
        compression=compression_ratio(head.encode()),
        repeated_lines=repeated_lines(lines),
        repeated_runs=repeated_runs(runs),
        furniture=furniture_share(lines),
        code=is_code(lines),
        personal=personal_data(head),
        broken=broken_rules(head, lines, language.code),
        terms=_terms(head),
        grams=np.array([one for one in hashes if one < GRAMS_KEPT], dtype=np.uint64),
        grams_total=len(runs),
        tokenised_bytes=len(head[:TOKENISED].encode()),
        text=document.text[:SHOWN] if keep else "",
    )


def _terms(text: str) -> list[str]:
    """The commonest words, of three letters or more, of the part that is embedded."""
    found = Counter(
        word
        for word in words(window(text))
        if 3 <= len(word) <= TERM_CHARACTERS and not any(map(str.isdigit, word))
    )
    return sorted(found, key=lambda word: (-found[word], word))[:TERMS]


def _finish(
    done: Looked,
    rows: Sequence[Row],
    texts: Sequence[str],
    count: Callable[[Sequence[str]], Sequence[int]] | None,
) -> None:
    """Adds rows with what is computed of several texts together."""
    tokens = count(texts) if count else [None] * len(texts)
    done.vectors.append(embed(texts).astype(np.float16))
    for row, number in zip(rows, tokens, strict=True):
        done.rows.append(Row(**{**vars(row), "tokens": number}))


def _token_counter(tokenizer: str) -> Callable[[Sequence[str]], Sequence[int]] | None:
    """None where the tokenizer is not on this machine; by name, as in validate.py."""
    module = importlib.import_module("training_recipes.encoder")
    counter: Callable[[Sequence[str]], Sequence[int]] | None = module.token_counter(tokenizer)
    return counter
