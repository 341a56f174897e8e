"""Slow and greedy clients against the running site, as `make up` starts it.

Plain sockets, because no client library sends what these send. `/health/` and a page must answer
while they hold their connections.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User

from crucible import supervisor
from crucible.accounts.models import ApiToken
from crucible.accounts.services import token_create
from crucible.entries.models import Shard, Upload
from crucible.front import front_configuration
from crucible.intake.transfers import AT_ONCE
from crucible.paths import SMALL_BODY, home

pytestmark = pytest.mark.django_db  # has the database made; the site's own rows are committed

HOST = b"Host: 127.0.0.1\r\n"
COOKIE = b"Cookie: csrftoken=" + b"a" * 32 + b"\r\n"  # invented
FORM = b"Content-Type: multipart/form-data; boundary=x\r\n"
FILE = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
BIG_PAGE = b"/static/admin/js/vendor/jquery/jquery.js"  # 285 kB
PATIENCE = 10  # seconds for an answer, on a machine with other work


class Site:
    """A running site, one user's token and upload."""

    def __init__(self, port: int, folder: Path, token: str, upload: Upload) -> None:
        self.port, self.folder, self.token, self.upload = port, folder, token, upload

    def get(self, path: str) -> int:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE
        ) as answer:
            answer.read()
            return answer.status

    def connect(self, *data: bytes, window: int = 0) -> socket.socket:
        """A connection on which this was sent, as far as the other side took it."""
        found = socket.socket()
        if window:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        found.settimeout(PATIENCE)
        found.connect(("127.0.0.1", self.port))
        with contextlib.suppress(ConnectionError):
            for part in data:
                found.sendall(part)
        return found

    def status(self, *data: bytes) -> int:
        """The status of the answer to a request of which no more is sent."""
        with self.connect(*data) as connection:
            return int(connection.recv(64).split()[1])

    def put(self, name: str, body: bytes, *, length: int | None = None) -> list[bytes]:
        head = (
            f"PUT /api/uploads/{self.upload.id}/shards/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self.token}\r\n"
            f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
        )
        return [head.encode(), body]


@pytest.fixture(scope="module")
def site(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), tempfile.TemporaryDirectory(prefix="slow-") as folder:
        user = User.objects.create_user("slow", password="p")
        _, token = token_create(user=user, label="test")
        upload = Upload.objects.create(user=user)
        (Path(folder) / "datasets" / str(upload.id)).mkdir(parents=True)
        with running(Path(folder)) as port:
            yield Site(port, Path(folder), token, upload)
        Shard.objects.filter(upload__user=user).delete()
        Upload.objects.filter(user=user).delete()
        ApiToken.objects.filter(user=user).delete()
        user.delete()


@contextlib.contextmanager
def running(folder: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    there = settings.DATABASES["default"]
    url = (
        f"postgresql://{there['USER']}:{there['PASSWORD']}@{there['HOST']}:{there['PORT']}"
        f"/{there['NAME']}"
    )
    before = os.environ["CRUCIBLE_HOME"]
    os.environ["CRUCIBLE_HOME"] = str(folder)
    (folder / "log").mkdir()
    try:
        environment = supervisor.service_environment(url)
        services = [
            supervisor.Service(name, command, environment)
            for name, command in supervisor.service_commands("127.0.0.1", port).items()
            if name in ("front", "site", "uploads")
        ]
        for service in services:
            service.start()
        try:
            wait_until_healthy(port)
            yield port
        finally:
            for service in services:
                os.killpg(service.process.pid, signal.SIGKILL)
                service.process.wait()
    finally:
        os.environ["CRUCIBLE_HOME"] = before


def wait_until_healthy(port):
    end = time.monotonic() + 60
    for path in ("/health/", "/api/uploads"):
        body = None if path == "/health/" else b" " * (SMALL_BODY + 1)  # to the other pool
        while True:
            try:
                request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body)
                with urllib.request.urlopen(request, timeout=10):
                    break
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    break
            except OSError:
                pass
            assert time.monotonic() < end, (home() / "log/site.log").read_text()[-2000:]
            time.sleep(0.1)


def hold(site, attack):
    """The attack's connections; `/health/` and a page answer meanwhile."""
    with contextlib.ExitStack() as stack:
        for connection in attack:
            stack.enter_context(connection)
        time.sleep(0.5)
        assert site.get("/health/") == 200
        assert site.get("/login/") == 200


def test_half_open_connections_do_not_stop_the_site(site):
    hold(site, [site.connect(b"GET / HTTP/1.1\r\n" + HOST) for _ in range(24)])


def test_forms_that_never_end_do_not(site):
    head = b"POST /login/ HTTP/1.1\r\n" + HOST + COOKIE
    kind = b"Content-Type: application/x-www-form-urlencoded\r\n"
    hold(site, [site.connect(head + kind + b"Content-Length: 999\r\n\r\na=") for _ in range(24)])


def test_readers_who_take_nothing_do_not(site):
    request = b"GET " + BIG_PAGE + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    hold(site, [site.connect(request * 12, window=2048) for _ in range(24)])


def test_slow_shards_do_not_and_one_user_sends_few_at_once(site):
    attack = [site.connect(*site.put(f"s{n}.jsonl", b"{", length=10**6)) for n in range(16)]
    hold(site, attack)
    with contextlib.ExitStack() as stack:
        attack = [site.connect(*site.put(f"t{n}.jsonl", b"{", length=10**6)) for n in range(16)]
        for connection in attack:
            stack.enter_context(connection)
        refused, end = set(), time.monotonic() + PATIENCE
        while len(refused) < 16 - AT_ONCE and time.monotonic() < end:
            for connection in select.select(attack, [], [], 0.1)[0]:
                assert b" 429 " in connection.recv(4096) or connection in refused
                refused.add(connection)
        assert len(refused) == 16 - AT_ONCE
        time.sleep(0.2)
        assert not set(select.select(attack, [], [], 0)[0]) - refused


def test_connections_are_closed_that_send_no_whole_head(monkeypatch):
    """By the front's clock, which no test waits for: it is in the configuration."""
    monkeypatch.setenv("CRUCIBLE_HOME", tempfile.mkdtemp(prefix="slow-"))
    text = front_configuration("127.0.0.1", 1, behind_tls=False)
    for line in ("timeout http-request 15s", "timeout client 30s", "wait-for-body time 15s"):
        assert line in text
    assert "sc0_conn_cur gt 200" in text
    assert "sc0_conn_cur gt" not in front_configuration("127.0.0.1", 1, behind_tls=True)


def head_of(path: str, length: int, *more: bytes) -> bytes:
    return b"".join(
        [f"POST {path} HTTP/1.1\r\n".encode(), HOST, *more,
         f"Content-Length: {length}\r\n\r\n".encode(), FILE]
    )  # fmt: skip


@pytest.mark.parametrize("path", ["/login/", "/", "/nowhere/", "/admin/login/", "/api/uploads"])
@pytest.mark.parametrize("length", [10 * 2**40, 3_000_000])
def test_a_body_that_is_too_large_is_refused_before_it_is_read(site, path, length):
    status = site.status(head_of(path, length, COOKIE, FORM))
    assert status in ((401, 413) if path.startswith("/api/") else (413,))


def test_a_stranger_is_asked_to_sign_in_before_a_dataset_is_read(site):
    assert site.status(head_of("/submissions/new/", 3_000_000, COOKIE, FORM)) == 302


def test_nothing_of_such_bodies_reaches_the_disk(site):
    folder = site.folder / "uploads"
    for path in ("/login/", "/submissions/new/"):
        head = head_of(path, 4_000_000, COOKIE, FORM)
        with contextlib.suppress(OSError):
            site.connect(head, b"x" * 3_900_000).close()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("path", [b"/login/", b"/api/uploads", b"/submissions/new/"])
def test_bodies_in_chunks_are_refused_everywhere(site, path):
    request = b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    assert site.status(request, b"5\r\nhello\r\n") == 411


def test_a_shard_arrives_through_all_this_and_a_cut_one_leaves_nothing(site):
    body = json.dumps({"text": "word " * 40_000}).encode() + b"\n"
    assert len(body) > SMALL_BODY
    assert site.status(*site.put("whole.jsonl", body)) == 200
    assert site.status(*site.put("small.jsonl", b'{"text": "a"}\n')) == 200
    site.connect(*site.put("cut.jsonl", body[:-9], length=len(body))).close()
    folder = site.folder / "datasets" / str(site.upload.id)
    end = time.monotonic() + PATIENCE
    while {path.name for path in folder.iterdir()} != {"whole.jsonl", "small.jsonl"}:
        assert time.monotonic() < end
        time.sleep(0.05)
