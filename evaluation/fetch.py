"""Copies task files from a folder or a web address into a data folder, verified by git blob sha1.

A file appears under its name only when it is complete and verified. An interrupted download is in
`.NAME.part` beside it, and the next run continues it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from evaluation.gpqa import ARCHIVE_SHA1, build_task_file
from evaluation.suite import Suite, Task, blob_sha1
from submissions.failures import Failure
from submissions.files import placed_atomically
from submissions.progress import Progress, no_progress

PIECE = 1 << 20  # bytes read at a time
ARCHIVE = ".gpqa.zip"  # GPQA's archive in the data folder, while its files are made
PATIENCE = 60  # seconds without a byte after which a download fails


def fetch_suite(
    suite: Suite, data: Path, source: str, gpqa: str | None = None, progress: Progress = no_progress
) -> list[dict[str, Any]]:
    """Fetches every file of the suite that `data` lacks; one row a file: `file, labels, state`.

    `source` is a folder or http(s) address that holds the files by their paths in the suite
    (LLM Foundry's scripts/eval/local_data does); `gpqa` is the path or address of GPQA's archive,
    from which its two files are made. States: `present` (already there), `fetched`, `absent` (the
    source lacks it), `wrong` (the source has another content), `archive` (it is made from GPQA's
    archive, and none was named). Raises `fetch_failed` when a source cannot be reached.
    """
    if not _on_the_web(source) and not Path(source).is_dir():
        raise Failure("fetch_failed", f"{source} is neither a folder nor an http(s) address")
    files: dict[str, list[Task]] = {}
    for task in suite.tasks:
        files.setdefault(task.file, []).append(task)
    rows = []
    for number, (file, tasks) in enumerate(files.items()):
        progress(number, len(files), "file", file)
        state = _provide(tasks[0], data, source, gpqa)
        rows.append({"file": file, "labels": [task.label for task in tasks], "state": state})
    (data / ARCHIVE).unlink(missing_ok=True)
    progress(len(files), len(files), "file", "done")
    return rows


def _on_the_web(source: str) -> bool:
    return urlsplit(source).scheme in ("http", "https")


def _provide(task: Task, data: Path, source: str, gpqa: str | None) -> str:
    target = data / task.file
    if target.is_file() and blob_sha1(target) == task.sha1:
        return "present"
    if task.made_from is not None and gpqa is not None:
        return _make(task, data, gpqa)
    name = quote(task.file) if _on_the_web(source) else task.file
    state = _fetch(f"{source.rstrip('/')}/{name}", target, task.sha1)
    return "archive" if state == "absent" and task.made_from is not None else state


def _make(task: Task, data: Path, gpqa: str) -> str:
    """A task file from GPQA's archive, under its name only when it is the expected one."""
    archive = data / ARCHIVE if _on_the_web(gpqa) else Path(gpqa)
    if _on_the_web(gpqa) and not archive.is_file():
        state = _fetch(gpqa, archive, ARCHIVE_SHA1)
        if state != "fetched":
            return state
    if not archive.is_file():
        return "absent"
    if blob_sha1(archive) != ARCHIVE_SHA1:
        return "wrong"
    target = data / task.file
    target.parent.mkdir(parents=True, exist_ok=True)
    with placed_atomically(target, durable=False, one_writer=True) as partial:
        build_task_file(archive, target.name, partial)
    return "fetched"


def _fetch(origin: str, target: Path, sha1: str) -> str:
    """Brings one file from a path or an address."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")  # kept after a failure: it is continued
    # A second try only if the first continued an earlier run's part, which may be damaged.
    for _ in range(2 if partial.exists() else 1):
        found = _download(origin, partial) if _on_the_web(origin) else _copy(Path(origin), partial)
        if not found:
            return "absent"
        if blob_sha1(partial) == sha1:
            partial.replace(target)
            return "fetched"
        partial.unlink()
    return "wrong"


def _copy(origin: Path, partial: Path) -> bool:
    """Copies what `partial` lacks of the file; False when there is none."""
    if not origin.is_file():
        return False
    with origin.open("rb") as file:
        have = partial.stat().st_size if partial.exists() else 0
        file.seek(have)
        _write(partial, iter(lambda: file.read(PIECE), b""), append=have > 0)
    return True


def _download(address: str, partial: Path) -> bool:
    """Gets what `partial` lacks of the file; False when the server does not have it."""
    import requests

    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # a compressed body could not be continued
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with requests.get(address, headers=headers, stream=True, timeout=PATIENCE) as response:
            if response.status_code == 404:
                return False
            if response.status_code == 416:  # nothing is missing: the content decides
                return True
            response.raise_for_status()
            # A server without ranges answers 200 and sends all of it.
            append = response.status_code == 206
            _write(partial, response.iter_content(PIECE), append)
    except requests.RequestException as error:
        raise Failure("fetch_failed", f"{address}: {error}") from error
    return True


def _write(partial: Path, pieces: Iterable[bytes], append: bool) -> None:
    with partial.open("ab" if append else "wb") as file:
        for piece in pieces:
            file.write(piece)
