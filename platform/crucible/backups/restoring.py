"""Puts a backup back: into an empty home and an empty database, nothing running, or not at all.

Everything is checked that can be checked before a byte is written; each content is hashed while it
is written; the database comes last, in one transaction. Where that fails, what was written is
removed again. Only a restore that is killed leaves something: a note, with which `make up` refuses.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Protocol

from crucible.backups.dumps import connect, is_empty, load, major, program
from crucible.backups.store import DUMP, PLAIN, BackupError, Entry, Store, Summary, Withdrawn
from crucible.paths import RESTORING, migrations_of
from submissions.files import written_atomically

OURS = {
    "datasets",
    "records",
    "profiles",
    "jobs",
    "work",
    "secret.key",
}  # what a backup may hold, and the dump
NOT_COUNTED = {"log", "supervisor.lock"}  # in a home that counts as empty


class Database(Protocol):
    """Where the database is, started if it is ours."""

    def url(self) -> str: ...

    def stop(self) -> None: ...

    def remove(self) -> None: ...


def check_home(home: Path) -> None:
    """Raises `BackupError` unless the home is empty and none of its processes lives."""
    found = sorted(p.name for p in home.iterdir()) if home.is_dir() else []
    if RESTORING in found:
        raise BackupError(
            f"a restore into {home} was broken off: remove what is in it (with DATABASE_URL the"
            " tables too), then restore again"
        )
    if there := [name for name in found if name not in NOT_COUNTED]:
        raise BackupError(
            f"{home} is not empty ({', '.join(there[:3])}): restore into an empty CRUCIBLE_HOME"
        )
    for pid, argument in _running(home):
        raise BackupError(f"process {pid} still works for {home} ({argument}): stop it first")


def _running(home: Path) -> Iterator[tuple[int, str]]:
    """Jobs, databases: processes that name a path in the home."""
    inside = f"{home}/"
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        named = [one for one in arguments if one.startswith(inside)]
        if named and int(entry.name) != os.getpid():
            yield int(entry.name), named[0]


def backup_restore(
    *, home: Path, database: Database, store: Store, name: str | None, say: Callable[[str], None]
) -> Summary:
    """Restores the backup of that name, or the newest; returns its summary.

    Raises `BackupError` with everything as it was.
    """
    names = store.names()
    if not names:
        raise BackupError(f"there is no complete backup in {store.folder}")
    summary = store.summary(name or names[-1])
    _check_release(summary)
    if summary.home != str(home):
        raise BackupError(
            f"this backup is of {summary.home}, and its jobs name their files by that path: set"
            f" CRUCIBLE_HOME={summary.home}"
        )
    if summary.vault != PLAIN and not store.identities:
        raise BackupError(
            "this backup is encrypted: name the file that holds the private key, IDENTITY=FILE"
        )
    with ExitStack() as undo:
        undo.callback(_empty, home)
        undo.callback(database.remove)
        with written_atomically(home / RESTORING) as note:
            note.write(f"{summary.name}\n")
        with tempfile.TemporaryFile(dir=home) as scratch:
            header, entries = store.manifest(summary, scratch)
        _check_paths(entries)
        _check_room(home, store, summary, entries)
        try:
            url = database.url()
            tool = _check_database(url, summary)
            say(f"restoring {len(entries)} files, {summary.bytes} bytes, from {summary.name}")
            for entry in entries:
                _file(home, store, summary, entry)
            os.sync()
            say("files are back and verified; now the database")
            load(url, home / DUMP, tool)
            (home / DUMP).unlink()
        except OSError as error:
            raise BackupError(f"cannot write the restored site: {error}") from None
        except RuntimeError as error:  # of our own PostgreSQL
            raise BackupError(str(error)) from None
        undo.pop_all()
    _withdraw(url, header.withdrawn)
    database.stop()
    (home / RESTORING).unlink()
    for shard in header.withdrawn:
        say(f"not restored, changed by its participant meanwhile: {shard.upload}/{shard.name}")
    return summary


def _check_release(summary: Summary) -> None:
    """This code must know every migration of ours that the database has.

    Those of Django and other packages follow from the pinned versions.
    """
    unknown = [one for one in summary.migrations if not _known(*one.split(".", 1))]
    if unknown:
        raise BackupError(
            f"this release is older than the backup and does not know its migration {unknown[0]}:"
            f" check out {summary.commit} or newer"
        )


def _known(app: str, migration: str) -> bool:
    return (migrations_of(app) / f"{migration}.py").is_file()


def _check_paths(entries: list[Entry]) -> None:
    """A manifest may have been written by somebody else."""
    for entry in entries:
        parts = PurePosixPath(entry.path).parts
        if entry.path != DUMP and (not parts or parts[0] not in OURS or ".." in parts):
            raise BackupError(f"this backup names {entry.path!r}, which none holds: do not use it")
    if [entry.path for entry in entries].count(DUMP) != 1:
        raise BackupError("this backup holds no database: take another")


def _check_room(home: Path, store: Store, summary: Summary, entries: list[Entry]) -> None:
    """All contents are there, and they fit: the dump too, which becomes some times larger."""
    for entry in entries:
        if entry.sha256 and not store.path_of(entry.sha256, summary.vault).is_file():
            raise BackupError(
                f"the backup {summary.name} is not whole: the content of {entry.path} is missing"
                " (objects/): take another backup"
            )
    needed, free = sum(entry.size for entry in entries), shutil.disk_usage(home).free
    if needed > free:
        raise BackupError(f"{home} has {free} bytes free and the backup needs {needed}")


def _check_database(url: str, summary: Summary) -> str:
    """The path of the pg_restore to use; raises `BackupError`."""
    with connect(url) as connection:
        if not is_empty(connection):
            raise BackupError(
                "the database holds tables already: restore into an empty one (createdb), or remove"
                " the folder of the embedded PostgreSQL (docs/organiser.md says where it is)"
            )
        version = major(connection)
    if version < summary.postgres:
        raise BackupError(
            f"the backup is of PostgreSQL {summary.postgres} and this server is {version}:"
            f" restore into {summary.postgres} or newer"
        )
    return program("pg_restore", max(version, summary.dumped_by))[0]


def _file(home: Path, store: Store, summary: Summary, entry: Entry) -> None:
    """Writes and verifies one."""
    target = home / entry.path
    if not entry.sha256:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = store.path_of(entry.sha256, summary.vault)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        found = store.open_up(source, file, vault=summary.vault)
        os.fchmod(descriptor, entry.mode & 0o777)
    if found != entry.sha256:
        raise BackupError(f"{source} is damaged ({entry.path}): take another backup")
    if entry.path != DUMP:
        os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns))


def _withdraw(url: str, withdrawn: list[Withdrawn]) -> None:
    """Rows of shards whose files the backup could not have any more: open uploads' alone."""
    with connect(url) as connection:
        for shard in withdrawn:
            connection.execute(
                "delete from entries_shard where upload_id = %s and name = %s",
                [shard.upload, shard.name],
            )


def _empty(home: Path) -> None:
    """As it was before."""
    for path in home.iterdir():
        if path.name in NOT_COUNTED:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
