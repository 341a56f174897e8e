"""The check of a whole dataset, and the `validate` stage over it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from submissions import validate
from submissions.check import MAX_PROBLEMS, Report, check_dataset
from submissions.failures import Failure
from submissions.hashing import combined_sha256, file_sha256
from submissions.job import run_stage
from submissions.shards import LocalShard


def write(folder: Path, name: str, *texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(
        "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    )
    return path


def check(*paths: Path, tokens: int = 1, track: str = "filtering", multiple: int = 10**6) -> Report:
    return check_dataset(
        paths, track=track, scale="smoke", tokens_needed=tokens, bytes_per_token=4.0, max_epochs=4,
        multiple=multiple,
    )  # fmt: skip


def test_figures(tmp_path: Path) -> None:
    a, b = write(tmp_path, "a.jsonl", "four", "café"), write(tmp_path, "b.jsonl", "x" * 91)
    report = check(tmp_path)
    assert (report.ok, report.documents, report.text_bytes) == (True, 3, 100)
    document = report.as_dict()
    assert (document["tokens_estimate"], document["epochs_estimate"]) == (25, 0.04)
    assert document["sources"] == []
    assert document["bytes"] == a.stat().st_size + b.stat().st_size
    assert document["shards"][0] == {
        "name": "a.jsonl", "sha256": file_sha256(a), "bytes": a.stat().st_size, "documents": 2,
        "text_bytes": 9,
    }  # fmt: skip
    assert document["manifest_sha256"] == combined_sha256([file_sha256(b), file_sha256(a)])
    assert json.loads(json.dumps(document)) == document


def test_the_hash_of_a_dataset_does_not_depend_on_names(tmp_path: Path) -> None:
    write(tmp_path / "one", "a.jsonl", "x")
    write(tmp_path / "two", "b.jsonl", "x")
    write(tmp_path / "three", "a.jsonl", "y")
    one, two, three = (check(tmp_path / n).manifest_sha256 for n in ("one", "two", "three"))
    assert one == two != three


def test_one_problem_a_shard_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    write(tmp_path, "b.jsonl", "fine")
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\nnot JSON\nnor this\n')
    (tmp_path / "c.jsonl").write_text('{"texts": 1}\n')
    document = check(tmp_path, tokens=1000).as_dict()
    assert not document["ok"]
    assert [(p["code"], p["shard"], p["line"]) for p in document["problems"]] == [
        ("not_json", "a.jsonl", 2), ("text_missing", "c.jsonl", 1),
    ]  # fmt: skip
    assert [shard["name"] for shard in document["shards"]] == ["b.jsonl"]
    assert (document["manifest_sha256"], document["epochs_estimate"]) == ("", None)


def test_the_list_of_problems_ends(tmp_path: Path) -> None:
    for number in range(MAX_PROBLEMS + 5):
        (tmp_path / f"{number:02}.jsonl").write_text("bad\n")
    assert len(check(tmp_path).problems) == MAX_PROBLEMS


def test_too_small_is_told_with_both_figures(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", "x" * 4000)  # an estimate of 1,000 tokens
    most = 4 * 4001  # read four times, a byte a token, and the end of the text
    assert check(tmp_path, tokens=most).ok
    assert check(tmp_path, tokens=4 * 1200).epochs_estimate == 4.8
    (problem,) = check(tmp_path, tokens=most + 1).problems
    assert problem.code == "dataset_too_small"
    assert "1,000" in problem.message
    assert "16,005" in problem.message
    assert "4 times" in problem.message


def test_an_unknown_track_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        check(tmp_path / "missing", track="cooking")
    assert caught.value.code == "unknown_track"


def test_progress_ends_at_the_last_shard(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        write(tmp_path, name, "x")
    calls: list[tuple[int, int]] = []

    def progress(step: int, of: int, unit: str, message: str = "", **metrics: float) -> None:
        calls.append((step, of))

    check_dataset(
        [tmp_path], track="mixing", scale="smoke", tokens_needed=1, bytes_per_token=4,
        max_epochs=4, multiple=10**6, progress=progress,
    )  # fmt: skip
    assert calls == [(0, 2), (1, 2), (2, 2)]


def job_directory(tmp_path: Path, dataset: Path, sha256: str = "", tokens: int = 1) -> Path:
    directory = tmp_path / "job"
    directory.mkdir()
    spec = {
        "key": "1-validate-a1",
        "stage": "validate",
        "inputs": {"dataset": {"uri": dataset.as_uri(), "sha256": sha256}},
        "parameters": {"track": "filtering", "scale": "smoke", "tokens": tokens,
                       "bytes_per_token": 4.0, "max_epochs": 4, "multiple": 10**6},
        "output": (tmp_path / "output").as_uri(),
    }  # fmt: skip
    (directory / "job.json").write_text(json.dumps(spec))
    return directory


def test_the_stage_fixes_the_hash(tmp_path: Path) -> None:
    path = write(tmp_path / "data set", "a.jsonl", "some text")
    directory = job_directory(tmp_path, path.parent)
    assert run_stage(validate.stage, [str(directory)]) == 0
    result = json.loads((directory / "result.json").read_text())
    expected = combined_sha256([file_sha256(path)])
    assert result["outputs"]["dataset"] == {"uri": path.parent.as_uri(), "sha256": expected}
    assert result["figures"]["manifest_sha256"] == expected
    assert result["figures"]["documents"] == 1
    assert result["figures"]["shards"][0]["name"] == "a.jsonl"


@pytest.mark.parametrize(
    ("content", "sha256", "tokens", "code", "line", "exit_code"),
    [
        ('{"text": "a"}\n{"text": 1}\n', "", 1, "text_not_a_string", 2, 1),
        ('{"text": "a"}\n', "", 10**6, "dataset_too_small", None, 1),
        ('{"text": "some words"}\n', "0" * 64, 1, "artifact_corrupt", None, 3),
    ],
)
def test_the_stage_fails_clearly(
    tmp_path: Path, content: str, sha256: str, tokens: int, code: str, line: int, exit_code: int
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.jsonl").write_text(content)
    directory = job_directory(tmp_path, folder, sha256, tokens)
    assert run_stage(validate.stage, [str(directory)]) == exit_code
    failure = json.loads((directory / "failure.json").read_text())
    assert (failure["code"], failure["line"]) == (code, line)
    assert not (directory / "result.json").exists()


def test_a_dataset_that_vanished_is_not_the_participants_fault(tmp_path: Path) -> None:
    directory = job_directory(tmp_path, tmp_path / "gone")
    assert run_stage(validate.stage, [str(directory)]) == 3
    assert json.loads((directory / "failure.json").read_text())["code"] == "artifact_missing"


class TestTooMuch:
    """A dataset may hold a multiple of what its scale reads: here 2 times 100 tokens of 4 bytes."""

    def refused(self, *paths: Path) -> str:
        report = check(*paths, tokens=100, multiple=2)
        assert [problem.code for problem in report.problems] == ["dataset_too_large"]
        return report.problems[0].message

    def test_just_enough_is_taken(self, tmp_path: Path) -> None:
        write(tmp_path, "a.jsonl", "x" * 780)
        assert check(tmp_path, tokens=100, multiple=2).ok

    def test_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path, "a.jsonl", "x" * 400)
        write(tmp_path, "b.jsonl", "x" * 400)
        monkeypatch.setattr("submissions.check.read_documents", None)  # nothing is read
        assert "bytes of files or more, and 800 are the most: 2 times" in self.refused(tmp_path)

    @pytest.mark.parametrize("texts", [[""] * 201, ["word " * 300]])
    def test_footers(
        self, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", compression="zstd")
        monkeypatch.setattr("submissions.check.read_documents", None)
        monkeypatch.setattr(LocalShard, "bytes", 1)
        self.refused(tmp_path)

    @pytest.mark.parametrize("text", [b"", b"word " * 3])
    def test_counts(self, text: bytes, tmp_path: Path) -> None:
        lines = b'{"text": "%b"}\n' % text * 5_000
        (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines, 9))
        assert len(gzip.compress(lines, 9)) < 800
        self.refused(tmp_path)
