"""What the last backup found, so that unchanged files are not read again.

It lies in CRUCIBLE_HOME and not beside the backups: a site that has only the public key could not
read it there. Without it, everything is read once more and nothing is stored twice.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from crucible.backups.store import Entry, Store, line_of
from submissions.codec import decode_or_misfit
from submissions.files import written_atomically

FOLDER = "backup-index"
# A file that changed within this time may change again without another time stamp.
TOO_FRESH_NS = 2_000_000_000


class Index:
    """Of one store with one set of keys."""

    def __init__(self, home: Path, store: Store) -> None:
        name = hashlib.sha256(f"{store.folder.resolve()}\n{store.vault}".encode()).hexdigest()[:16]
        self.path = home / FOLDER / f"{name}.jsonl"
        self.began = time.time_ns()
        self.before: dict[str, Entry] = {}
        self.now: list[Entry] = []
        try:
            with self.path.open("rb") as lines:
                found = [decode_or_misfit(Entry, line) for line in lines]
            self.before = {entry.path: entry for entry in found}
        except (OSError, ValueError):
            pass  # nothing is known: everything is read

    def known(self, path: str, size: int, mtime_ns: int) -> str | None:
        """The hash of a file that has the size and the time of the last look at it."""
        entry = self.before.get(path)
        same = entry is not None and (entry.size, entry.mtime_ns) == (size, mtime_ns)
        return entry.sha256 if same and entry else None

    def note(self, path: str, size: int, mtime_ns: int, sha256: str) -> None:
        """For the next time."""
        if mtime_ns < self.began - TOO_FRESH_NS:
            self.now.append(Entry(path, size, 0, mtime_ns, sha256))

    def keep(self) -> None:
        """Takes the place of the last one."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        with written_atomically(self.path, "wb", durable=False) as file:
            for entry in self.now:
                file.write(line_of(entry))
