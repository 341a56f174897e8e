"""Manifests: what they may say, and how they are made, resumed and submitted."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from submissions import manifest_make, s3
from submissions.cli import main
from submissions.failures import Failure
from submissions.manifest import MANIFEST, MAX_BYTES, MAX_LINE, MAX_SHARDS, read_manifest
from submissions.manifest_make import make_manifest
from tests.weed import BUCKET, LISTER, READER

HEAD = {"crucible_manifest": 1, "base": "s3://data/p/", "endpoint": "https://store.example"}
SHA256 = "ab" * 32


def write(path: Path, lines: list[dict], **head: object) -> Path:
    totals = {"shards": len(lines), "bytes": sum(line.get("size", 0) for line in lines)}
    rows = [HEAD | totals | head, *lines]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def shard(name: str = "a.jsonl", **fields: object) -> dict:
    return {"name": name, "size": 3, "sha256": SHA256} | fields


@pytest.mark.parametrize(
    ("lines", "head", "words"),
    [
        ([shard("../a.jsonl")], {}, "must be a path below"),
        ([shard("b/../../a.jsonl")], {}, "must be a path below"),
        ([shard("/etc/a.jsonl")], {}, "must be a path below"),
        ([shard("b//a.jsonl")], {}, "must be a path below"),
        ([shard(".hidden/a.jsonl")], {}, "must be a path below"),
        ([shard("a\nb.jsonl")], {}, "must be a path below"),
        ([shard("..\\a.jsonl")], {}, "must be a path below"),
        ([shard("x" * 2000 + ".jsonl")], {}, "must be a path below"),
        ([shard(), shard()], {}, "line 3 names a.jsonl a second time"),
        ([shard("a.exe")], {}, "no ending of a known format"),
        ([shard(size=0)], {}, "the file is empty"),
        ([shard(size=-1)], {"bytes": 0}, "line 2: size must be at least 0"),
        ([shard(sha256="AB" * 32)], {}, "line 2: sha256 must be 64 digits"),
        ([shard(script="x")], {}, 'the unknown key "script"'),
        ([shard()], {"shards": 2}, "the file is not whole"),
        ([shard()], {"bytes": 4}, "the file is not whole"),
        ([shard()], {"shards": 0}, "names 1 to"),
        ([shard()], {"shards": MAX_SHARDS + 1}, "names 1 to"),
        ([shard()], {"crucible_manifest": 2}, "manifests of version 1"),
        ([shard()], {"base": "https://data/p/"}, "s3://bucket/prefix/ or"),
        ([shard()], {"base": "s3://data/../other/"}, "plain address"),
        ([shard()], {"base": "file:///data/"}, 'an "endpoint" belongs to s3://'),
        ([shard()], {"endpoint": "https://user:pw@store.example"}, "address of a server"),
        ([shard()], {"endpoint": "https://STORE.example/path"}, "address of a server"),
        ([shard(url="https://store.example/a"), shard("b.jsonl")], {}, "b.jsonl has no url"),
    ],
)  # fmt: skip
def test_what_a_manifest_may_not_say(tmp_path, lines, head, words):
    with pytest.raises(Failure, match=r".") as raised:
        read_manifest(write(tmp_path / MANIFEST, lines, **head))
    assert words in str(raised.value)
    assert raised.value.fault == "participant"


def test_a_huge_manifest_is_refused_in_bounded_memory(tmp_path):
    path = write(tmp_path / MANIFEST, [shard()], shards=MAX_SHARDS)
    with path.open("ab") as file:
        file.truncate(MAX_LINE * 4)  # a line of NULs without an end
    with pytest.raises(Failure, match="longer than"):
        read_manifest(path)
    line = json.dumps(shard()).encode().ljust(MAX_LINE - 1) + b"\n"
    with path.open("wb") as file:
        file.write(json.dumps(HEAD | {"shards": MAX_SHARDS, "bytes": 1}).encode() + b"\n")
        for number in range(MAX_BYTES // MAX_LINE + 1):
            file.write(line.replace(b'"a.jsonl"', b'"%07d.jsonl"' % number)[: MAX_LINE - 1] + b"\n")
    with pytest.raises(Failure, match="larger than 64 MiB"):
        read_manifest(path)
    for junk in (b"", b"\n", b"[" * 20000, b"\xff\xfe\n", b"{}\n"):
        path.write_bytes(junk)
        with pytest.raises(Failure) as raised:
            read_manifest(path)
        assert raised.value.code == "manifest_invalid"


@pytest.fixture
def aws(weed, monkeypatch):
    """The user's own AWS settings: a store and a key."""

    def use(key: tuple[str, str]) -> None:
        for name, value in {
            "AWS_ENDPOINT_URL": weed.endpoint, "AWS_ACCESS_KEY_ID": key[0],
            "AWS_SECRET_ACCESS_KEY": key[1], "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        s3._client_of_process.cache_clear()

    monkeypatch.setattr(s3, "PAUSES", (0.0,))
    use(READER)
    yield use
    monkeypatch.undo()
    s3._client_of_process.cache_clear()


def test_a_manifest_of_a_bucket_and_of_the_same_folder(weed, aws, tmp_path, capsys):
    contents = {name: weed.put_texts(f"m/{name}", name) for name in ("b.jsonl", "a/c.jsonl")}
    for name, content in contents.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    output = tmp_path / MANIFEST
    assert main(["manifest", f"s3://{BUCKET}/m", "--output", str(output), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    made = read_manifest(output)
    assert document["manifest_sha256"] == made.sha256
    assert (made.head.base, made.head.endpoint) == (f"s3://{BUCKET}/m/", weed.endpoint)
    assert [(e.name, e.size, e.sha256) for e in made.entries] == [
        (name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in sorted(contents.items())
    ]
    assert all(entry.etag for entry in made.entries)
    (tmp_path / "folder" / "mixture.json").write_text("{}")
    make_manifest(str(tmp_path / "folder"), tmp_path / "2.jsonl")
    assert read_manifest(tmp_path / "2.jsonl").sha256 == made.sha256
    assert main(["check", str(tmp_path / "folder"), "--track", "filtering", "--scale", "smoke"])


def test_presigned_addresses_are_in_the_manifest(weed, aws, tmp_path):
    weed.put_texts("s/a.jsonl", "a")
    _, entries = make_manifest(f"s3://{BUCKET}/s", tmp_path / MANIFEST, presign_hours=1)
    assert entries[0].url.startswith(f"{weed.endpoint}/{BUCKET}/s/a.jsonl?")
    assert "X-Amz-Expires=3600" in entries[0].url
    assert entries[0].url not in repr(read_manifest(tmp_path / MANIFEST))


def test_a_bucket_that_lists_and_does_not_read(weed, aws, tmp_path):
    weed.put_texts("l/a.jsonl", "a")
    aws(LISTER)
    with pytest.raises(Failure) as raised:
        make_manifest(f"s3://{BUCKET}/l", tmp_path / MANIFEST)
    assert raised.value.code == "dataset_missing"
    assert raised.value.shard == "a.jsonl"
    assert "access denied" in raised.value.message


def test_a_run_that_was_stopped_reads_the_rest(weed, aws, tmp_path, monkeypatch):
    for number in range(4):
        weed.put_texts(f"r/{number}.jsonl", f"text {number}")
    output, read = tmp_path / MANIFEST, []
    real = manifest_make._entry

    def counted(shard):
        if len(read) == 2:
            raise Failure("storage_unreachable", "gone")
        read.append(shard.name)
        return real(shard)

    monkeypatch.setattr(manifest_make, "WORKERS", 1)
    monkeypatch.setattr(manifest_make, "_entry", counted)
    with pytest.raises(Failure):
        make_manifest(f"s3://{BUCKET}/r", output)
    assert not output.exists()
    weed.put_texts("r/1.jsonl", "replaced meanwhile")
    first, read[:] = list(read), []
    with (tmp_path / f".{MANIFEST}.partial").open("ab") as file:
        file.write(b'{"stamp": "cut o')  # as a kill leaves it
    monkeypatch.setattr(
        manifest_make, "_entry", lambda shard: read.append(shard.name) or real(shard)
    )
    make_manifest(f"s3://{BUCKET}/r", output)
    assert first == ["0.jsonl", "1.jsonl"]
    assert sorted(read) == ["1.jsonl", "2.jsonl", "3.jsonl"]
    assert list(tmp_path.glob(".*")) == []
    whole = tmp_path / "whole.jsonl"
    make_manifest(f"s3://{BUCKET}/r", whole)
    assert whole.read_bytes() == output.read_bytes()
