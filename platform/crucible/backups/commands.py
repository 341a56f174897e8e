"""What `make backup`, `make restore` and their helpers do, for the supervisor's command line."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from crucible.backups.making import backup_make
from crucible.backups.restoring import backup_restore, check_home
from crucible.backups.store import (
    BackupError,
    Store,
    identities_read,
    recipients_read,
)
from crucible.paths import home, read_secret
from crucible.postgres import EmbeddedPostgres

Say = Callable[[str], None]
TakeHome = Callable[[], int | None]  # the lock of the one supervisor, None if somebody has it


def add_commands(commands: argparse._SubParsersAction) -> None:
    """backup, backups, prune, restore, backup-key."""
    made = commands.add_parser("backup", help="one more backup, with the site up or down")
    made.add_argument("folder", type=Path)
    listed = commands.add_parser("backups", help="the backups in a folder")
    listed.add_argument("folder", type=Path)
    pruned = commands.add_parser("prune", help="remove old backups")
    pruned.add_argument("folder", type=Path)
    pruned.add_argument("--keep", type=int, required=True, help="the newest so many stay")
    restored = commands.add_parser("restore", help="into an empty home and an empty database")
    restored.add_argument("folder", type=Path)
    restored.add_argument("--backup", metavar="NAME", help="default: the newest")
    restored.add_argument("--identity", type=Path, help="file of the private key, if encrypted")
    key = commands.add_parser("backup-key", help="a new private key; prints the public one")
    key.add_argument("file", type=Path)


def run_command(arguments: argparse.Namespace, take_home: TakeHome, say: Say) -> int:
    """Runs one of them; 0, or 1 after one sentence."""
    os.umask(0o077)
    try:
        if arguments.action == "backup":
            return _backup(arguments.folder.resolve(), take_home, say)
        if arguments.action == "restore":
            return _restore(arguments, take_home, say)
        if arguments.action == "backups":
            return _list(Store(arguments.folder.resolve()))
        if arguments.action == "prune":
            return _prune(Store(arguments.folder.resolve()), arguments.keep, say)
        return _new_key(arguments.file, say)
    except BackupError as error:
        say(f"{error}")
        return 1


@contextmanager
def _database_for_backup(take_home: TakeHome) -> Iterator[str]:
    """The database's address; ours is started if it does not run, and stopped again."""
    url = os.environ.get("DATABASE_URL")
    if url:
        yield url
        return
    if not (home() / "postgres.password").exists():
        raise BackupError(
            f"{home()} holds no site: set CRUCIBLE_HOME, and DATABASE_URL if it has one"
        )
    lock = take_home()
    if lock is None:  # the site is up, and with it the database
        yield read_secret(home() / "database.url") or ""
        return
    try:
        postgres = EmbeddedPostgres(home())
        running = postgres.alive()  # it outlived its supervisor
        try:
            yield postgres.start()
        finally:
            if not running:
                postgres.stop()
    except RuntimeError as error:
        raise BackupError(str(error)) from None
    finally:
        os.close(lock)


def _backup(folder: Path, take_home: TakeHome, say: Say) -> int:
    store = Store(folder, recipients_read(os.environ.get("CRUCIBLE_BACKUP_KEY", "")))
    with _database_for_backup(take_home) as url:
        summary = backup_make(home=home(), url=url, store=store, say=say)
    kind = "encrypted" if summary.recipients else "not encrypted"
    say(
        f"backup {summary.name}: {summary.files} files, {summary.bytes} bytes, of which"
        f" {summary.new_bytes} new; {kind}"
    )
    if summary.missing:
        say(f"{summary.missing} files that the database names were missing on this site")
        return 1
    return 0


class _OurDatabase:
    """The embedded server, or the one of DATABASE_URL, for a restore."""

    def __init__(self) -> None:
        self.address = os.environ.get("DATABASE_URL")
        self.postgres = None if self.address else EmbeddedPostgres(home())
        self.was_there = bool(self.postgres and (self.postgres.data / "PG_VERSION").exists())

    def url(self) -> str:
        """Started if it is ours."""
        return self.address or (self.postgres.start() if self.postgres else "")

    def stop(self) -> None:
        """If it is ours."""
        if self.postgres is not None and self.postgres.alive():
            self.postgres.stop()

    def remove(self) -> None:
        """What `url` made, nothing else."""
        self.stop()
        if self.postgres is not None and not self.was_there:
            shutil.rmtree(self.postgres.data, ignore_errors=True)


def _restore(arguments: argparse.Namespace, take_home: TakeHome, say: Say) -> int:
    store = Store(arguments.folder.resolve(), identities=identities_read(arguments.identity))
    lock = take_home()
    if lock is None:
        raise BackupError(f"the site of {home()} is running: restore into an empty CRUCIBLE_HOME")
    try:
        check_home(home())
        summary = backup_restore(
            home=home(), database=_OurDatabase(), store=store, name=arguments.backup, say=say
        )
    except RuntimeError as error:  # the embedded server's programs or place
        raise BackupError(str(error)) from None
    finally:
        os.close(lock)
    say(f"{home()} is as it was at {summary.name}; `make up` starts it, and jobs go on")
    return 0


def _list(store: Store) -> int:
    for name in store.names():
        one = store.summary(name)
        kind = "encrypted" if one.recipients else "plain"
        print(f"{name}  {one.files:>9} files  {one.bytes:>15} bytes  {kind}  {one.commit[:12]}")
    return 0


def _prune(store: Store, keep: int, say: Say) -> int:
    if keep < 1:
        raise BackupError("keep at least one backup: KEEP=1 or more")
    with store.locked():
        old, freed = store.prune(keep)
    say(f"removed {len(old)} backups ({', '.join(old) or 'none'}), {freed} bytes")
    return 0


def _new_key(file: Path, say: Say) -> int:
    from pyrage import x25519

    identity = x25519.Identity.generate()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BackupError(f"cannot make {file}: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as made:
        made.write(f"# public key: {identity.to_public()}\n{identity}\n")
    say(f"{file} holds the private key: keep it away from this machine, in two places")
    print(f"CRUCIBLE_BACKUP_KEY={identity.to_public()}")
    return 0
