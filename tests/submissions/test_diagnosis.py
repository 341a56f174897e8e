"""What `crucible doctor` asks of every machine."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from submissions import diagnosis
from submissions.diagnosis import (
    Check,
    asked,
    check_disk,
    check_folder_clock,
    check_python,
    check_server,
    check_store,
    diagnosis_of,
    rendered,
)
from submissions.failures import Failure


@pytest.fixture
def server() -> Iterator[str]:
    """A site whose clock is an hour behind."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time.time() - 3600)

        def log_message(self, *_: object) -> None:
            pass

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def test_a_clock_off_by_an_hour_is_named(server: str) -> None:
    answers, clock = check_server(server)
    assert answers.ok
    assert not clock.ok
    assert re.fullmatch(rf"3,60\d s ahead of that of {server}", clock.message)
    assert "NTP" in clock.next_step


def test_a_server_that_is_away_is_one_bad_check() -> None:
    (check,) = check_server("http://127.0.0.1:9")
    assert (check.name, check.ok) == ("server", False)
    assert "does not answer" in check.message


def test_a_file_server_s_clock_is_compared_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_folder_clock(tmp_path).ok
    monkeypatch.setattr(diagnosis.time, "time", lambda: 1.0)
    behind = check_folder_clock(tmp_path)
    assert not behind.ok
    assert "behind" in behind.message
    assert list(tmp_path.iterdir()) == []
    assert "No such file" in check_folder_clock(tmp_path / "absent").message


def test_disk_asks_for_what_is_needed(tmp_path: Path) -> None:
    assert check_disk(tmp_path / "not" / "there", needed=1).ok
    full = check_disk(tmp_path, needed=1e30)
    assert not full.ok
    assert "needed at least" in full.message


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis.os, "access", lambda *_: False)  # root may write everywhere
    assert "cannot be written" in check_disk(tmp_path).message


def test_python_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_python().ok
    for version in ((3, 10, 4), (3, 14, 0)):
        monkeypatch.setattr(diagnosis.sys, "version_info", version)
        assert not check_python().ok


def test_a_store_without_credentials_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    check = check_store("s3://bucket/prefix")
    assert not check.ok
    assert "cannot be reached" in check.message


def test_only_what_matters_decides() -> None:
    def refuse() -> str:
        raise Failure("torch_unfit", "this torch draws other weights")

    hint = asked("open_lm", refuse, matters=False, next_step="Leave it.")
    fine = Check(name="python", ok=True, message="Python 3.11")
    assert diagnosis_of([fine, hint]).ok
    bad = diagnosis_of([fine, asked("torch", refuse)])
    assert not bad.ok
    lines = rendered(diagnosis_of([fine, hint, asked("torch", refuse)])).splitlines()
    assert [line.split()[0] for line in lines] == ["fine", "note", "Leave", "WRONG", "Install"]
