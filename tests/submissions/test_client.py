"""Uploading and submitting against a small server that speaks the API."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from submissions import commands
from submissions.cli import main
from submissions.client import Client
from submissions.dataset import find_dataset
from submissions.failures import Failure
from submissions.hashing import file_sha256
from submissions.states import TERMINAL, State
from submissions.upload import flat_name, upload_dataset

TOKEN = "t0ken"
STAGE = {"stage": "train", "state": "running", "attempt": 1, "step": 5, "of": 10, "unit": "step",
         "message": "", "metrics": {"loss": 3.5}, "eta_seconds": 9, "heard_at": None,
         "seconds": 4.2}  # fmt: skip


class Server(ThreadingHTTPServer):
    """Keeps uploads in memory; `script` holds answers that come before the ordinary ones."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.uploads: dict[str, dict[str, bytes]] = {}
        self.submitted: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str]] = []
        self.script: list[int | str] = []  # a status to answer with, or "drop" the connection
        self.states: list[str] = ["published"]
        self.failure: dict[str, Any] | None = None
        self.score: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


OPENED = {
    "smoke": (201, {"id": "u1", "shards": []}),
    "400m-1x": (400, {"code": "budget_exceeded", "message": "there is no budget"}),
}


class Handler(BaseHTTPRequestHandler):
    """The API contract in its shortest form."""

    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        """Tests read `server.requests` instead."""

    def answer(self, status: int, document: Any, kind: str = "application/json") -> None:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if status == 429:
            self.send_header("Retry-After", "3000")
        if status == 302:
            self.send_header("Location", "https://elsewhere/login")
        self.end_headers()
        self.wfile.write(data)

    def handle_request(self) -> None:
        self.server.requests.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.script:
            scripted = self.server.script.pop(0)
            if scripted == "drop":
                self.close_connection = True
                return
            assert isinstance(scripted, int)
            self.answer(scripted, b"<html>scripted</html>", "text/html")
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"code": "not_authorised", "message": "the token is unknown"})
        else:
            self.route(body)

    do_GET = do_POST = do_PUT = handle_request  # noqa: N815 (http.server names them)

    def route(self, body: bytes) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")[1:]
        uploads = self.server.uploads
        match (self.command, *parts):
            case ("POST", "uploads"):
                uploads["u1"] = {}
                self.answer(*OPENED[json.loads(body)["scale"]])
            case ("GET", "uploads", number) if number in uploads:
                self.answer(200, {"id": number, "shards": self.shards(number)})
            case ("PUT", "uploads", number, "shards", name):
                assert hashlib.sha256(body).hexdigest() == self.headers["X-Content-SHA256"]
                uploads[number][name] = body
                self.answer(200, {"name": name, "bytes": len(body)})
            case ("POST", "submissions"):
                self.server.submitted.append(json.loads(body))
                self.answer(201, self.submission("submitted"))
            case ("GET", "submissions"):
                self.answer(200, {"submissions": [self.submission("training")]})
            case ("GET", "submissions", "3"):
                states = self.server.states
                self.answer(200, self.submission(states.pop(0) if len(states) > 1 else states[0]))
            case ("POST", "submissions", "3", "cancel"):
                self.answer(200, self.submission("cancelled"))
            case ("GET", "submissions", "3", "results"):
                tasks = {"smoke_article": {"score": 0.75, "n": 100}}
                score = {"label": "SMOKE", "smoke": 0.41, "smoke_stderr": 0.02, "core": None,
                         "core_stderr": None, "loss": 3.5} | self.server.score  # fmt: skip
                self.answer(200, {"id": 3, "state": "published", "score": score, "tasks": tasks})
            case ("GET", "leaderboard"):
                row = {"rank": 1, "id": 3, "name": "mine", "user": "ada", "score": 0.41,
                       "loss": 3.1, "score_label": "SMOKE", "core": None, "url": "/s"}  # fmt: skip
                self.answer(200, {"track": "filtering", "scale": "smoke", "metric_version": "v2",
                                  "rows": [row]})  # fmt: skip
            case _:
                self.answer(404, {"code": "not_found", "message": "there is no such thing here"})

    def shards(self, number: str) -> list[dict[str, Any]]:
        return [
            {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in self.server.uploads[number].items()
        ]

    def submission(self, state: str) -> dict[str, Any]:
        return {"id": 3, "name": "mine", "track": "filtering", "scale": "smoke", "seed": 1,
                "user": "ada", "state": state, "url": "/submissions/3", "created_at": "2026-01-01",
                "waiting_for": None, "stages": [STAGE], "failure": self.server.failure}  # fmt: skip


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server.url, TOKEN, pauses=(0.0, 0.0))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for name in ("a.jsonl", "deep/er/b c.jsonl"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{"text": "{name}"}}\n' * 1000)
    return tmp_path / "data"


def failure_of(call: Any, *arguments: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        call(*arguments)
    return caught.value


def test_nothing_is_sent_for_a_scale_that_is_refused(
    client: Client, server: Server, dataset: Path
) -> None:
    failure = failure_of(upload_dataset, client, find_dataset([dataset]), "400m-1x")
    assert failure.code == "budget_exceeded"
    assert [method for method, _ in server.requests] == ["POST"]


def test_an_upload_holds_every_shard(client: Client, server: Server, dataset: Path) -> None:
    told: list[tuple[int, int]] = []

    def progress(step: int, of: int, unit: str, message: str = "", **metrics: float) -> None:
        told.append((step, of))

    assert upload_dataset(client, find_dataset([dataset]), "smoke", progress=progress) == "u1"
    sent = server.uploads["u1"]
    assert sent["a.jsonl"] == (dataset / "a.jsonl").read_bytes()
    assert sent["deep-er-b-c.jsonl"] == (dataset / "deep/er/b c.jsonl").read_bytes()
    size = sum(map(len, sent.values()))
    assert told[-1] == (size, size)
    assert told == sorted(told)


def test_a_broken_upload_goes_on(client: Client, server: Server, dataset: Path) -> None:
    upload_dataset(client, find_dataset([dataset]), "smoke")
    del server.uploads["u1"]["deep-er-b-c.jsonl"]
    server.requests.clear()
    upload_dataset(client, find_dataset([dataset]), "smoke", upload="u1")
    assert [method for method, _ in server.requests] == ["GET", "PUT"]
    (dataset / "a.jsonl").write_text('{"text": "changed"}\n')
    upload_dataset(client, find_dataset([dataset]), "smoke", upload="u1")
    assert server.uploads["u1"]["a.jsonl"] == b'{"text": "changed"}\n'


def test_an_upload_of_another_dataset_is_not_mixed_in(
    client: Client, server: Server, dataset: Path
) -> None:
    server.uploads["u1"] = {"other.jsonl": b"x"}
    failure = failure_of(upload_dataset, client, find_dataset([dataset]), "smoke", "u1")
    assert failure.code == "refused"
    assert "other.jsonl" in failure.message


def test_connections_that_drop_are_tried_again(
    client: Client, server: Server, dataset: Path
) -> None:
    upload = client.create_upload("smoke", 9)["id"]
    server.script = ["drop", 503]
    upload_dataset(client, find_dataset([dataset / "a.jsonl"]), "smoke", upload)
    assert list(server.uploads[upload]) == ["a.jsonl"]


def test_the_attempts_are_bounded_and_the_failure_says_how_to_go_on(
    client: Client, server: Server, dataset: Path
) -> None:
    server.uploads["u1"] = {}
    client.upload("u1")
    server.requests.clear()

    class Breaks(Client):
        def upload(self, upload: str) -> dict[str, Any]:
            document = super().upload(upload)
            server.script = [503] * 99
            return document

    breaks = Breaks(server.url, TOKEN, pauses=(0.0, 0.0))
    failure = failure_of(upload_dataset, breaks, find_dataset([dataset]), "smoke", "u1")
    assert failure.code == "server_unreachable"
    assert "--upload u1" in failure.next_step
    assert [method for method, _ in server.requests] == ["GET", "PUT", "PUT", "PUT"]


def test_a_submission_is_not_sent_twice(client: Client, server: Server) -> None:
    server.script = ["drop"]
    failure = failure_of(client._ask, "POST", "/api/submissions")
    assert failure.code == "server_unreachable"
    assert len(server.requests) == 1


def test_no_server_is_one_clear_sentence() -> None:
    server = Server()
    server.server_close()  # its port is free again
    failure = failure_of(Client(server.url, TOKEN, pauses=()).my_submissions)
    assert failure.code == "server_unreachable"
    assert server.url in failure.message
    for address in ("crucible.example", "ftp://host", "http://"):
        assert failure_of(Client, address, TOKEN).code == "server_unreachable"


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "server_unreachable"), (403, "not_authorised"), (500, "server_unreachable"),
     (200, "server_unreachable"), (302, "server_unreachable")],
)  # fmt: skip
def test_answers_that_are_not_crucibles(
    client: Client, server: Server, status: int, code: str
) -> None:
    server.script = [status]
    assert failure_of(client.my_submissions).code == code


def test_the_servers_own_words_are_passed_on(client: Client, server: Server) -> None:
    failure = failure_of(client.submission, "99")
    assert (failure.code, failure.message) == ("not_found", "there is no such thing here")
    failure = failure_of(Client(server.url, "wrong", pauses=()).my_submissions)
    assert (failure.code, failure.message) == ("not_authorised", "the token is unknown")


def test_names_are_made_plain(tmp_path: Path, client: Client, server: Server) -> None:
    assert flat_name("/x/../é a.jsonl") == "x-..---a.jsonl"
    for name in ("a/b.jsonl", "a-b.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    failure = failure_of(upload_dataset, client, find_dataset([tmp_path]), "smoke")
    assert failure.code == "refused"
    assert "a-b.jsonl" in failure.message
    assert server.requests == []


def test_what_is_plainly_wrong_is_refused_before_anything_is_sent(
    tmp_path: Path, client: Client, server: Server
) -> None:
    assert failure_of(find_dataset, [tmp_path / "no"]).code == "dataset_missing"
    (tmp_path / "empty.jsonl").touch()
    failure = failure_of(upload_dataset, client, find_dataset([tmp_path]), "smoke")
    assert (failure.code, failure.shard) == ("shard_empty", "empty.jsonl")
    assert server.requests == []


def test_a_mixture_goes_along_and_means_the_same_there(
    tmp_path: Path, client: Client, server: Server, dataset: Path
) -> None:
    sources = [{"name": "a", "weight": 0.25, "shards": ["a*"]},
               {"name": "deep", "weight": 0.75, "shards": ["deep/"]}]  # fmt: skip
    (dataset / "mixture.json").write_text(json.dumps({"sources": sources}))
    here = find_dataset([dataset])
    upload_dataset(client, here, "smoke")
    arrived = tmp_path / "arrived"
    arrived.mkdir()
    for name, content in server.uploads["u1"].items():
        (arrived / name).write_bytes(content)
    there = find_dataset([arrived])
    assert [shard.name for shard in there.sources[1].shards] == ["deep-er-b-c.jsonl"]

    def hash_of(folder: Path, dataset: Any) -> str:
        return dataset.sha256({s.name: file_sha256(folder / s.name) for s in dataset.shards})

    assert hash_of(arrived, there) == hash_of(dataset, here)


@pytest.fixture
def crucible(server: Server, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """Runs a `crucible` command against the server: (exit code, standard output, error)."""
    monkeypatch.setenv("CRUCIBLE_TOKEN", TOKEN)
    monkeypatch.setattr(commands, "POLL_PERIOD", 0.0)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--server", server.url])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_submit(crucible: Any, server: Server, dataset: Path) -> None:
    options = ("--track", "filtering", "--scale", "smoke", "--name", "mine", "--seed", "5")
    code, output, _ = crucible("submit", str(dataset), *options, "--json")
    assert (code, json.loads(output)["id"]) == (0, 3)
    assert server.submitted == [
        {"name": "mine", "track": "filtering", "scale": "smoke", "description": "", "upload": "u1",
         "seed": 5},
    ]  # fmt: skip
    code, output, _ = crucible("submit", str(dataset), *options)
    assert "mine: submitted" in output
    code, _, said = crucible("submit", str(dataset), "--track", "x", "--scale", "s", "--name", "n")
    assert code == 2
    assert "no track x" in said


def test_status_of_one_and_of_all(crucible: Any) -> None:
    code, output, _ = crucible("status", "3")
    assert code == 0
    assert "5 of 10 step" in output
    code, output, _ = crucible("status")
    assert output.splitlines()[0].split() == ["id", "name", "track", "scale", "state", "created_at"]
    code, output, _ = crucible("status", "--json")
    assert json.loads(output)["submissions"][0]["state"] == "training"
    code, _, said = crucible("status", "99")
    assert (code, "no such thing" in said) == (1, True)


def test_waiting_ends_with_publication(crucible: Any, server: Server) -> None:
    server.states = ["validating", "training", "training", "published"]
    code, output, said = crucible("status", "3", "--wait", "--json")
    assert (code, json.loads(output)["state"]) == (0, "published")
    assert said.splitlines() == ["3: validating", "3: training", "3: published"]


def test_waiting_bears_a_server_that_restarts(server: Server) -> None:
    server.states = ["training", "published"]
    server.script = [500, 500]
    client = Client(server.url, TOKEN, pauses=())
    assert commands.wait_for(client, "3", period=0.0)["state"] == "published"


@pytest.mark.parametrize(
    ("failed", "exit_code"), [("text_missing", 1), ("disk_full", 3), ("a_new_code", 3)]
)
def test_waiting_tells_whose_fault_it_was(
    crucible: Any, server: Server, failed: str, exit_code: int
) -> None:
    server.states = ["failed"]
    fault = "participant" if exit_code == 1 else "infrastructure"
    server.failure = {"code": failed, "fault": fault, "message": "it broke", "shard": "a.jsonl",
                      "line": 2, "next_step": "mend it"}  # fmt: skip
    code, _, said = crucible("status", "3", "--wait")
    assert code == exit_code
    assert "a.jsonl:2: it broke" in said


def test_waiting_for_what_was_cancelled(crucible: Any, server: Server) -> None:
    server.states = ["cancelled"]
    code, _, said = crucible("status", "3", "--wait")
    assert code == 1
    assert "was cancelled" in said


@pytest.mark.parametrize("state", list(State))
def test_waiting_ends_in_every_state_that_is_final_and_in_no_other(
    server: Server, state: State
) -> None:
    """A submission that is disqualified will not be published by waiting for it."""
    server.states = [state.value, "published"]
    client = Client(server.url, TOKEN, pauses=())
    if state in TERMINAL - {State.PUBLISHED}:
        with pytest.raises(Failure, match=f"submission 3 was {state}"):
            commands.wait_for(client, "3", period=0.0)
    else:
        assert commands.wait_for(client, "3", period=0.0)["state"] == "published"
    asked = sum(where == "/api/submissions/3" for _, where in server.requests)
    assert asked == (1 if state in TERMINAL else 2)


def test_results_of_a_suite_of_ones_own_show_its_mean(crucible: Any, server: Server) -> None:
    server.score = {"label": "EUROPE", "smoke": None, "mean": 0.25, "mean_stderr": None}
    code, output, _ = crucible("results", "3")
    assert (code, "EUROPE 0.2500" in output) == (0, True)


def test_results_cancel_and_leaderboard(crucible: Any) -> None:
    code, output, _ = crucible("results", "3")
    assert code == 0
    assert "SMOKE 0.4100" in output
    assert "CORE" not in output
    assert "3.5" not in output
    assert "smoke_article  0.7500  100" in output
    assert "mine: cancelled" in crucible("cancel", "3")[1]
    board = ("leaderboard", "--track", "filtering", "--scale", "smoke")
    assert crucible(*board)[1].splitlines()[2].split() == ["1", "mine", "ada", "SMOKE", "0.4100",
                                                           "3.1000", "3"]  # fmt: skip
    assert json.loads(crucible(*board, "--json")[1])["rows"][0]["score"] == 0.41


def test_a_server_that_asks_for_a_pause_gets_it_up_to_a_minute(server, client, monkeypatch):
    slept: list[float] = []
    # The module's own name: other threads of the test run sleep by time.sleep too.
    monkeypatch.setattr("submissions.client.time", SimpleNamespace(sleep=slept.append))
    server.script = [429, 503]
    client.my_submissions()
    assert slept == [60.0, 0.0]
