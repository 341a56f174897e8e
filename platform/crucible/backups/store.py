"""The folder of backups: contents by their SHA-256, each once, and a small folder for each backup.

    objects/<vault>/<ab>/<sha256>   a file's content, as it is or encrypted
    backups/<name>/manifest.jsonl   which file has which content; encrypted where contents are
    backups/<name>/objects.txt      the same contents by hash alone: what pruning must keep
    backups/<name>/summary.json     what can be said without a key

A backup's folder gets its name when all of it is on the disk: one that was interrupted has none. A
vault belongs to one set of public keys, so that contents of an older key are never mistaken for
contents that the present key opens. Whoever may write here can put any backup here: encryption
hides, it does not prove who wrote.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from submissions.codec import decode_or_misfit, encode

FORMAT = 1
BLOCK = 1 << 20  # bytes
PLAIN = "plain"  # the vault of contents that are not encrypted
NAME = re.compile(r"\d{8}T\d{6}Z")  # the moment at which a backup began, UTC
SHA256 = re.compile(r"[0-9a-f]{64}")
SUMMARY, MANIFEST, OBJECTS = "summary.json", "manifest.jsonl", "objects.txt"
DUMP = "database.dump"  # the path of the database in a manifest
PARTIAL = ".partial-"  # before the name of what is not whole yet
LARGEST_LINE = 1 << 16


class BackupError(Exception):
    """One clear sentence: what is wrong, and what to do."""


class Entry(msgspec.Struct, frozen=True):
    """One file of a backup; `path` is relative to CRUCIBLE_HOME. A folder has no content's hash."""

    path: str
    size: int  # bytes
    mode: int
    mtime_ns: int
    sha256: str


class Withdrawn(msgspec.Struct, frozen=True):
    """A shard that its participant replaced or removed while the backup was made."""

    upload: str
    name: str


class Header(msgspec.Struct, frozen=True):
    """The first line of a manifest."""

    withdrawn: list[Withdrawn]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """summary.json: no name of a file or a person is in it."""

    format: int
    name: str
    home: str
    commit: str
    migrations: list[str]  # "app.name" of each applied one of Crucible's own
    postgres: int  # major version of the server
    dumped_by: int  # major version of pg_dump
    vault: str
    recipients: list[str]
    files: int
    bytes: int  # of all files, as they are restored
    new_bytes: int  # of those that no earlier backup here held
    missing: int  # files that rows name and the site did not have
    manifest_sha256: str


class Readable(Protocol):
    """What can be read in blocks."""

    def read(self, size: int = -1, /) -> bytes: ...


class Counted:
    """Passes bytes on, in either direction, and knows their number and hash."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.size, self.digest = stream, 0, hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        """From the stream."""
        block: bytes = self.stream.read(size if size > 0 else BLOCK)
        self._count(block)
        return block

    def write(self, block: bytes, /) -> int:
        """To the stream."""
        self._count(block)
        self.stream.write(block)
        return len(block)

    def flush(self) -> None:
        """What pyrage calls at the end."""
        self.stream.flush()

    def _count(self, block: bytes) -> None:
        self.size += len(block)
        self.digest.update(block)

    @property
    def sha256(self) -> str:
        """Of all that passed."""
        return self.digest.hexdigest()


def line_of(value: msgspec.Struct) -> bytes:
    """One line of JSON."""
    return msgspec.json.encode(value) + b"\n"


class _Lines:
    """Lines as a stream, so that a manifest is never on the disk in the clear."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.lines, self.rest = iter(lines), b""

    def read(self, size: int = -1, /) -> bytes:
        while len(self.rest) < size and (line := next(self.lines, b"")):
            self.rest += line
        block, self.rest = self.rest[:size], self.rest[size:]
        return block


def recipients_read(keys: str) -> list[str]:
    """The public keys in a setting, sorted; raises `BackupError` for anything else."""
    found = sorted(set(keys.replace(",", " ").split()))
    if found:
        from pyrage import RecipientError, x25519

        for key in found:
            try:
                x25519.Recipient.from_str(key)
            except RecipientError:
                what = "a private key" if key.startswith("AGE-SECRET-KEY-") else "no public key"
                raise BackupError(
                    f"CRUCIBLE_BACKUP_KEY holds {what}: set age's public key, age1…"
                ) from None
    return found


def identities_read(path: Path | None) -> list[Any]:
    """The private keys in a file as age-keygen writes it; raises `BackupError`."""
    if path is None:
        return []
    from pyrage import IdentityError, x25519

    try:
        lines = path.read_text().split("\n")
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        found = [x25519.Identity.from_str(key) for key in keys]
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"cannot read the identity file {path}: {error}") from None
    except IdentityError:
        found = []
    if not found:
        raise BackupError(f"{path} holds no private key of age: a line of AGE-SECRET-KEY-1…")
    return found


class Store:
    """One folder of backups, open for one set of public keys or of private ones."""

    def __init__(
        self, folder: Path, recipients: Iterable[str] = (), identities: Iterable[Any] = ()
    ) -> None:
        self.folder = folder
        self.recipients, self.identities = list(recipients), list(identities)
        text = "\n".join(self.recipients).encode()
        self.vault = hashlib.sha256(text).hexdigest()[:16] if self.recipients else PLAIN

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One at a time writes here; clears what an interrupted one left. Raises `BackupError`."""
        try:
            for part in (self.folder, self.folder / "objects", self.folder / "backups"):
                part.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise BackupError(f"cannot write to {self.folder}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in (self.folder / "backups").glob(f"{PARTIAL}*"):
                shutil.rmtree(left)
            for left in (self.folder / "objects").glob(f"*/{PARTIAL}*"):
                left.unlink()
            yield
        except BlockingIOError:
            raise BackupError(f"another backup is being written to {self.folder}") from None
        finally:
            os.close(descriptor)

    # -- contents ---------------------------------------------------------------------------------

    def path_of(self, sha256: str, vault: str | None = None) -> Path:
        """Where the content with this hash is, or will be."""
        return self.folder / "objects" / (vault or self.vault) / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Whether it is there, for the present keys."""
        return self.path_of(sha256).is_file()

    def add(self, source: Readable) -> tuple[str, int, bool]:
        """Takes a content in; its hash, its bytes, and whether it is new here."""
        vault = self.folder / "objects" / self.vault
        vault.mkdir(mode=0o700, exist_ok=True)
        partial = vault / f"{PARTIAL}{os.urandom(6).hex()}"
        try:
            sha256, size = self._seal(source, partial)
            target = self.path_of(sha256)
            new = not target.is_file()
            if new:
                target.parent.mkdir(mode=0o700, exist_ok=True)
                partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return sha256, size, new

    def _seal(self, source: Readable, target: Path) -> tuple[str, int]:
        counted = Counted(source)
        with target.open("wb") as file:
            if self.recipients:
                from pyrage import EncryptError, encrypt_io, x25519

                keys = [x25519.Recipient.from_str(key) for key in self.recipients]
                try:
                    encrypt_io(counted, file, keys)
                except EncryptError as error:  # whatever the file system said
                    raise OSError(str(error)) from None
            else:
                while block := counted.read(BLOCK):
                    file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return counted.sha256, counted.size

    def open_up(self, source: Path, target: IO[bytes], *, vault: str) -> str:
        """Writes what a file of a vault holds to `target`; its hash. Raises `BackupError`."""
        counted = Counted(target)
        try:
            with source.open("rb") as file:
                if vault == PLAIN:
                    while block := file.read(BLOCK):
                        counted.write(block)
                    return counted.sha256
                return self._decrypted(file, counted)
        except FileNotFoundError:
            raise BackupError(f"{source} is missing: take another backup") from None

    def _decrypted(self, file: IO[bytes], counted: Counted) -> str:
        from pyrage import DecryptError, decrypt_io

        if not self.identities:
            raise BackupError(
                "this backup is encrypted: name the file of the private key, IDENTITY=…"
            )
        try:
            decrypt_io(file, counted, self.identities)
        except DecryptError as error:
            if "matching" in str(error):
                raise BackupError(
                    "this private key does not open this backup: name another"
                ) from None
            raise BackupError(f"{file.name} is damaged: take another backup") from None
        except OSError as error:
            if error.errno:  # of the disk that is written to
                raise
            raise BackupError(f"{file.name} is damaged: take another backup") from None
        return counted.sha256

    # -- backups ----------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Of complete backups, the oldest first."""
        found = (self.folder / "backups").glob(f"*/{SUMMARY}")
        return sorted(path.parent.name for path in found if NAME.fullmatch(path.parent.name))

    def folder_of(self, name: str) -> Path:
        """The folder of a backup."""
        return self.folder / "backups" / name

    def summary(self, name: str) -> Summary:
        """Of one backup; raises `BackupError`."""
        try:
            found = decode_or_misfit(Summary, (self.folder_of(name) / SUMMARY).read_bytes())
        except OSError:
            raise BackupError(f"there is no backup {name} in {self.folder}") from None
        except ValueError:
            raise BackupError(f"summary.json of the backup {name} is damaged") from None
        if found.format != FORMAT:
            raise BackupError(
                f"the backup {name} has format {found.format} and this release reads {FORMAT}:"
                " use the release that made it, or a newer one"
            )
        return found

    def complete(self, summary: Summary, header: Header, entries: list[Entry]) -> Summary:
        """Makes a backup of what was taken in: the last step, by one rename."""
        partial = self.folder / "backups" / f"{PARTIAL}{summary.name}"
        partial.mkdir(mode=0o700)
        lines = _Lines(line_of(one) for one in (header, *entries))
        sha256, _ = self._seal(lines, partial / MANIFEST)
        summary = msgspec.structs.replace(summary, manifest_sha256=sha256)
        hashes = sorted({entry.sha256 for entry in entries if entry.sha256})
        for name, data in (
            (OBJECTS, "".join(f"{one}\n" for one in hashes).encode()), (SUMMARY, encode(summary)),
        ):  # fmt: skip
            with (partial / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        os.sync()  # names of objects, too
        partial.rename(self.folder_of(summary.name))
        os.sync()
        return summary

    def manifest(self, summary: Summary, scratch: IO[bytes]) -> tuple[Header, list[Entry]]:
        """Reads it by way of `scratch`, an empty file; raises `BackupError`."""
        path = self.folder_of(summary.name) / MANIFEST
        found = self.open_up(path, scratch, vault=summary.vault)
        damaged = BackupError(f"{path} is damaged: take another backup")
        if found != summary.manifest_sha256:
            raise damaged
        scratch.seek(0)
        try:
            header = decode_or_misfit(Header, scratch.readline(LARGEST_LINE * 1024))
            entries = [decode_or_misfit(Entry, line) for line in scratch]
        except ValueError:
            raise damaged from None
        return header, entries

    def prune(self, keep: int) -> tuple[list[str], int]:
        """Removes all but the newest `keep` backups; their names, and the bytes that came free."""
        names = self.names()
        old = names[: max(0, len(names) - keep)]
        for name in old:
            aside = self.folder / "backups" / f"{PARTIAL}{name}"
            self.folder_of(name).rename(aside)
            shutil.rmtree(aside)
        needed: set[tuple[str, str]] = set()
        for name in self.names():
            vault = self.summary(name).vault
            lines = (self.folder_of(name) / OBJECTS).read_text().split()
            needed |= {(vault, sha256) for sha256 in lines}
        freed = 0
        for path in (self.folder / "objects").glob("*/??/*"):
            if SHA256.fullmatch(path.name) and (path.parts[-3], path.name) not in needed:
                freed += path.stat().st_size
                path.unlink()
        return old, freed
