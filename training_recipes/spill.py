"""First pass of tokenising: the ids of each shard to a file of its own, whatever the shard's size.

Every shard is a task of its own that may be run twice, so that shards are encoded
side by side, on one machine or many, and a killed run repeats only its unfinished shards.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import xxhash

from submissions.codec import read
from submissions.documents import Document
from submissions.failures import Failure
from submissions.files import written_atomically
from submissions.job import write_json_atomically
from submissions.most_data import MostData
from submissions.shards import Shard, read_documents
from training_recipes.encoder import Encoded, Encoder, Ids, encoder_of, pieces
from training_recipes.tokenizer import END_OF_TEXT_ID

BATCH_DOCUMENTS, BATCH_CHARACTERS = 1_000, 4_000_000  # bounds of what is encoded at once
# Documents whose ids are compared with the reference's: the first of a shard and every so many-th;
# a long one costs memory there (see PIECE in encoder.py), so only up to a length.
CHECKED_FIRST, CHECKED_EVERY, CHECKED_CHARACTERS = 8, 500, 100_000
ID_BYTES = 2
UNIQUE_BYTES = 256 * 2**20  # of fingerprints that are held in memory at once


@dataclass(frozen=True)
class SpillTask:
    """Encode one shard into `folder`, which all workers share."""

    shard: Shard
    tokenizer: str
    folder: Path
    most: MostData


@dataclass(frozen=True)
class Spilled:
    """What is known of an encoded shard; its ids are in `ids_path`, end-of-text ids included."""

    sha256: str  # of the shard's file
    documents: int
    tokens: int
    encoder: str

    def ids_path(self, folder: Path) -> Path:
        """The ids of all documents one after another, as 16-bit numbers."""
        return folder / f"{self.sha256}.ids"

    def documents_path(self, folder: Path) -> Path:
        """Two rows of 64-bit numbers [2, documents]: fingerprints, ascending, and token counts."""
        return folder / f"{self.sha256}.npy"


def spill_shard(task: SpillTask) -> Spilled:
    """Encodes a shard, or returns what an earlier run made of the very same file.

    Raises what `read_documents` raises, `dataset_too_large`, and `encoder_differs` at the first id
    that is not the reference's.
    """
    marker = task.folder / f"{_digest(task.shard)}.json"
    if marker.exists():
        return read(Spilled, marker, code="artifact_corrupt", where=str(marker))
    encoder = encoder_of(task.tokenizer)
    with (
        task.shard.streamed(task.folder) as shard,
        _Spill(task.folder, shard.sha256(), encoder) as spill,
    ):
        for documents in _batches(read_documents(shard)):
            spill.add(documents, shard.name)
            task.most.check(tokens=spill.tokens)
        done = spill.finish()
    write_json_atomically(marker, done)
    return done


def _digest(shard: Shard) -> str:
    """Names the marker of a finished shard; another one as soon as the file may have changed."""
    return hashlib.sha256(f"{shard.identity}\n{shard.stamp}".encode()).hexdigest()


class _Spill:
    """The files of one shard, written beside their place until they are complete."""

    def __init__(self, folder: Path, sha256: str, encoder: Encoder) -> None:
        self.folder, self.sha256, self.encoder = folder, sha256, encoder
        self.fingerprints, self.lengths = array("Q"), array("Q")
        self.tokens = 0
        # Open as long as this object is, and under a name whose ending tells progress what it is.
        self.partial = folder / f".{sha256}.{os.urandom(4).hex()}.ids"
        self.file = self.partial.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.partial.unlink(missing_ok=True)

    def add(self, documents: Sequence[Document], shard: str) -> None:
        """Encodes and appends these documents of the shard of that name."""
        texts, first_piece = _pieces_of(documents, shard)
        encoded = self.encoder.encode(texts)
        self._check(documents, texts, first_piece, encoded, shard)
        starts = encoded.starts[first_piece]  # of documents, and the end
        for start, end in pairwise(starts.tolist()):
            self.fingerprints.append(xxhash.xxh3_64_intdigest(encoded.ids[start:end].data))
        self.lengths.extend((np.diff(starts) + 1).tolist())
        self.tokens += len(encoded.ids) + len(documents)
        with_ends: Ids = np.insert(encoded.ids, starts[1:], END_OF_TEXT_ID)
        self.file.write(with_ends.astype("<u2", copy=False).data)

    def _check(
        self,
        documents: Sequence[Document],
        texts: Sequence[str],
        first_piece: Sequence[int],
        encoded: Encoded,
        shard: str,
    ) -> None:
        seen = len(self.lengths)
        sample = [
            first_piece[position]
            for position in range(len(documents))
            if seen + position < CHECKED_FIRST or (seen + position) % CHECKED_EVERY == 0
        ]
        sample = [piece for piece in sample if len(texts[piece]) <= CHECKED_CHARACTERS]
        different = self.encoder.first_difference(texts, encoded, sample)
        if different is not None:
            document = documents[list(first_piece).index(different)]
            raise Failure(
                "encoder_differs",
                f"{self.encoder.name} gives other ids than the reference",
                shard=shard,
                line=document.line,
            )

    def finish(self) -> Spilled:
        """Puts the files into their place, the ids last."""
        done = Spilled(self.sha256, len(self.lengths), self.tokens, self.encoder.name)
        order = np.argsort(self.fingerprints, kind="stable")
        table = np.stack([np.asarray(self.fingerprints)[order], np.asarray(self.lengths)[order]])
        with written_atomically(done.documents_path(self.folder), "wb") as file:
            np.save(file, table)
        self.file.flush()
        os.fsync(self.file.fileno())
        self.partial.rename(done.ids_path(self.folder))
        return done


def _pieces_of(documents: Sequence[Document], shard: str) -> tuple[list[str], list[int]]:
    """The texts to encode, and the first of each document, with the number of all at the end."""
    texts: list[str] = []
    first = [0]
    for document in documents:
        try:
            texts += pieces(document.text)
        except Failure as failure:
            raise Failure(failure.code, failure.message, shard=shard, line=document.line) from None
        first.append(len(texts))
    return texts, first


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Lists of documents, each small enough to hold its encoding in memory."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if len(batch) >= BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def unique_tokens(spilled: Sequence[Spilled], folder: Path) -> int:
    """Tokens of documents whose ids do not repeat an earlier document's, over all these shards.

    Documents are compared by 64 bits: among 100 million the chance that any two different ones
    count as equal is about 0.03 per cent.
    """
    paths = [done.documents_path(folder) for done in spilled]
    tables = [np.load(path, mmap_mode="r") for path in dict.fromkeys(paths)]
    total = sum(table.nbytes for table in tables)
    parts = 1 + total // UNIQUE_BYTES
    bounds = np.array([part * 2**64 // parts for part in range(parts)], dtype=np.uint64)
    cuts = [[*np.searchsorted(table[0], bounds), table.shape[1]] for table in tables]
    unique = 0
    for part in range(parts):
        slices = [
            table[:, cut[part] : cut[part + 1]] for table, cut in zip(tables, cuts, strict=True)
        ]
        fingerprints, lengths = np.concatenate(slices, axis=1)
        _, first = np.unique(fingerprints, return_index=True)
        unique += int(lengths[first].sum())
    return unique
