"""Finding shards: what counts, how it is named, and which links are followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from submissions.failures import Failure
from submissions.shard_search import find_shards

LINE = '{"text": "a"}\n'


def place(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(LINE)
    return root


def names(*paths: Path | str) -> list[str]:
    return [shard.name for shard in find_shards(paths)]


def refusal(*paths: Path | str) -> Failure:
    with pytest.raises(Failure) as caught:
        find_shards(paths)
    return caught.value


def test_folders_are_searched_to_the_bottom_in_order(tmp_path: Path) -> None:
    place(tmp_path, "b.jsonl", "a/z.parquet", "a/b/c.jsonl.zst", "A.JSONL.GZ")
    assert names(tmp_path) == ["A.JSONL.GZ", "a/b/c.jsonl.zst", "a/z.parquet", "b.jsonl"]
    formats = [shard.format for shard in find_shards([tmp_path])]
    assert formats == ["jsonl.gz", "jsonl.zst", "parquet", "jsonl"]


def test_companions_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    place(tmp_path, "a.jsonl", "README.md", "LICENSE", "dataset_infos.json", "_SUCCESS",
          ".part.jsonl", ".cache/b.jsonl", "a.jsonl.sha256", "card.yaml")  # fmt: skip
    assert names(tmp_path) == ["a.jsonl"]


@pytest.mark.parametrize(
    "name", ["more.json", "b.txt", "c.csv", "d.jsonl.bz2", "part-00000", "x.zip"]
)
def test_nothing_is_left_out_silently(tmp_path: Path, name: str) -> None:
    place(tmp_path, "a.jsonl", f"deep/{name}")
    failure = refusal(tmp_path)
    assert (failure.code, failure.shard) == ("unknown_format", f"deep/{name}")
    failure = refusal(tmp_path / "deep" / name)
    assert (failure.code, failure.shard) == ("unknown_format", name)


def test_what_is_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no").code == "dataset_missing"
    assert refusal(tmp_path).code == "dataset_empty"
    assert "README" not in refusal(place(tmp_path, "README.md")).message


def test_order_of_paths_does_not_matter_and_nothing_counts_twice(tmp_path: Path) -> None:
    place(tmp_path, "a.jsonl", "b/c.jsonl")
    once = find_shards([tmp_path])
    assert find_shards([tmp_path, tmp_path / "b", tmp_path / "a.jsonl"]) == once
    assert names(tmp_path / "b", tmp_path / "a.jsonl") == names(
        tmp_path / "a.jsonl", tmp_path / "b"
    )


def test_equal_names_keep_their_paths(tmp_path: Path) -> None:
    place(tmp_path, "x/a.jsonl", "y/a.jsonl", "y/b.jsonl")
    x, y = tmp_path / "x", tmp_path / "y"
    assert names(x, y) == sorted([f"{x}/a.jsonl", f"{y}/a.jsonl", "b.jsonl"])


def test_links_that_stay_inside_are_followed_once(tmp_path: Path) -> None:
    place(tmp_path, "a.jsonl", "sub/b.jsonl")
    (tmp_path / "link.jsonl").symlink_to("a.jsonl")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(find_shards([tmp_path])) == 2


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    place(tmp_path, "secret/s.jsonl", "data/a.jsonl")
    link = tmp_path / "data" / "s.jsonl"
    for target in (
        tmp_path / "secret" / "s.jsonl",
        Path("../secret/s.jsonl"),
        Path("/nowhere.jsonl"),
    ):
        link.symlink_to(target)
        failure = refusal(tmp_path / "data")
        assert (failure.code, failure.shard) == ("shard_unreadable", "s.jsonl")
        link.unlink()
    (tmp_path / "data" / "folder").symlink_to(tmp_path / "secret")
    assert refusal(tmp_path / "data").shard == "folder"
    (tmp_path / "data" / "folder").unlink()
    assert names(tmp_path / "data") == ["a.jsonl"]


def test_a_link_that_the_user_names_is_followed(tmp_path: Path) -> None:
    place(tmp_path, "far/a.jsonl")
    (tmp_path / "near").symlink_to(tmp_path / "far")
    assert names(tmp_path / "near") == ["a.jsonl"]


def test_a_pipe_is_no_shard(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert refusal(tmp_path).code == "shard_unreadable"
    assert refusal(tmp_path / "pipe.jsonl").code == "shard_unreadable"
