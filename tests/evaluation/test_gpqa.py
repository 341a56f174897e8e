"""GPQA's files from a protected archive of our own, by path and from a server."""

from __future__ import annotations

import csv
import io
import json
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evaluation import fetch
from evaluation.fetch import fetch_suite
from evaluation.gpqa import CHOICES, PASSWORD, build_task_file, questions
from evaluation.suite import Suite, blob_sha1, load_suite
from submissions.failures import Failure
from tests.evaluation.zip_crypto import write_protected_zip

HEADER = ["Record ID", "Question", *CHOICES]
ROWS = [
    [str(number), f"Why, “{number}”,\nand how?", f"right {number}", "a, b", 'c "d"', "None"]
    for number in range(6)
]


def table(rows: list[list[str]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows([HEADER, *rows])
    return written.getvalue()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "source" / "dataset.zip"
    path.parent.mkdir()
    members = {
        "dataset/gpqa_main.csv": table(ROWS).encode(),
        "dataset/gpqa_diamond.csv": table(ROWS[:2]).encode(),
        "dataset/license.txt": b"please do not put the questions on the web",
    }
    write_protected_zip(path, members, PASSWORD)
    return path


@pytest.fixture
def suite(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """The two tasks of GPQA as our archive gives them."""
    monkeypatch.setattr(fetch, "ARCHIVE_SHA1", blob_sha1(archive))
    full = load_suite("full")
    tasks = []
    for task in full.choose(["gpqa_main", "gpqa_diamond"]):
        made = tmp_path / Path(task.file).name
        build_task_file(archive, made.name, made)
        tasks.append(replace(task, sha1=blob_sha1(made)))
        made.unlink()
    return replace(full, tasks=tuple(tasks))


def test_questions_are_shuffled_by_one_generator_a_file() -> None:
    found = list(questions(table(ROWS)))
    assert [question["query"] for question in found] == [row[1] for row in ROWS]
    # random.Random(42).shuffle of [0, 1, 2, 3], six times over: where 0 comes to lie.
    assert [question["gold"] for question in found] == [3, 2, 3, 2, 3, 3]
    for number, question in enumerate(found):
        choices = question["choices"]
        assert isinstance(choices, list)
        assert choices[int(str(question["gold"]))] == f"right {number}"
        assert sorted(choices) == sorted(ROWS[number][2:])


def test_the_files_are_made_and_the_archive_is_not_kept(
    archive: Path, suite: Suite, tmp_path: Path
) -> None:
    data, empty = tmp_path / "data", tmp_path / "empty"
    empty.mkdir()
    rows = fetch_suite(suite, data, str(empty), str(archive))
    assert [row["state"] for row in rows] == ["fetched", "fetched"]
    lines = (data / "gpqa_data" / "gpqa_main.jsonl").read_text().splitlines()
    assert [json.loads(line)["query"] for line in lines] == [row[1] for row in ROWS]
    assert sorted(p.name for p in data.rglob("*") if p.is_file()) == [
        "gpqa_diamond.jsonl",
        "gpqa_main.jsonl",
    ]
    assert archive.is_file()
    again = fetch_suite(suite, data, str(empty), None)
    assert [row["state"] for row in again] == ["present", "present"]
    # Once made, they are files like all others.
    copied = fetch_suite(suite, tmp_path / "copy", str(data), None)
    assert [row["state"] for row in copied] == ["fetched", "fetched"]


def test_without_an_archive_it_is_asked_for(suite: Suite, tmp_path: Path) -> None:
    rows = fetch_suite(suite, tmp_path / "data", str(tmp_path), None)
    assert [row["state"] for row in rows] == ["archive", "archive"]


class Server(SimpleHTTPRequestHandler):
    """Python's own, quiet, which counts what it is asked for."""

    asked: list[str] = []

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()


def test_from_a_server_the_archive_comes_once(archive: Path, suite: Suite, tmp_path: Path) -> None:
    Server.asked = []
    handler = partial(Server, directory=str(archive.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        try:
            address = f"http://127.0.0.1:{http.server_port}"
            data = tmp_path / "data"
            rows = fetch_suite(suite, data, str(tmp_path), f"{address}/dataset.zip")
            assert [row["state"] for row in rows] == ["fetched", "fetched"]
            assert Server.asked == ["/dataset.zip"]
            assert not (data / ".gpqa.zip").exists()
            other = tmp_path / "other"
            rows = fetch_suite(suite, other, str(tmp_path), f"{address}/nothing.zip")
            assert [row["state"] for row in rows] == ["absent", "absent"]
        finally:
            http.shutdown()
            thread.join()


def test_another_archive_is_refused(
    archive: Path, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "ARCHIVE_SHA1", "0" * 40)
    rows = fetch_suite(suite, tmp_path / "data", str(tmp_path), str(archive))
    assert [row["state"] for row in rows] == ["wrong", "wrong"]


@pytest.mark.parametrize("password", [b"wrong", PASSWORD])
def test_an_archive_that_cannot_be_read_is_one_sentence(tmp_path: Path, password: bytes) -> None:
    path = tmp_path / "dataset.zip"
    write_protected_zip(path, {"dataset/gpqa_other.csv": b"x" * 500}, password)
    name = "gpqa_other.jsonl" if password == b"wrong" else "gpqa_main.jsonl"
    with pytest.raises(Failure, match="cannot be read from it") as raised:
        build_task_file(path, name, tmp_path / "out.jsonl")
    assert raised.value.code == "task_file_invalid"
    path.write_bytes(b"no zip at all")
    with pytest.raises(Failure, match="cannot be read from it"):
        build_task_file(path, name, tmp_path / "out.jsonl")
