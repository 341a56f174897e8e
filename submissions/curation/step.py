"""What a curation step is: a name, options with types, and a rule for one document.

A step of your own is a class below `Step` with the decorator `step`: docs/curation.md shows one in
ten lines. Steps that must know the other documents are below `JointStep` or `SweepStep`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from submissions.failures import Failure

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST_PIECE = 300  # characters that are kept of a piece that a step cut out, as an example


class Document:
    """A document on its way through the steps; a step may change `text`.

    `line` is its line or record in the shard that it was read from, `page` the bytes of an HTML
    page until a step makes text of them, `charset` what the server said about them, and `fault` why
    there is no text to make. `fields` are the other keys that its line had, and stay with it.
    """

    __slots__ = (
        "_split", "_split_of", "charset", "cuts", "fault", "fields", "line", "page", "text",
    )  # fmt: skip

    def __init__(
        self,
        line: int,
        text: str,
        fields: dict[str, Any] | None = None,
        page: bytes | None = None,
        charset: str = "",
    ) -> None:
        self.line, self.text, self.page, self.charset = line, text, page, charset
        self.fields: dict[str, Any] = {} if fields is None else fields
        self.fault = ""
        self.cuts: list[tuple[str, str]] = []
        self._split: list[str] = []
        self._split_of: str | None = None

    @property
    def url(self) -> str:
        """Where it was fetched from, or the empty string."""
        found = self.fields.get("url")
        return found if isinstance(found, str) else ""

    @property
    def source(self) -> str:
        """The name that its maker gave its origin, or the empty string."""
        found = self.fields.get("source")
        return found if isinstance(found, str) else ""

    @property
    def words(self) -> list[str]:
        """The text between white space; split once for all steps that ask."""
        if self._split_of is not self.text:
            self._split, self._split_of = self.text.split(), self.text
        return self._split

    def cut(self, reason: str, piece: str) -> None:
        """Says that the step took this piece out of the text: it is counted, some are shown."""
        self.cuts.append((reason, piece[:LONGEST_PIECE]))


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule for one document; the fields of the class are the options in the recipe file.

    A step is made once in each worker and sees documents of any shard in any order: what it answers
    may depend on the document and the options alone.
    """

    reads: ClassVar[str] = "text"  # or "url": may come before the pages become text
    paths: ClassVar[tuple[str, ...]] = ()  # options that name files, relative to the recipe file

    @abstractmethod
    def apply(self, document: Document) -> str | None:
        """Why the document is dropped, in a few words, or None to keep it."""

    def prepared(self, _work: Path) -> Step:
        """The step with what it needs before any document is read, such as a trained model.

        Called once, by the command itself; `_work` is a folder that all workers see.
        """
        return self

    def check(self) -> None:
        """Raises ValueError with a sentence on options that do not go together."""


class JointStep(Step, frozen=True):
    """A rule that must have seen all documents: first a row for each, then one decision on all."""

    @abstractmethod
    def observe(self, documents: Sequence[Document]) -> NDArray[Any]:
        """A row for each document; documents come in batches."""

    @abstractmethod
    def decide(self, rows: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """For each shard, in their order, which of its rows to keep: arrays of truth values."""

    @abstractmethod
    def reason(self) -> str:
        """Why the others are dropped."""

    def apply(self, document: Document) -> str | None:
        """Not asked: see `decide`."""
        raise NotImplementedError


class SweepStep(Step, frozen=True):
    """A rule that remembers the documents before: it runs over shards one after another.

    `groups` cuts the shards, in the order of their names, into that many parts which do not know of
    each other and run at the same time.
    """

    groups: int = 1

    @abstractmethod
    def sweep(self, size: int) -> Callable[[Document], str | None]:
        """The rule with an empty memory; `size` is how many bytes of files it will read about."""

    def apply(self, document: Document) -> str | None:
        """Not asked: see `sweep`."""
        raise NotImplementedError


STEPS: dict[str, type[Step]] = {}
Kind = TypeVar("Kind", bound=type[Step])


def step(name: str) -> Callable[[Kind], Kind]:
    """Enters a class under the name that recipe files use."""

    def entered(kind: Kind) -> Kind:
        known = STEPS.get(name)
        if known is not None and known.__module__ != kind.__module__:
            said = f"two steps are called {name}: {known.__module__} and {kind.__module__}"
            raise Failure("curation_invalid", said)
        STEPS[name] = kind
        return kind

    return entered


def batches(documents: Iterator[Document], size: int, characters: int) -> Iterator[list[Document]]:
    """The documents in lists of `size`, fewer where their texts reach so many characters."""
    batch: list[Document] = []
    held = 0
    for document in documents:
        batch.append(document)
        held += len(document.text)
        if len(batch) == size or held >= characters:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
