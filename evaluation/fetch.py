"""Brings task files from a folder or a web address into a data folder, verified by git blob sha1.

A file appears under its name only when it is whole and the expected one; what was interrupted lies
beside it as `.NAME.part` and is continued by the next run.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from evaluation.suite import Suite, Task, blob_sha1
from submissions.failures import Failure
from submissions.progress import Progress, no_progress

PIECE = 1 << 20  # bytes read at a time
PATIENCE = 60  # seconds without a byte before a web server is given up


def fetch_suite(
    suite: Suite, data: Path, source: str, progress: Progress = no_progress
) -> list[dict[str, Any]]:
    """Fetches every file of the suite that `data` lacks; one row a file: `file, labels, state`.

    `source` is a folder or http(s) address that holds the files by their paths in the suite
    (LLM Foundry's scripts/eval/local_data does). States: `present` (was there), `fetched`, `absent`
    (the source lacks it), `wrong` (the source has another content), `archive` (GPQA: its files are
    made from a protected archive, which this version cannot unpack yet). Raises `fetch_failed` when
    the source cannot be reached.
    """
    web = urlsplit(source).scheme in ("http", "https")
    if not web and not Path(source).is_dir():
        raise Failure("fetch_failed", f"{source} is neither a folder nor an http(s) address")
    files: dict[str, list[Task]] = {}
    for task in suite.tasks:
        files.setdefault(task.file, []).append(task)
    rows = []
    for number, (file, tasks) in enumerate(files.items()):
        progress(number, len(files), "file", file)
        state = _fetch(tasks[0], data / file, source, web)
        rows.append({"file": file, "labels": [task.label for task in tasks], "state": state})
    progress(len(files), len(files), "file", "done")
    return rows


def _fetch(task: Task, target: Path, source: str, web: bool) -> str:
    if task.sha1 is None:
        return "archive"
    if target.is_file() and blob_sha1(target) == task.sha1:
        return "present"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    # A second try only where the first went on with an earlier run's part, which may be at fault.
    for _ in range(2 if partial.exists() else 1):
        if web:
            found = _download(f"{source.rstrip('/')}/{quote(task.file)}", partial)
        else:
            found = _copy(Path(source) / task.file, partial)
        if not found:
            return "absent"
        if blob_sha1(partial) == task.sha1:
            partial.replace(target)
            return "fetched"
        partial.unlink()
    return "wrong"


def _copy(origin: Path, partial: Path) -> bool:
    if not origin.is_file():
        return False
    with origin.open("rb") as file:
        _write(partial, iter(lambda: file.read(PIECE), b""), append=False)
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
