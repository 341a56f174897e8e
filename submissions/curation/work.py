"""Runs the steps of one stage over one shard, or over a group of them in order.

A stage's task writes the documents that are left, a row of figures for each where a joint step
wants it, and last the counts: whoever finds those finds all. So a task may run twice, and a run
that was killed does again only what it was at.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from time import thread_time
from typing import Any, NamedTuple

import msgspec
import orjson

from submissions.codec import read
from submissions.curation.counts import MOST_SOURCES, SourceCounts, StepCounts
from submissions.curation.reading import read_input
from submissions.curation.recipe import load_steps
from submissions.curation.step import STEPS, Document, JointStep, Step, SweepStep, batches
from submissions.failures import Failure, FailureDocument
from submissions.files import placed_atomically, written_atomically
from submissions.job import as_failure
from submissions.shards import LocalShard, Shard

BATCH = 256  # documents that a joint step observes together
BATCH_CHARACTERS = 2**24  # of their texts, before the last one
LEVEL = 3  # of zstd
LINE = "_line"  # key of a document's line in the input, for messages and examples, between stages
DOCUMENTS, ROWS, COUNTS, KEPT = ".jsonl.zst", ".npy", ".json", ".kept.npy"


class StepSpec(NamedTuple):
    """A step as a task carries it to a worker."""

    name: str
    use: str
    options: bytes  # JSON


class Part(NamedTuple):
    """One shard of a task: what is read, what the joint step before decided, where it goes.

    `target` is the path without the endings of the files. `name` is the shard's in messages.
    `empty`: the stage before left nothing of it, and an empty file is no shard.
    """

    shard: Shard
    name: str
    kept: Path | None
    target: Path
    empty: bool


class StageTask(NamedTuple):
    """One task: its parts are read in order, with one memory if the step sweeps."""

    parts: tuple[Part, ...]
    steps: tuple[StepSpec, ...]
    before: str  # the name of the joint step whose decision the parts carry, or nothing
    why: str  # its reason for dropping
    first: bool  # reads the input itself
    last: bool  # writes the output itself
    own: tuple[Path, ...]
    scratch: Path


class PartCounts(msgspec.Struct):
    """What became of one shard: the counts of the steps by name, and the sources that are left."""

    documents: int = 0
    bytes: int = 0
    steps: dict[str, StepCounts] = {}
    sources: dict[str, SourceCounts] = {}


def run_task(task: StageTask) -> FailureDocument | None:
    """Runs a stage on the parts of a task; a failure is returned, so that other tasks go on."""
    try:
        steps = [(spec.name, _made(spec, task.own)) for spec in task.steps]
        size = sum(part.shard.bytes for part in task.parts)
        rules = [(name, step, _rule(step, size)) for name, step in steps]
        if not all(map(_is_done, task.parts)):  # a sweep's memory needs all shards before
            for part in task.parts:
                with (
                    tempfile.TemporaryDirectory(dir=task.scratch) as scratch,
                    part.shard.fetched(Path(scratch)) as local,
                ):
                    _PartRun(task, part, local, rules).run()
    except Exception as error:
        failure = as_failure(error)
        if failure.code == "internal_error":
            raise
        return failure.document
    return None


def counts_of(part: Part) -> PartCounts:
    """What `run_task` counted."""
    where = part.target.with_name(part.target.name + COUNTS)
    return read(PartCounts, where, code="step_failed")


def _is_done(part: Part) -> bool:
    return part.target.with_name(part.target.name + COUNTS).exists()


@cache
def _made(spec: StepSpec, own: tuple[Path, ...]) -> Step:
    """The step, made once in a process."""
    load_steps(own)
    return msgspec.json.decode(spec.options, type=STEPS[spec.use])


def _rule(step: Step, size: int) -> Callable[[Document], str | None] | None:
    if isinstance(step, SweepStep):
        return step.sweep(size)
    return None if isinstance(step, JointStep) else step.apply


class _PartRun:
    """The run of a stage over one shard."""

    def __init__(
        self, task: StageTask, part: Part, local: LocalShard, rules: list[tuple[str, Step, Any]]
    ) -> None:
        self.task, self.part, self.local, self.rules = task, part, local, rules
        self.counts = PartCounts()
        names = ([task.before] if task.before else []) + [name for name, _, _ in rules]
        for name in names:
            self.counts.steps[name] = StepCounts()
        last = rules[-1] if rules else None
        self.joint = last if last and isinstance(last[1], JointStep) else None

    def run(self) -> None:
        """Writes the documents, the rows and the counts, in this order."""
        import zstandard

        rows = []
        with (
            placed_atomically(self._file(DOCUMENTS), durable=False) as partial,
            partial.open("wb") as raw,
            zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).stream_writer(raw) as file,
        ):
            for batch in batches(self._stepped(), BATCH, BATCH_CHARACTERS):
                if self.joint:
                    rows.append(self._observed(batch))
                for document in batch:
                    self._write(file, document)
        if self.joint:
            self._write_rows(rows)
        with written_atomically(self._file(COUNTS), "wb", durable=False) as out:
            out.write(msgspec.json.encode(self.counts))

    def _file(self, ending: str) -> Path:
        return self.part.target.with_name(self.part.target.name + ending)

    def _stepped(self) -> Iterator[Document]:
        """The documents that every step but the last, joint one keeps."""
        rules = [(name, rule, self.counts.steps[name]) for name, _, rule in self.rules if rule]
        for document in self._left():
            size = _size(document)
            for name, rule, counts in rules:
                started = thread_time()
                try:
                    reason = rule(document)
                except Exception as error:
                    raise self._failed(name, document, error) from error
                after = _size(document)
                counts.seconds += thread_time() - started
                counts.taken += 1
                counts.bytes_in += size
                if document.cuts:
                    self._count_cuts(counts, document)
                if reason is not None:
                    counts.dropped += 1
                    removed = counts.reason(reason)
                    removed.documents += 1
                    shown = document.text or document.url
                    removed.add_example(document, self.part.name, shown)
                    break
                size = after
                counts.bytes_out += size
            else:
                yield document

    def _count_cuts(self, counts: StepCounts, document: Document) -> None:
        for reason, piece in document.cuts:
            removed = counts.reason(reason)
            removed.pieces += 1
            removed.add_example(document, self.part.name, piece)
        document.cuts.clear()

    def _left(self) -> Iterator[Document]:
        """The documents of the shard without those that the joint step before decided against."""
        if self.part.empty:
            return
        if self.part.kept is None:
            yield from self._read()
            return
        import numpy as np

        kept = np.load(self.part.kept)
        counts, why = self.counts.steps[self.task.before], self.task.why
        for keep, document in zip(kept, self._read(), strict=True):
            size = _size(document)
            counts.taken += 1
            counts.bytes_in += size
            if keep:
                counts.bytes_out += size
                yield document
            else:
                counts.dropped += 1
                counts.reason(why).documents += 1
                counts.reason(why).add_example(document, self.part.name, document.text)

    def _read(self) -> Iterator[Document]:
        """The documents of the shard, with their lines in the input."""
        for document in read_input(self.local):
            if not self.task.first:
                document.line = document.fields.pop(LINE)
            yield document

    def _observed(self, batch: list[Document]) -> Any:
        assert self.joint is not None
        name, step, _ = self.joint
        assert isinstance(step, JointStep)
        started = thread_time()
        try:
            rows = step.observe(batch)
        except Exception as error:
            raise self._failed(name, batch[0], error) from error
        self.counts.steps[name].seconds += thread_time() - started
        return rows

    def _write(self, file: Any, document: Document) -> None:
        fields = {"text": document.text, **document.fields}
        if not self.task.last:
            fields[LINE] = document.line
        try:
            line = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
        except (orjson.JSONEncodeError, TypeError) as error:
            raise self._failed("writing", document, error) from error
        size = _size(document)
        self.counts.documents += 1
        self.counts.bytes += size
        source = document.source
        if source not in self.counts.sources and len(self.counts.sources) >= MOST_SOURCES:
            source = "others"
        self.counts.sources.setdefault(source, SourceCounts()).add(document, size)
        file.write(line)

    def _write_rows(self, rows: list[Any]) -> None:
        import numpy as np

        with written_atomically(self._file(ROWS), "wb", durable=False) as file:
            np.save(file, np.concatenate(rows) if rows else np.zeros(0), allow_pickle=False)

    def _failed(self, name: str, document: Document, error: Exception) -> Failure:
        """The failure of a step on a document; one of the machine stays what it is."""
        known = as_failure(error)
        if known.code != "internal_error" and not isinstance(error, Failure):
            return known
        said = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
        said = said.partition("\n")[0][:300]
        where = {"shard": self.part.name, "line": document.line}
        return Failure("step_failed", f"step {name}: {said}", **where)  # type: ignore[arg-type]


def _size(document: Document) -> int:
    """Bytes of the text, or of the page while there is no text."""
    if document.page is not None and not document.text:
        return len(document.page)
    return len(document.text.encode(errors="replace"))
