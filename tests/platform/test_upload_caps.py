"""What one user may keep open, send and store; what may be removed; bodies that trickle in."""

from __future__ import annotations

import io
import os
import socket
import time

import pytest

from crucible.entries.models import Upload
from crucible.intake.transfers import AT_ONCE, transfers
from crucible.intake.uploads import folder_of, shard_receive, upload_create
from crucible.pace import PIECE, Pacer, paced
from crucible.paths import SMALL_BODY
from crucible.privacy.retention import retention_run
from submissions.failures import Failure

SHARD = b'{"text": "one"}\n'


def send(upload, name="a.jsonl", body=SHARD):
    return shard_receive(upload=upload, name=name, chunks=[body], size=len(body))


def test_open_uploads_are_few_and_one_may_be_removed(api, alice, bob, settings):
    settings.CRUCIBLE_MAX_OPEN_UPLOADS = 2
    first = upload_create(user=alice)
    upload_create(user=alice)
    status, answer = api(alice, "POST", "/uploads", {})
    assert (status, answer["code"]) == (400, "refused")
    assert str(first.id) in answer["message"]
    assert api(bob, "POST", "/uploads", {})[0] == 201
    assert api(bob, "DELETE", f"/uploads/{first.id}")[0] == 404
    assert api(alice, "DELETE", f"/uploads/{first.id}")[0] == 200
    assert not folder_of(first).exists()
    assert api(alice, "POST", "/uploads", {})[0] == 201


def test_an_upload_of_a_submission_is_not_removed(api, alice, make_submission):
    upload = make_submission(alice).upload
    assert api(alice, "DELETE", f"/uploads/{upload.id}")[0] == 400
    assert Upload.objects.filter(id=upload.id).exists()


def test_a_dataset_has_a_limit_of_shards(alice, settings):
    settings.CRUCIBLE_MAX_SHARDS = 2
    upload = upload_create(user=alice)
    for name in ("a.jsonl", "b.jsonl", "a.jsonl"):
        send(upload, name)
    with pytest.raises(Failure, match="merge shards"):
        send(upload, "c.jsonl")


def test_a_users_datasets_have_a_limit_together(alice, bob, settings):
    settings.CRUCIBLE_MAX_STORED = 2 * len(SHARD)
    one, two = upload_create(user=alice), upload_create(user=alice)
    send(one), send(two)
    send(two)  # replaces
    with pytest.raises(Failure, match="you may keep"):
        send(two, "b.jsonl")
    send(upload_create(user=bob))


def test_what_is_on_its_way_counts_too(alice, bob, settings):
    settings.CRUCIBLE_MAX_STORED = 10
    with transfers.one(alice, 6):
        with pytest.raises(Failure, match="you may keep"), transfers.one(alice, 5):
            pass
        with transfers.one(bob, 5):
            pass
    with transfers.one(alice, 10):
        pass


def test_a_user_sends_few_bodies_at_once(alice, bob):
    held = [transfers.one(alice, 1) for _ in range(AT_ONCE)]
    for one in held:
        one.__enter__()
    with pytest.raises(Failure) as refusal, transfers.one(alice, 1):
        pass
    assert refusal.value.code == "busy"
    with transfers.one(bob, 1):
        pass
    for one in held:
        one.__exit__(None, None, None)
    with transfers.one(alice, 1):
        pass


def test_shards_that_were_cut_by_a_crash_go_after_a_day(alice, settings):
    upload = upload_create(user=alice)
    send(upload)
    old, fresh = folder_of(upload) / ".b.jsonl.1.ab", folder_of(upload) / ".c.jsonl.1.ab"
    form = settings.FILE_UPLOAD_TEMP_DIR / "x.upload"
    for path in (old, fresh, form):
        path.write_bytes(SHARD)
    for path in (old, form, folder_of(upload) / "a.jsonl"):
        os.utime(path, (time.time() - 90_000,) * 2)
    retention_run(dry_run=False)
    assert not old.exists()
    assert not form.exists()
    assert {path.name for path in folder_of(upload).iterdir()} == {"a.jsonl", fresh.name}


class FromSocket(io.RawIOBase):
    """A body as gunicorn gives it: reads block until all is there or the connection ends."""

    def __init__(self, connection):
        self.connection = connection

    def read(self, size):
        found = b""
        while len(found) < size and (more := self.connection.recv(size - len(found))):
            found += more
        return found


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(10)
        yield ours, theirs


def environ_of(connection, length):
    return {
        "gunicorn.socket": connection,
        "CONTENT_LENGTH": str(length),
        "wsgi.input": FromSocket(connection),
    }


def test_a_body_that_trickles_is_cut_off(pair):
    ours, theirs = pair
    application = paced(
        lambda environ, _: [environ["wsgi.input"].read(PIECE)], Pacer(seconds=0.1, look=0.02)
    )
    theirs.sendall(b"slow")
    assert list(application(environ_of(ours, SMALL_BODY + 1), None)) == [b"slow"]
    assert theirs.recv(1) == b""


def test_a_body_that_nobody_reads_is_not_waited_for(pair):
    ours, theirs = pair
    answer = paced(lambda environ, _: [b"no"])(environ_of(ours, SMALL_BODY + 1), None)
    assert list(answer) == [b"no"]
    answer.close()
    assert theirs.recv(1) == b""


def test_a_body_that_was_read_leaves_its_connection_open(pair):
    ours, theirs = pair
    body = b"x" * (SMALL_BODY + 1)
    application = paced(lambda environ, _: [environ["wsgi.input"].read(len(body))])
    theirs.sendall(body)
    answer = application(environ_of(ours, len(body)), None)
    assert list(answer) == [body]
    answer.close()
    ours.sendall(b"next")
    assert theirs.recv(4) == b"next"
