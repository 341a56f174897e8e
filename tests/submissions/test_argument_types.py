"""Options are looked at before any work: exit code 2 and one sentence, never a traceback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from submissions.cli import main
from submissions.failures import Failure
from submissions.shard_search import find_shards

LINE = json.dumps({"text": "a document"}) + "\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["tokenize", "--scale", "smoke", "--input", "in", "--output", "out", "--workers", "0"],
        ["tokenize", "--scale", "smoke", "--input", "in", "--output", "out", "--seed", "-1"],
        ["tokenize", "--scale", "smoke", "--input", "in", "--output", "out", "--seed", "one"],
        ["tokenize", "--scale", "smoke", "--input", "in", "--output", "file/below"],
        ["tokenize", "--scale", "smoke", "--input", "in", "--output", "file"],
        ["tokenize", "--scale", "smoke", "--input", "", "--output", "out"],
        ["check", "", "--track", "filtering", "--scale", "smoke"],
        ["contamination", "scan", "--index", "i", "--input", "in", "--output", "folder"],
        ["contamination", "clean", "--index", "i", "--input", "in", "--output", "file"],
        ["contamination", "grade", "--leaks", "0"],
        ["train", "--scale", "smoke", "--data", "in", "--output", "out", "--micro-batch", "0"],
    ],
)
def test_an_option_that_cannot_be_is_refused(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder").mkdir()
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "error: argument" in capsys.readouterr().err.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_name_that_is_not_utf8_is_refused_by_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl")).write_text(LINE)
    assert main(["check", str(tmp_path), "--track", "filtering", "--scale", "smoke", "--json"]) == 1
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem["code"] == "shard_unreadable"
    assert problem["shard"] == "caf\ufffd.jsonl"


def test_a_snapshot_of_the_cache_of_hugging_face_is_a_dataset(tmp_path: Path) -> None:
    cache = tmp_path / "datasets--someone--pool"
    for folder in ("blobs", "snapshots/3f2a/data"):
        (cache / folder).mkdir(parents=True)
    (cache / "blobs" / "77ab").write_text(LINE)
    (cache / "snapshots/3f2a/data/a.jsonl").symlink_to("../../../blobs/77ab")
    (shard,) = find_shards([cache / "snapshots" / "3f2a"])
    assert shard.name == "data/a.jsonl"
    other = tmp_path / "other" / "blobs"
    other.mkdir(parents=True)
    (other / "77ab").write_text(LINE)
    (cache / "snapshots/3f2a/data/b.jsonl").symlink_to(other / "77ab")
    with pytest.raises(Failure) as raised:
        find_shards([cache / "snapshots" / "3f2a"])
    assert raised.value.code == "shard_unreadable"


def test_an_empty_path_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_text(LINE)
    with pytest.raises(Failure) as raised:
        find_shards([""])
    assert raised.value.code == "dataset_missing"
