"""`fasttext`: keeps what a fastText classifier takes for text like good examples.

Give a trained `model`, or `positives` and `negatives`: shards or folders to train on. DCLM used
200,000 of each, two-word runs and fastText's defaults, and kept the best tenth.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from submissions.curation.step import Document, Step, step
from submissions.curation.steps.ranked import RankedStep
from submissions.failures import Failure
from submissions.files import placed_atomically
from submissions.shard_search import find_shards
from submissions.shards import read_documents

LONGEST = 10_000  # characters of a document that are judged: fastText averages over words
LEAST = 20  # examples of each side; fewer are no training
_SPACE = re.compile(r"\s+")


@step("fasttext")
class FastText(RankedStep, frozen=True):
    """Training runs in one thread from a fixed seed, so that it gives the same model every time."""

    paths: ClassVar[tuple[str, ...]] = ("model", "positives", "negatives")

    model: str = ""
    positives: list[str] = []
    negatives: list[str] = []
    label: str = "positive"  # of the model's labels, without `__label__`
    examples: int = 200_000  # of each side at most, drawn by hash; both sides get as many
    word_ngrams: int = 2
    dim: int = 100
    epoch: int = 5
    lr: float = 0.1
    bucket: int = (
        2_000_000  # of runs of words; with dim it decides the size: 4 · bucket · dim bytes
    )
    seed: int = 1

    def check(self) -> None:
        """Raises ValueError unless there is a model, or both sides of one to train."""
        super().check()
        if bool(self.model) == bool(self.positives or self.negatives):
            raise ValueError("give either model, or positives and negatives")
        if not self.model and not (self.positives and self.negatives):
            raise ValueError("training needs positives and negatives")

    def prepared(self, work: Path) -> Step:
        """The step with its trained model."""
        if self.model:
            return self
        target = work / "model.bin"
        if not target.exists():
            self._train(work, target)
        return msgspec.structs.replace(self, model=str(target), positives=[], negatives=[])

    def figure(self, document: Document) -> float:
        """The model's probability of the label."""
        scores = _model(self.model).predict(line_of(document.text) + "\n", -1, 0.0, "replace")
        wanted = f"__label__{self.label}"
        found = [float(share) for share, label in scores if label == wanted]
        if not found and _space(document.text):
            labels = [label.removeprefix("__label__") for _, label in scores]
            if labels:
                said = f"the model has no label {self.label!r}; it has {', '.join(labels[:10])}"
                raise Failure("curation_invalid", said)
        return min(found[0], 1.0) if found else 0.0

    def reason(self) -> str:
        """Why a document is dropped."""
        return "not like the positives"

    def _train(self, work: Path, target: Path) -> None:
        sides = {"positive": _drawn(self.positives, self.examples),
                 "negative": _drawn(self.negatives, self.examples)}  # fmt: skip
        for side, lines in sides.items():
            if len(lines) < LEAST:
                said = (
                    f"step fasttext: {side}s hold {len(lines)} documents with text, "
                    f"and training needs {LEAST} at least"
                )
                raise Failure("curation_invalid", said)
        size = min(map(len, sides.values()))  # unequal sides teach which one is larger
        marked = [
            (hashlib.blake2b(line.encode(errors="replace")).digest(), f"__label__{side} {line}\n")
            for side, lines in sides.items()
            for line in lines[:size]
        ]
        text = work / "training.txt"
        with text.open("w", encoding="utf-8", errors="replace") as file:
            file.writelines(line for _, line in sorted(marked))
        import fasttext

        try:
            trained = fasttext.train_supervised(
                str(text), wordNgrams=self.word_ngrams, dim=self.dim, epoch=self.epoch, lr=self.lr,
                bucket=self.bucket, seed=self.seed, thread=1, verbose=0,
            )  # fmt: skip
        except (RuntimeError, ValueError) as error:  # such as a loss that is no number
            said = f"step fasttext: training failed: {error}"
            raise Failure("curation_invalid", said) from None
        with placed_atomically(target) as partial:
            trained.save_model(str(partial))
        text.unlink()


def line_of(text: str) -> str:
    """The text as the model sees it: one line, of bounded length."""
    return _space(text[:LONGEST])


def _space(text: str) -> str:
    return _SPACE.sub(" ", text.replace("\0", " ")).strip()


def _drawn(paths: list[str], most: int) -> list[str]:
    """The lines with the smallest hashes, so that the order of shards does not matter."""
    import heapq

    def marked() -> Iterator[tuple[bytes, str]]:
        for shard in find_shards(paths):
            with shard.fetched(Path(paths[0]).parent) as local:
                for document in read_documents(local):
                    if line := line_of(document.text):
                        data = line.encode(errors="replace")
                        yield hashlib.blake2b(data, digest_size=8, key=b"draw").digest(), line

    return [line for _, line in heapq.nsmallest(most, marked())]


@functools.cache
def _model(path: str) -> Any:
    """The model, loaded once in a process."""
    import fasttext

    try:
        return fasttext.load_model(path).f
    except ValueError as error:
        raise Failure("curation_invalid", f"{path} is no fastText model: {error}") from None
