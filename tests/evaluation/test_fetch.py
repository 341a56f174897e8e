"""`crucible suite fetch`: from a folder and from web servers, good and bad."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evaluation import commands
from evaluation.fetch import fetch_suite
from evaluation.suite import Suite, load_suite
from submissions import cli
from submissions.failures import Failure

CONTENT = b'{"query": "q", "choices": ["a", "b"], "gold": 0}\n' * 50


@pytest.fixture
def suite() -> Suite:
    """Two tasks on one file, whose content we know, and one of GPQA."""
    full = load_suite("full")
    sha1 = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    copa, gpqa = full.choose(["copa", "gpqa_main"])
    tasks = (replace(copa, sha1=sha1), replace(copa, sha1=sha1, label="copa_again"), gpqa)
    return replace(full, tasks=tasks)


@pytest.fixture
def source(tmp_path: Path, suite: Suite) -> Path:
    path = tmp_path / "source" / suite.tasks[0].file
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return tmp_path / "source"


class Quiet(SimpleHTTPRequestHandler):
    """Python's server, which ignores ranges and answers with the whole file."""

    asked: list[str | None] = []

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.headers["Range"])
        super().do_GET()


class WithRanges(Quiet):
    """A server that continues where it is asked to."""

    asked: list[str | None] = []

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.asked.append(asked)
        if not Path(self.translate_path(self.path)).is_file():
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        body = Path(self.translate_path(self.path)).read_bytes()
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:])


@pytest.fixture(params=[Quiet, WithRanges])
def server(request: pytest.FixtureRequest, source: Path) -> Iterator[tuple[str, type[Quiet]]]:
    request.param.asked = []
    handler = partial(request.param, directory=str(source))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/", request.param
        http.shutdown()
        thread.join()


def states(rows: list[dict[str, object]]) -> list[object]:
    return [row["state"] for row in rows]


def test_from_a_folder(tmp_path: Path, suite: Suite, source: Path) -> None:
    data = tmp_path / "data"
    rows = fetch_suite(suite, data, str(source))
    assert states(rows) == ["fetched", "archive"]
    assert rows[0]["labels"] == ["copa", "copa_again"]
    assert (data / suite.tasks[0].file).read_bytes() == CONTENT
    assert states(fetch_suite(suite, data, str(source))) == ["present", "archive"]


def test_an_altered_file_is_replaced_by_the_right_one_only(
    tmp_path: Path, suite: Suite, source: Path
) -> None:
    data = tmp_path / "data"
    target = data / suite.tasks[0].file
    target.parent.mkdir(parents=True)
    target.write_bytes(b"altered")
    (source / suite.tasks[0].file).write_bytes(b"wrong")
    assert states(fetch_suite(suite, data, str(source))) == ["wrong", "archive"]
    assert target.read_bytes() == b"altered"
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    (source / suite.tasks[0].file).write_bytes(CONTENT)
    assert states(fetch_suite(suite, data, str(source))) == ["fetched", "archive"]
    assert target.read_bytes() == CONTENT


def test_from_a_server_going_on_with_half_a_file(
    tmp_path: Path, suite: Suite, server: tuple[str, type[Quiet]]
) -> None:
    address, handler = server
    target = tmp_path / "data" / suite.tasks[0].file
    target.parent.mkdir(parents=True)
    target.with_name(f".{target.name}.part").write_bytes(CONTENT[:700])
    assert states(fetch_suite(suite, tmp_path / "data", address)) == ["fetched", "archive"]
    assert target.read_bytes() == CONTENT
    assert handler.asked == ["bytes=700-", None]  # and GPQA's file, which is not there


def test_from_a_folder_going_on_with_half_a_file(
    tmp_path: Path, suite: Suite, source: Path
) -> None:
    target = tmp_path / "data" / suite.tasks[0].file
    target.parent.mkdir(parents=True)
    for part in (CONTENT[:700], CONTENT, b"x" * 700, CONTENT + b"more"):
        target.with_name(f".{target.name}.part").write_bytes(part)
        assert states(fetch_suite(suite, tmp_path / "data", str(source))) == ["fetched", "archive"]
        assert target.read_bytes() == CONTENT
        target.unlink()


def test_a_part_of_another_file_is_thrown_away(
    tmp_path: Path, suite: Suite, server: tuple[str, type[Quiet]]
) -> None:
    target = tmp_path / "data" / suite.tasks[0].file
    target.parent.mkdir(parents=True)
    target.with_name(f".{target.name}.part").write_bytes(b"x" * 700)
    assert states(fetch_suite(suite, tmp_path / "data", server[0])) == ["fetched", "archive"]
    assert target.read_bytes() == CONTENT


def test_a_whole_part_needs_only_its_name(
    tmp_path: Path, suite: Suite, server: tuple[str, type[Quiet]]
) -> None:
    target = tmp_path / "data" / suite.tasks[0].file
    target.parent.mkdir(parents=True)
    target.with_name(f".{target.name}.part").write_bytes(CONTENT)
    assert states(fetch_suite(suite, tmp_path / "data", server[0])) == ["fetched", "archive"]
    assert target.read_bytes() == CONTENT


def test_a_source_without_the_file(tmp_path: Path, suite: Suite, source: Path) -> None:
    (source / suite.tasks[0].file).unlink()
    assert states(fetch_suite(suite, tmp_path / "data", str(source))) == ["absent", "archive"]
    handler = partial(Quiet, directory=str(source))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        address = f"http://127.0.0.1:{http.server_port}"
        assert states(fetch_suite(suite, tmp_path / "data", address)) == ["absent", "archive"]
        http.shutdown()
        thread.join()
    with pytest.raises(Failure) as raised:  # nobody listens any more
        fetch_suite(suite, tmp_path / "data", address)
    assert raised.value.code == "fetch_failed"


def test_neither_folder_nor_address(tmp_path: Path, suite: Suite) -> None:
    with pytest.raises(Failure, match="neither a folder nor") as raised:
        fetch_suite(suite, tmp_path / "data", str(tmp_path / "nowhere"))
    assert raised.value.code == "fetch_failed"


def test_the_command(
    tmp_path: Path,
    suite: Suite,
    source: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli, "COMMAND_MODULES", ("evaluation.commands",))
    monkeypatch.setattr(commands, "load_suite", lambda name: suite)
    arguments = ["suite", "fetch", "--data", str(tmp_path / "data"), "--from", str(source)]
    assert cli.main([*arguments, "--json"]) == 1  # GPQA's file is not there
    document = json.loads(capsys.readouterr().out)
    assert states(document["files"]) == ["fetched", "archive"]
    assert cli.main(arguments) == 1
    shown = capsys.readouterr().out
    assert "already there" in shown
    assert "name GPQA's archive" in shown
