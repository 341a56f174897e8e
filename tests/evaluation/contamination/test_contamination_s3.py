"""Datasets in S3 are scanned and cleaned as files are: the same findings, the same bytes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from evaluation.contamination.clean import LOG, clean_dataset
from evaluation.contamination.index import Index
from evaluation.contamination.scan import scan_dataset
from submissions.executor import LocalProcesses
from submissions.failures import Failure
from tests.evaluation.contamination.conftest import CHOICE_ROWS, FILLER, PASSAGE
from tests.s3_bucket import Bucket

QUESTION = CHOICE_ROWS[0]["query"].partition("\n")[0].removeprefix("Question: ")
TEXTS = [FILLER, f"{FILLER} {QUESTION} a compost rich in nitrogen. {FILLER}", PASSAGE]
PLAIN = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()
SHARDS = {"a.jsonl": PLAIN, "deep/b.jsonl.gz": gzip.compress(PLAIN, mtime=0)}


@pytest.fixture
def here(bucket: Bucket, tmp_path: Path) -> Path:
    """A folder with the shards that the bucket holds below `pool`."""
    for name, content in SHARDS.items():
        bucket.put(f"pool/{name}", content)
        path = tmp_path / "pool" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "pool"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_scan_finds_the_same(index: Index, here: Path, tmp_path: Path, workers: int) -> None:
    placement = LocalProcesses(workers)
    there = scan_dataset(
        ["s3://data/pool"], index.folder, tmp_path / "there.json", placement=placement
    )
    local = scan_dataset([here], index.folder, tmp_path / "here.json")
    assert local["documents"] == len(TEXTS) * len(SHARDS)
    assert {finding["shard"] for finding in local["findings"]} == set(SHARDS)
    assert there | {"seconds": 0} == local | {"seconds": 0}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.json", "pool", "there.json"]


def test_a_cleaned_dataset_has_the_same_bytes(index: Index, here: Path, tmp_path: Path) -> None:
    there = clean_dataset(["s3://data/pool"], index.folder, tmp_path / "there")
    local = clean_dataset([here], index.folder, tmp_path / "here")
    assert local["removed"] == len(SHARDS)
    assert there | {"log": ""} == local | {"log": ""}
    files = {path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*")}
    assert files == {
        path.relative_to(tmp_path / "there") for path in (tmp_path / "there").rglob("*")
    }
    for name in (*SHARDS, LOG):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_an_object_that_is_gone_is_no_clean_shard(
    bucket: Bucket, index: Index, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evaluation.contamination import scan

    found = scan.find_dataset(["s3://data/pool"])
    monkeypatch.setattr(scan, "find_dataset", lambda paths: found)
    bucket.client.delete_object(Bucket="data", Key="pool/a.jsonl")
    with pytest.raises(Failure) as caught:
        scan_dataset(["s3://data/pool"], index.folder, tmp_path / "there.json")
    assert caught.value.place == "a.jsonl"
    assert not (tmp_path / "there.json").exists()
