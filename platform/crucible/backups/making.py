"""Makes a backup: first a snapshot of the database, then the files that its rows name.

Shards and the files of `records/` never change once they are named, so the copy of them may take
its time while the site works. Folders of jobs and the work of stages do change: they are copied as
they are at that moment, jobs before their work, so that a copied result has its outputs beside it.
What an attempt left half done is what a power cut would have left: the stages resume from it.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from crucible.backups.dumps import connect, dumped, major, program
from crucible.backups.index import Index
from crucible.backups.lock import lock_removals
from crucible.backups.store import (
    DUMP,
    FORMAT,
    BackupError,
    Entry,
    Header,
    Store,
    Summary,
    Withdrawn,
)
from crucible.paths import REPOSITORY, migrations_of
from submissions.job import CLOSED, LOCK, PROCESS, code_commit
from submissions.warden import SCRATCH, WARDEN

SAFELY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # no link, no wait at a pipe
# Of a job's folder: what says that its process runs. Without it a job is launched again under its
# key and resumes, as after `make down`.
OF_A_PROCESS = {PROCESS, LOCK, CLOSED, WARDEN, SCRATCH, "launch", ".launch"}
WALKS = 5  # of a folder that changes while it is read
GONE_WITH_SETTINGS = {"failed", "cancelled"}  # whose datasets CRUCIBLE_KEEP_DATASETS removes


@dataclass(frozen=True)
class Shard:
    """A shard as the snapshot has it; `state` of its submission, empty for an open upload."""

    upload: str
    name: str
    size: int
    sha256: str
    state: str


@dataclass
class Named:
    """What the rows of the snapshot name."""

    migrations: list[str]
    uploads: list[str]
    shards: list[Shard]
    records: list[str]
    jobs: list[str]
    submissions: list[int]


@dataclass
class Taken:
    """What a backup holds so far."""

    entries: list[Entry] = field(default_factory=list)
    withdrawn: list[Withdrawn] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    new_bytes: int = 0


def backup_make(*, home: Path, url: str, store: Store, say: Callable[[str], None]) -> Summary:
    """One more backup in the store; returns its summary. Raises `BackupError`.

    `url` is the database's. Files that rows name and the site lacks are said and counted: the
    backup is made all the same.
    """
    if store.folder.is_relative_to(home):
        raise BackupError(f"choose a folder outside {home}: a backup in it is lost with it")
    with store.locked(), connect(url) as guard:
        lock_removals(guard)
        index = Index(home, store)
        taken = Taken()
        name = _new_name(store)
        try:
            named, version, tool = _database(url, store, taken)
            say(f"the database is in: {taken.entries[0].size} bytes; now the files")
            _room(home, store, named, index)
            _files(home, store, named, index, taken)
            _still_locked(guard)
            summary = Summary(
                format=FORMAT, name=name, home=str(home), commit=code_commit(REPOSITORY),
                migrations=named.migrations, postgres=version, dumped_by=tool, vault=store.vault,
                recipients=store.recipients, files=len(taken.entries),
                bytes=sum(entry.size for entry in taken.entries), new_bytes=taken.new_bytes,
                missing=len(taken.missing), manifest_sha256="",
            )  # fmt: skip
            summary = store.complete(summary, Header(taken.withdrawn), taken.entries)
        except OSError as error:
            raise BackupError(f"the backup was broken off: {error}") from None
        except psycopg.Error as error:
            raise BackupError(f"the backup was broken off: PostgreSQL: {error}") from None
        index.keep()
    for path in taken.missing:
        say(f"MISSING on this site, and so in the backup: {path}")
    return summary


def _new_name(store: Store) -> str:
    """The present second, or the next one if there is a backup of this."""
    while store.folder_of(name := f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}").exists():
        time.sleep(0.1)
    return name


def _database(url: str, store: Store, taken: Taken) -> tuple[Named, int, int]:
    """Dumps the database and reads from the same snapshot what its rows name."""
    with connect(url) as reader, reader.transaction():
        reader.execute("set transaction isolation level repeatable read, read only")
        (snapshot,) = reader.execute("select pg_export_snapshot()").fetchone() or ("",)
        named = _named(reader)
        version = major(reader)
        pg_dump, tool = program("pg_dump", version)
        with dumped(url, str(snapshot), pg_dump) as stream:
            sha256, size, _ = store.add(stream)
    taken.entries.append(Entry(DUMP, size, 0o600, 0, sha256))
    taken.new_bytes += size
    return named, version, tool


def _named(reader: psycopg.Connection) -> Named:
    if reader.execute("select to_regclass('django_migrations')").fetchone() == (None,):
        raise BackupError("this database holds no site yet: there is nothing to back up")

    def column(statement: str) -> list:
        return [row[0] for row in reader.execute(statement).fetchall()]

    shards = reader.execute(
        "select s.upload_id::text, s.name, s.bytes, s.sha256, coalesce(b.state, '')"
        " from entries_shard s left join entries_submission b on b.upload_id = s.upload_id"
        " order by 1, 2"
    )
    return Named(
        migrations=[
            one
            for one in column("select app || '.' || name from django_migrations order by 1")
            if migrations_of(one.partition(".")[0]).is_dir()
        ],
        uploads=column("select id::text from entries_upload order by 1"),
        shards=[Shard(*row) for row in shards.fetchall()],
        records=column(
            "select distinct records_sha256 from leaderboard_score where records_sha256 <> ''"
        ),
        jobs=column("select key from jobs_attempt order by 1"),
        submissions=column("select id from entries_submission order by 1"),
    )


def _room(home: Path, store: Store, named: Named, index: Index) -> None:
    """Raises `BackupError` if shards alone, those not taken in yet, would fill the disk."""
    new = {s.sha256: s.size for s in named.shards if not store.has(s.sha256)}
    free = shutil.disk_usage(store.folder).free
    if sum(new.values()) > free:
        raise BackupError(
            f"{store.folder} has {free} bytes free and the backup needs {sum(new.values())}:"
            " prune old backups (make prune), or take a larger disk"
        )


def _files(home: Path, store: Store, named: Named, index: Index, taken: Taken) -> None:
    copy = _Copy(home, store, index, taken)
    copy.file("secret.key")
    for upload in named.uploads:
        copy.folder(f"datasets/{upload}")
    for shard in named.shards:
        _shard(home, shard, copy)
    for sha256 in named.records:
        path = f"records/{sha256}.parquet"
        entry = copy.file(path)
        if entry is None or entry.sha256 != sha256:
            taken.missing.append(path)
    for key in named.jobs:
        copy.tree(f"jobs/{key}", without=OF_A_PROCESS)
    for submission in named.submissions:
        copy.tree(f"work/{submission}")
        copy.tree(f"profiles/{submission}")


def _shard(home: Path, shard: Shard, copy: _Copy) -> None:
    """One that is not what its row says is missing; of an open upload, it was withdrawn."""
    path = f"datasets/{shard.upload}/{shard.name}"
    entry = copy.file(path)
    if entry is not None and entry.sha256 == shard.sha256:
        return
    if not shard.state:
        copy.drop(entry)
        copy.taken.withdrawn.append(Withdrawn(shard.upload, shard.name))
    elif entry is not None or shard.state not in GONE_WITH_SETTINGS:
        copy.taken.missing.append(path)


class _Copy:
    """Takes files of a home into a store."""

    def __init__(self, home: Path, store: Store, index: Index, taken: Taken) -> None:
        self.home, self.store, self.index, self.taken = home, store, index, taken

    def file(self, path: str) -> Entry | None:
        """One file; None if there is none, or something that is no plain file."""
        try:
            descriptor = os.open(self.home / path, SAFELY)
        except FileNotFoundError:
            return None
        except OSError as error:
            if (self.home / path).is_symlink():
                return None
            raise BackupError(f"cannot read {self.home / path}: {error.strerror}") from None
        with os.fdopen(descriptor, "rb") as source:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return None
            size, mtime = found.st_size, found.st_mtime_ns
            sha256 = self.index.known(path, size, mtime)
            if sha256 is None or not self.store.has(sha256):
                sha256, size, new = self.store.add(source)
                self.taken.new_bytes += size if new else 0
        self.index.note(path, size, mtime, sha256)
        entry = Entry(path, size, stat.S_IMODE(found.st_mode), mtime, sha256)
        self.taken.entries.append(entry)
        return entry

    def drop(self, entry: Entry | None) -> None:
        """Not this one after all."""
        if entry is not None:
            assert self.taken.entries.pop() == entry

    def folder(self, path: str) -> None:
        """An empty folder, if there is one."""
        if (self.home / path).is_dir():
            self.taken.entries.append(Entry(path, 0, 0o700, 0, ""))

    def tree(self, path: str, without: Collection[str] = ()) -> None:
        """All plain files below; again from the start if one vanished meanwhile.

        A folder that was renamed is then found under its new name.
        """
        before = len(self.taken.entries)
        for _ in range(WALKS):
            del self.taken.entries[before:]
            whole = True
            for found in list(_walk(self.home, path, without)):
                if self.file(found) is None and not os.path.lexists(self.home / found):
                    whole = False
            if whole:
                break


def _walk(home: Path, path: str, without: Collection[str]) -> Iterator[str]:
    """Files below a folder, relative to the home; links are not followed."""
    for folder, folders, files in os.walk(home / path):
        folders[:] = sorted(set(folders) - set(without))
        for name in sorted(set(files) - set(without)):
            yield str((Path(folder) / name).relative_to(home))


def _still_locked(guard: psycopg.Connection) -> None:
    try:
        guard.execute("select 1")
    except psycopg.Error:
        raise BackupError(
            "the database went away while files were copied, so some may have been removed:"
            " start again; what is copied is not copied twice"
        ) from None
