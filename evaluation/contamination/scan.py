"""Scans a dataset shard by shard, each a task that depends on nothing else and may be run twice.

What a shard gave lies in a file named after its content and the index until the whole report is
written, so that a run that was killed does again only what it was at.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from evaluation.contamination.blocks import Read, candidates
from evaluation.contamination.code import looks_like_code, programs_in
from evaluation.contamination.compiling import is_kept
from evaluation.contamination.evidence import finding_of, match_of, program_finding
from evaluation.contamination.index import Index, load_index
from evaluation.contamination.methods import Methods
from evaluation.contamination.paraphrases import Meanings, find_paraphrases
from evaluation.contamination.report import FoundExamples, Report, ShardReport
from evaluation.contamination.scanner import scan_lines
from submissions.dataset import find_dataset
from submissions.executor import LocalProcesses, Placement
from submissions.files import written_atomically
from submissions.job import write_json_atomically
from submissions.progress import Progress, no_progress
from submissions.shards import OpenShard, Shard, read_documents

COMPILING = "compiling for some 15 seconds, once on a machine, then scanning"


@dataclass(frozen=True)
class ScanTask:
    """Scan one shard with the index in a folder; `work` keeps the result, for all workers."""

    shard: Shard
    index: Path
    work: Path
    methods: tuple[str, ...]


def scan_dataset(
    paths: Sequence[str | Path],
    index: Path,
    output: Path,
    progress: Progress = no_progress,
    placement: Placement | None = None,
    methods: tuple[str, ...] = (),
    paraphrases: bool = False,
) -> dict[str, Any]:
    """Writes the report of the dataset at `paths` to the file `output` and returns it.

    `methods` are published rules of methods.py to apply besides; `paraphrases` adds what
    `find_paraphrases` sees in a sample, which no count takes in.
    Raises what `find_dataset`, `load_index` and `read_documents` raise: a shard that cannot be read
    to its end has no report.
    """
    started = time.monotonic()
    loaded = load_index(index)
    meanings = Meanings(loaded) if paraphrases else None  # what is missing for it, is told now
    dataset = find_dataset(paths)
    work = output.with_name(f".{output.name}.partial")
    work.mkdir(parents=True, exist_ok=True)
    report = Report(loaded, methods)
    tasks = [ScanTask(shard, index, work, methods) for shard in dataset.shards]
    for done in _scanned(tasks, progress, placement or LocalProcesses(1)):
        report.add(done)
    document = report.document(round(time.monotonic() - started, 3))
    if meanings:
        document["paraphrases"] = find_paraphrases(meanings, dataset.shards, progress)
    write_json_atomically(output, document)
    shutil.rmtree(work)
    return document


def _scanned(
    tasks: list[ScanTask], progress: Progress, placement: Placement
) -> Iterator[ShardReport]:
    """The report of every shard, as they are done, the largest shards first."""
    tasks.sort(key=lambda task: -task.shard.bytes)
    done = 0
    first = "scanning" if is_kept(scan_lines) else COMPILING

    def tell() -> None:
        progress(done, len(tasks), "shards", "scanning" if done else first)

    tell()
    for _, report in placement(scan_shard, tasks, tell):
        done += 1
        tell()
        yield report


def scan_shard(task: ScanTask) -> ShardReport:
    """Scans one shard, or returns what an earlier run found in the very same file."""
    index = cached_index(task.index)
    shard = task.shard
    known = json.dumps([index.hash, task.methods, shard.name, shard.identity, shard.stamp])
    kept = task.work / f"{hashlib.sha256(known.encode()).hexdigest()}.json"
    if kept.exists():
        return ShardReport.of(json.loads(kept.read_text()))
    twice = len(index.programs.keys) > 0  # read: what lies elsewhere is brought here only once
    with (
        tempfile.TemporaryDirectory(dir=task.work) as scratch,
        (shard.fetched if twice else shard.streamed)(Path(scratch)) as opened,
    ):
        report = report_of(opened, index, task.methods)
    with written_atomically(kept) as file:  # on one line, which is written in a third of the time
        file.write(json.dumps(report.as_dict(), allow_nan=False))
    return report


@cache
def cached_index(folder: Path) -> Index:
    """The index, mapped once a process; processes of a machine share its memory."""
    return load_index(folder)


def report_of(shard: OpenShard, index: Index, methods: tuple[str, ...] = ()) -> ShardReport:
    """What stands in one shard."""
    read, rules = Read(), Methods(index, methods)
    report = ShardReport(index.hash, shard.name, methods=rules.found, by_method=rules.documents)
    programs = _programs(shard, index)
    for candidate in candidates(shard, index, read):
        for earlier in [known for known in programs if known < candidate.line]:
            report.count(programs.pop(earlier))
        match = match_of(candidate, shard, index)
        if methods:
            rules.add(match.text, match.words)
        found = programs.pop(match.line, {})
        for row, scores in zip(match.rows, match.scores, strict=True):
            if row[0] not in found or row[1] < found[row[0]][0]:
                found[row[0]] = row[1], partial(finding_of, match, row, scores)
        report.count(found)
    for later in programs.values():
        report.count(later)
    report.documents, report.bytes = read.documents, read.bytes
    return report


def _programs(shard: OpenShard, index: Index) -> dict[int, FoundExamples]:
    """Findings of programs by line, in order; a second pass, only for tasks that ask for code."""
    found: dict[int, FoundExamples] = {}
    if not len(index.programs.keys):
        return found
    for document in read_documents(shard):
        if looks_like_code(document.text):
            for one in programs_in(document.text, index.programs):
                finding = program_finding(document.line, document.text, one)
                known = found.setdefault(document.line, {})
                known[one.example] = finding["severity"], partial(dict, finding)
    return found
