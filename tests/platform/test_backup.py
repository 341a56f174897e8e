"""Backups on a home of their own: consistent, incremental, whole or not there, refused in words.

The services do not run: rows are written as the site would leave them. The drill with a site that
is up is in tests/faults/test_drill.py.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from crucible import supervisor
from crucible.backups import dumps, making, restoring
from crucible.backups.lock import BACKUP_LOCK
from crucible.backups.store import PLAIN, Store, recipients_read
from crucible.paths import RESTORING
from crucible.postgres import EmbeddedPostgres
from crucible.privacy.retention import retention_run

ROOT = Path(__file__).resolve().parents[2]
CLOSED, OPEN = ("00000000-0000-0000-0000-00000000000" + end for end in "12")
SHARD = b'{"text": "A document nobody else has."}\n'
ROWS = f"""
insert into auth_user (id, username, password, is_superuser, is_staff, is_active, first_name,
  last_name, email, date_joined) values (7, 'ann', '!', false, false, true, '', '', '', now());
insert into entries_upload (id, user_id, created_at, closed_at) values
  ('{CLOSED}', 7, now(), now()), ('{OPEN}', 7, now(), null);
insert into entries_shard (upload_id, name, bytes, sha256) values
  ('{CLOSED}', 'a.jsonl', {len(SHARD)}, '{hashlib.sha256(SHARD).hexdigest()}'),
  ('{OPEN}', 'b.jsonl', {len(SHARD)}, '{hashlib.sha256(SHARD).hexdigest()}');
insert into entries_submission (id, user_id, name, description, track, scale, seed, upload_id,
  created_at, state, version, waiting_for, priority, held_for, retries, troubles)
  values (1, 7, 'one', '', 'filtering', 'smoke', 1, '{CLOSED}', now(), 'training', 1, '', 0, '', 0,
  0);
insert into jobs_attempt (submission_id, stage, number, key, backend, state, created_at, progress)
  values (1, 'train', 1, '1-train-a1', 'local', 'running', now(), '{{}}');
"""
FILES = {
    "secret.key": b"secret\n",
    f"datasets/{CLOSED}/a.jsonl": SHARD,
    f"datasets/{OPEN}/b.jsonl": SHARD,
    f"datasets/{OPEN}/.c.jsonl.partial": b"not named by a row",
    "jobs/1-train-a1/job.json": b"{}",
    "jobs/1-train-a1/process.json": b"{}",
    "jobs/1-train-a1/launch": b"1",
    "jobs/1-train-a1/lock": b"",
    "jobs/1-train-a1/tmp/scratch": b"scratch",
    "jobs/9-train-a1/job.json": b"of no row",
    "work/1/train/.model.partial/state.pt": b"weights" * 1000,
    "profiles/1/sample.jsonl": b"{}",
    "log/site.log": b"a log",
}
RESTORED = {  # of these
    "secret.key", f"datasets/{CLOSED}/a.jsonl", f"datasets/{OPEN}/b.jsonl",
    "jobs/1-train-a1/job.json", "work/1/train/.model.partial/state.pt",
    "profiles/1/sample.jsonl",
}  # fmt: skip


def write(home: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (1e9, 1e9))


@pytest.fixture(scope="module")
def made():
    """A home with a database and files, the database stopped."""
    folder = Path(tempfile.mkdtemp(prefix="crucible-backup-"))
    folder.chmod(0o711)
    home = folder / "home"
    postgres = EmbeddedPostgres(home)
    url = postgres.start()
    environment = os.environ | {"CRUCIBLE_HOME": str(home), "DATABASE_URL": url}
    subprocess.run([sys.executable, "manage.py", "prepare"], cwd=ROOT, env=environment, check=True)
    with psycopg.connect(url) as connection:
        connection.execute(ROWS)
    postgres.stop()
    write(home, FILES)
    yield home
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(made, monkeypatch):
    """The same; what a test changed in files is as it was, and nothing of a restore is left."""
    monkeypatch.setenv("CRUCIBLE_HOME", str(made))
    for name in ("DATABASE_URL", "CRUCIBLE_BACKUP_KEY"):
        monkeypatch.delenv(name, raising=False)
    before = os.umask(0o077)
    yield made
    os.umask(before)
    aside = made.with_name("aside")
    if aside.exists():
        shutil.rmtree(made, ignore_errors=True)
        aside.rename(made)
    write(made, FILES)


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the supervisor's command; its exit code and what it said."""

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["supervisor", *map(str, arguments)])
        code = supervisor.main()
        return code, capsys.readouterr().out

    return call


def lose(home: Path) -> None:
    """The home is gone (kept aside, for the next test)."""
    home.rename(home.with_name("aside"))
    home.mkdir()
    home.chmod(0o711)


def files_of(home: Path) -> set[str]:
    ours = ("datasets", "jobs", "work", "records", "profiles", "secret.key")
    found = {str(p.relative_to(home)) for p in home.rglob("*") if p.is_file()}
    return {name for name in found if name.startswith(ours)}


def rows(home: Path, statement: str) -> list:
    postgres = EmbeddedPostgres(home)
    try:
        with psycopg.connect(postgres.start()) as connection:
            return connection.execute(statement).fetchall()
    finally:
        postgres.stop()


def only_object(folder: Path, content: bytes) -> Path:
    return Store(folder).path_of(hashlib.sha256(content).hexdigest(), PLAIN)


def test_a_site_that_is_down_is_backed_up_and_restored(home, run, tmp_path):
    code, said = run("backup", tmp_path / "b")
    assert (code, "not encrypted" in said) == (0, True), said
    lose(home)
    assert run("restore", tmp_path / "b")[0] == 0
    assert files_of(home) == RESTORED
    for name in RESTORED:
        assert (home / name).read_bytes() == FILES[name]
    assert (home / "work/1/train/.model.partial/state.pt").stat().st_mtime == 1e9
    assert not (home / RESTORING).exists()
    assert rows(home, "select key, state from jobs_attempt") == [("1-train-a1", "running")]
    assert rows(home, "select count(*) from entries_shard") == [(2,)]


def test_what_is_unchanged_is_neither_read_nor_stored_again(home, run, tmp_path, monkeypatch):
    run("backup", tmp_path / "b")
    read = []
    add = Store.add
    monkeypatch.setattr(
        Store, "add", lambda store, source: read.append(source.name) or add(store, source)
    )
    state = home / "work/1/train/.model.partial/state.pt"
    state.write_bytes(b"more weights")
    os.utime(state, (1e9 + 1, 1e9 + 1))
    assert run("backup", tmp_path / "b")[0] == 0
    assert len(read) == 2  # the dump, from a pipe, and this file
    assert len(run("backups", tmp_path / "b")[1].splitlines()) == 2
    # Without what the last one found, all is read and nothing stored twice.
    shutil.rmtree(home / "backup-index")
    before = {path for path in (tmp_path / "b/objects").rglob("*") if path.is_file()}
    assert run("backup", tmp_path / "b")[0] == 0
    after = {path for path in (tmp_path / "b/objects").rglob("*") if path.is_file()}
    assert len(after - before) == 1  # the dump


def test_old_ones_are_pruned_and_the_rest_can_be_restored(home, run, tmp_path):
    state = home / "work/1/train/.model.partial/state.pt"
    run("backup", tmp_path / "b")
    state.write_bytes(b"more weights")
    run("backup", tmp_path / "b")
    old = only_object(tmp_path / "b", FILES["work/1/train/.model.partial/state.pt"])
    assert old.exists()
    assert run("prune", tmp_path / "b", "--keep", "1")[0] == 0
    assert not old.exists()
    assert len(run("backups", tmp_path / "b")[1].splitlines()) == 1
    assert "at least one" in run("prune", tmp_path / "b", "--keep", "0")[1]
    lose(home)
    assert run("restore", tmp_path / "b")[0] == 0
    assert state.read_bytes() == b"more weights"


def test_one_that_is_broken_off_is_none(home, run, tmp_path, monkeypatch, capsys):
    def die(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Store, "complete", die)
        with pytest.raises(KeyboardInterrupt):
            run("backup", tmp_path / "b")
    (tmp_path / "b/backups/.partial-20260101T000000Z").mkdir()
    capsys.readouterr()
    assert run("backups", tmp_path / "b")[1] == ""
    lose(home)
    code, said = run("restore", tmp_path / "b")
    assert (code, "no complete backup" in said) == (1, True)
    shutil.rmtree(home)
    home.with_name("aside").rename(home)
    assert run("backup", tmp_path / "b")[0] == 0
    assert len(run("backups", tmp_path / "b")[1].splitlines()) == 1
    assert not list((tmp_path / "b").rglob(".partial-*"))


def test_a_shard_that_its_participant_takes_back_meanwhile_is_left_out(home, run, tmp_path):
    """Of an open upload alone: one that a submission rests on is missing, and that is said."""
    (home / f"datasets/{OPEN}/b.jsonl").write_bytes(b"another")
    assert run("backup", tmp_path / "b")[0] == 0
    lose(home)
    code, said = run("restore", tmp_path / "b")
    assert (code, "not restored" in said) == (0, True)
    assert not (home / f"datasets/{OPEN}/b.jsonl").exists()
    assert (home / f"datasets/{OPEN}").is_dir()
    assert rows(home, "select name from entries_shard") == [("a.jsonl",)]


def test_files_that_rows_name_and_the_site_lost_are_said(home, run, tmp_path):
    path = home / f"datasets/{CLOSED}/a.jsonl"
    path.write_bytes(SHARD.replace(b"A", b"B"))
    code, said = run("backup", tmp_path / "b")
    assert code == 1
    assert f"MISSING on this site, and so in the backup: datasets/{CLOSED}/a.jsonl" in said
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert run("backup", tmp_path / "b")[0] == 1
    path.unlink()
    assert len(run("backups", tmp_path / "b")[1].splitlines()) == 2


def test_encrypted_ones_open_with_their_key_alone(home, run, tmp_path, monkeypatch):
    _, said = run("backup-key", tmp_path / "identity")
    assert (tmp_path / "identity").stat().st_mode & 0o777 == 0o600
    run("backup-key", tmp_path / "other")
    public = said.split("CRUCIBLE_BACKUP_KEY=")[1].strip()
    monkeypatch.setenv("CRUCIBLE_BACKUP_KEY", public)
    assert run("backup", tmp_path / "b")[0] == 0
    everything = b"".join(p.read_bytes() for p in (tmp_path / "b").rglob("*") if p.is_file())
    for known in (SHARD, b"a.jsonl", b"weightsweights", b"PGDMP", b"AGE-SECRET"):
        assert known not in everything
    lose(home)
    for arguments, sentence in (
        ([], "is encrypted"), (["--identity", tmp_path / "other"], "does not open this backup"),
        (["--identity", tmp_path / "none"], "cannot read the identity file"),
    ):  # fmt: skip
        code, said = run("restore", tmp_path / "b", *arguments)
        assert (code, sentence in said) == (1, True), said
        assert not files_of(home)
    assert run("restore", tmp_path / "b", "--identity", tmp_path / "identity")[0] == 0
    assert files_of(home) == RESTORED


@pytest.mark.parametrize(
    ("key", "what"), [("AGE-SECRET-KEY-1ABC", "a private key"), ("ssh-rsa", "no public key")]
)
def test_a_key_that_is_none_is_refused_and_not_shown(home, run, tmp_path, monkeypatch, key, what):
    monkeypatch.setenv("CRUCIBLE_BACKUP_KEY", key)
    code, said = run("backup", tmp_path / "b")
    assert (code, what in said, key in said) == (1, True, False)


STATE = FILES["work/1/train/.model.partial/state.pt"]


def replace(folder: Path, pattern: str, old: bytes, new: bytes) -> tuple[str, str]:
    """In the one file below the folder; its hash before and after."""
    path = next(folder.glob(pattern))
    before = path.read_bytes()
    assert old in before
    path.write_bytes(before.replace(old, new))
    return hashlib.sha256(before).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest()


SUMMARY, MANIFEST = "backups/*/summary.json", "backups/*/manifest.jsonl"


def hostile_path(home: Path, folder: Path) -> None:
    old, new = replace(folder, MANIFEST, b'"secret.key"', b'"../../key"')
    replace(folder, SUMMARY, old.encode(), new.encode())


SPOILT = {  # by what is done, to home or backup, before the restore
    "changed content": lambda home, folder: only_object(folder, STATE).write_bytes(STATE[1:]),
    "missing content": lambda home, folder: only_object(folder, STATE).unlink(),
    "changed manifest": lambda home, folder: replace(folder, MANIFEST, b"a.jsonl", b"z.jsonl"),
    "newer release": lambda home, folder: replace(
        folder, SUMMARY, b'"jobs.0001_initial"', b'"jobs.9999_to_come"'
    ),
    "newer format": lambda home, folder: replace(folder, SUMMARY, b'"format": 1', b'"format": 2'),
    "broken summary": lambda home, folder: replace(folder, SUMMARY, b"{", b""),
    "other home": lambda home, folder: replace(
        folder, SUMMARY, str(home).encode(), b"/elsewhere"
    ),
    "newer server": lambda home, folder: replace(
        folder, SUMMARY, b'"postgres": 18', b'"postgres": 19'
    ),
    "full home": lambda home, folder: (home / "notes.txt").write_text("mine"),
    "restore that was killed": lambda home, folder: (home / RESTORING).write_text("x"),
    "hostile path": hostile_path,
}  # fmt: skip


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("changed content", "is damaged (work/1/train/.model.partial/state.pt)"),
        ("missing content", "the content of work/1/train/.model.partial/state.pt is missing"),
        ("changed manifest", "manifest.jsonl is damaged"),
        ("newer release", "does not know its migration jobs.9999_to_come"),
        ("newer format", "has format 2"),
        ("broken summary", "summary.json"),
        ("other home", "set CRUCIBLE_HOME=/elsewhere"),
        ("full home", "is not empty (notes.txt"),
        ("restore that was killed", "was broken off"),
        ("newer server", "is of PostgreSQL 19 and this server is 18"),
        ("hostile path", "'../../key', which none holds"),
    ],
)
def test_a_restore_is_refused_with_everything_as_it_was(home, run, tmp_path, what, sentence):
    run("backup", tmp_path / "b")
    lose(home)
    SPOILT[what](home, tmp_path / "b")
    before = {p.name for p in home.iterdir()} - {"log", "supervisor.lock"}
    code, said = run("restore", tmp_path / "b")
    assert (code, sentence in said, said.count("\n") <= 2) == (1, True, True), said
    assert {p.name for p in home.iterdir()} - {"log", "supervisor.lock"} == before


def test_a_disk_that_is_too_small_is_refused(home, run, tmp_path, monkeypatch):
    run("backup", tmp_path / "b")
    usage = shutil.disk_usage(home)._replace(free=10)
    for module in (making, restoring):
        monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
    code, said = run("backup", tmp_path / "c")
    assert (code, "has 10 bytes free" in said) == (1, True)
    assert run("backup", tmp_path / "b")[0] == 0  # its shards are there already
    lose(home)
    code, said = run("restore", tmp_path / "b")
    assert (code, "has 10 bytes free" in said) == (1, True)


def test_a_restore_asks_for_an_empty_database_with_nothing_running(
    home, run, tmp_path, monkeypatch
):
    run("backup", tmp_path / "b")
    lose(home)
    sleeper = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)", f"{home}/jobs/1-train-a1"]
    )
    try:
        code, said = run("restore", tmp_path / "b")
        assert (code, f"process {sleeper.pid} still works" in said) == (1, True)
    finally:
        sleeper.kill()
        sleeper.wait()
    with (home / "supervisor.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "is running" in run("restore", tmp_path / "b")[1]
    other_home = home.with_name("other")
    other_home.mkdir()
    other_home.chmod(0o711)
    postgres = EmbeddedPostgres(other_home)
    try:
        url = postgres.start()
        monkeypatch.setenv("DATABASE_URL", url)
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("create table mine (id int)")
            code, said = run("restore", tmp_path / "b")
            assert (code, "holds tables already" in said) == (1, True), said
            assert not files_of(home)
            other.execute("drop table mine")
            assert run("restore", tmp_path / "b")[0] == 0
            assert other.execute("select count(*) from entries_submission").fetchone() == (1,)
    finally:
        postgres.stop()
        shutil.rmtree(other_home)
    assert not (home / "postgres").exists()  # the server of DATABASE_URL alone


def test_a_site_does_not_start_on_half_a_restore(home, run, capsys):
    (home / RESTORING).write_text("x")
    try:
        assert supervisor.up() == 3
    finally:
        (home / RESTORING).unlink()
    assert "did not end" in capsys.readouterr().out


def test_a_folder_inside_the_home_is_refused(home, run):
    assert "lost with it" in run("backup", home / "backups")[1]


def test_passwords_are_in_the_environment_and_not_in_the_arguments(monkeypatch, tmp_path):
    address, environment = dumps._address(
        "postgresql://ann:s3cret@db.example.org/x?sslmode=require"
    )
    assert "s3cret" not in address
    assert "sslmode=require" in address
    assert environment["PGPASSWORD"] == "s3cret"


def test_the_oldest_program_that_fits_the_server_is_taken():
    assert 14 <= dumps.program("pg_dump", 14)[1] <= 16  # one of the wheel's, or the machine's
    assert dumps.program("pg_dump", 18)[1] == 18
    with pytest.raises(dumps.BackupError, match="postgresql-client-99"):
        dumps.program("pg_dump", 99)


@pytest.mark.usefixtures("committed")
def test_nothing_is_removed_while_a_backup_is_made(django_user_model):
    django_user_model.objects.create_user("ann")
    parameters = connection.get_connection_params()
    parameters.pop("cursor_factory", None)
    parameters.pop("context", None)
    with psycopg.connect(**parameters, autocommit=True) as backup:
        backup.execute("select pg_advisory_lock(%s)", [BACKUP_LOCK])
        assert retention_run(dry_run=False) == ["removed nothing: a backup is being made"]
        assert len(retention_run(dry_run=True)) == 5
        with pytest.raises(CommandError, match="a backup is being made"):
            call_command("forget_user", "ann", "--yes-forget", "ann")
        backup.execute("select pg_advisory_unlock(%s)", [BACKUP_LOCK])
        assert len(retention_run(dry_run=False)) == 5
        # and they let go of it again
        assert backup.execute("select pg_try_advisory_lock(%s)", [BACKUP_LOCK]).fetchone() == (
            True,
        )


def test_no_key_means_no_encryption_and_needs_no_library():
    assert recipients_read("") == []
