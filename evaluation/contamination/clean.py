"""Writes a dataset without the documents, or the stretches of them, in which a question was found.

Every shard is written under its name in its own format with all of its columns; what left is told
line by line in contamination.log beside the shards.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from evaluation.contamination.blocks import Read, candidates
from evaluation.contamination.clean_parquet import write_parquet
from evaluation.contamination.evidence import CONTEXT, Match, finding_of, match_of
from evaluation.contamination.index import Index, load_index
from evaluation.contamination.rules import SEVERITIES
from evaluation.contamination.scan import cached_index
from submissions.dataset import find_dataset
from submissions.documents import numbered_lines, read_bytes
from submissions.executor import LocalProcesses, Placement
from submissions.failures import Failure
from submissions.progress import Progress, no_progress
from submissions.shards import LocalShard, Shard

LOG = "contamination.log"  # a name that a dataset's folder may hold beside its shards
SCRATCH = ".scratch"  # of workers, some of which may die; it never becomes part of the output
SHORTEST = 200  # characters of a document that are worth keeping once stretches were cut out


@dataclass(frozen=True)
class CleanTask:
    """Clean one shard into `folder`; findings less grave than `severity` stay."""

    shard: Shard
    index: Path
    folder: Path
    severity: int
    spans: bool


def clean_dataset(
    paths: Sequence[str | Path],
    index: Path,
    output: Path,
    *,
    severity: str = "medium",
    spans: bool = False,
    progress: Progress = no_progress,
    placement: Placement | None = None,
) -> dict[str, Any]:
    """Writes the folder `output`, which must be new, and returns the figures.

    Documents with a finding of that severity or a graver one are left out; with `spans` only what
    was found, with CONTEXT characters around it, as long as enough is left. A shard of which
    nothing is left is not written. Raises `output_exists`, `mixture_invalid` for a mixture, and
    what `scan_dataset` raises.
    """
    if output.exists() and any(output.iterdir()):
        raise Failure("output_exists", f"{output} is not empty")
    loaded = load_index(index)
    dataset = find_dataset(paths)
    if dataset.weighted:
        raise Failure("mixture_invalid", "name the shards or folders of each source to clean it")
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / SCRATCH).mkdir(parents=True)
    grave = SEVERITIES.index(severity)
    tasks = [CleanTask(shard, index, partial, grave, spans) for shard in dataset.shards]
    done: dict[str, dict[str, Any]] = {}

    def tell() -> None:
        progress(len(done), len(tasks), "shards", "cleaning")

    for task, figures in (placement or LocalProcesses(1))(clean_shard, tasks, tell):
        done[task.shard.name] = figures
        tell()
    with (partial / LOG).open("w", encoding="utf-8") as log:
        for name in sorted(done):
            log.writelines(json.dumps(line) + "\n" for line in done[name].pop("log"))
    shutil.rmtree(partial / SCRATCH)
    partial.rename(output)
    shards = [{"name": name, **done[name]} for name in sorted(done)]
    sums = {key: sum(one[key] for one in shards) for key in ("documents", "removed", "cut")}
    return {"index_hash": loaded.hash, **sums, "shards": shards, "log": str(output / LOG)}


def clean_shard(task: CleanTask) -> dict[str, Any]:
    """Cleans one shard; `documents` read, `removed`, `cut`, and the `log` lines."""
    index = cached_index(task.index)
    with (
        tempfile.TemporaryDirectory(dir=task.folder / SCRATCH) as scratch,
        task.shard.fetched(Path(scratch)) as local,
    ):
        read = Read()
        judged = (match_of(one, local, index) for one in candidates(local, index, read))
        found = {
            match.line: match
            for match in judged
            if any(row[1] <= task.severity for row in match.rows)
        }
        texts = {line: _without(match, task) for line, match in found.items()}
        removed = sum(text is None for text in texts.values())
        if removed < read.documents:
            target = task.folder / _inside(task.shard.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            cleaned = Path(scratch) / f"cleaned {target.name}"
            (write_parquet if local.format == "parquet" else _write_jsonl)(local, cleaned, texts)
            cleaned.rename(target)  # whole: the same task may run elsewhere at the same time
    log = [_log_line(task, match, texts[line], index) for line, match in sorted(found.items())]
    return {"documents": read.documents, "removed": removed, "cut": len(found) - removed,
            "log": log}  # fmt: skip


def _inside(name: str) -> Path:
    """The shard's name as a path in the output's folder: a full path or URI loses its start."""
    parts = [
        part for part in Path(name.partition("://")[2] or name).parts if part not in ("/", "..")
    ]
    return Path(*parts)


def _without(match: Match, task: CleanTask) -> str | None:
    """The text that is kept of a document; None where it leaves as a whole."""
    if not task.spans:
        return None
    kept, place = [], 0
    for start, end in _stretches(match, task.severity):
        kept.append(match.text[place:start])
        place = max(place, end)
    kept.append(match.text[place:])
    text = "\n\n".join(part for part in kept if part.strip())
    return text if len(text) >= SHORTEST else None


def _stretches(match: Match, severity: int) -> list[tuple[int, int]]:
    """[start, end) of what leaves, in order and without overlaps, between words."""
    found = []
    for row, scores in zip(match.rows, match.scores, strict=True):
        if row[1] <= severity:
            start, end = finding_of(match, row, scores)["doc_span"]
            found.append((max(start - CONTEXT, 0), min(end + CONTEXT, len(match.text))))
    joined: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _log_line(task: CleanTask, match: Match, kept: str | None, index: Index) -> dict[str, Any]:
    findings = []
    for row, scores in zip(match.rows, match.scores, strict=True):
        if row[1] > task.severity:
            continue
        span = finding_of(match, row, scores)["doc_span"]
        first, behind = index.first_owner[row[0]], index.first_owner[row[0] + 1]
        findings += [
            {"task": index.tasks[owner]["label"], "index": place, "severity": SEVERITIES[row[1]],
             "doc_span": span}
            for owner, place in index.owners[first:behind, 1:].tolist()
        ]  # fmt: skip
    left = "document" if kept is None else "spans"
    return {"shard": task.shard.name, "line": match.line, "left": left, "findings": findings}


def _write_jsonl(shard: LocalShard, target: Path, texts: dict[int, str | None]) -> None:
    """Lines that were not found stay as they are, byte for byte."""
    compression = shard.format.removeprefix("jsonl").lstrip(".")
    with _opened(target, compression) as write:
        chunks = read_bytes(shard, compression)
        for number, line, terminated in numbered_lines(chunks, shard.name):
            if number not in texts:
                write(line)
                if terminated:
                    write(b"\n")
            elif (text := texts[number]) is not None:
                write(orjson.dumps({**orjson.loads(line), "text": text}) + b"\n")


@contextlib.contextmanager
def _opened(target: Path, compression: str) -> Iterator[Callable[[bytes], Any]]:
    """Writes bytes to a file of that compression."""
    if compression == "zst":
        import zstandard

        with target.open("wb") as raw, zstandard.ZstdCompressor(level=3).stream_writer(raw) as file:
            yield file.write
    elif compression == "gz":
        with target.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped:
            yield zipped.write  # without a name and a time, so that a second run gives the same
    else:
        with target.open("wb") as plain:
            yield plain.write
