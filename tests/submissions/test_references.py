"""Shards that stay in a store: read through the fetcher, verified on their way, never kept."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from submissions import stores
from submissions.dataset import find_dataset
from submissions.failures import FAILURES, Failure
from submissions.fetcher import SOCKET, fetched_chunks
from submissions.manifest import (
    MANIFEST,
    ManifestEntry,
    ManifestHead,
    read_manifest,
    write_manifest,
)
from submissions.references import ACCESS, FETCHER
from submissions.shards import read_documents
from submissions.store_access import StoreAccess, StoreCredentials, write_access
from tests.weed import BUCKET, LISTER, READER, client

LOCAL = ("127.0.0.0/8",)
ROOT = Path(__file__).resolve().parents[2]


def entry_of(name: str, content: bytes, **fields: str) -> ManifestEntry:
    sha256 = hashlib.sha256(content).hexdigest()
    return ManifestEntry(name=name, size=len(content), sha256=sha256, **fields)


def manifest_in(folder: Path, endpoint: str, *entries: ManifestEntry, prefix: str = "p/") -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    head = ManifestHead(
        crucible_manifest=1, base=f"s3://{BUCKET}/{prefix}", endpoint=endpoint,
        shards=len(entries), bytes=sum(entry.size for entry in entries),
    )  # fmt: skip
    write_manifest(folder / MANIFEST, head, entries)
    return folder / MANIFEST


def access_of(endpoint: str, key: tuple[str, str] | None = READER, networks=LOCAL) -> StoreAccess:
    pair = key and StoreCredentials(access_key_id=key[0], secret_access_key=key[1])
    return StoreAccess(endpoints=(endpoint,), networks=networks, credentials=pair)


@pytest.fixture
def direct(tmp_path, monkeypatch):
    """Reading in this process, as on a cluster."""
    monkeypatch.setattr(stores, "PAUSES", (0.0, 0.01))

    def use(access: StoreAccess) -> None:
        write_access(tmp_path / "access" / "1.json", access)
        monkeypatch.setenv(ACCESS, str(tmp_path / "access" / "1.json"))

    return use


def texts_of(manifest: Path, scratch: Path) -> list[str]:
    found = []
    for shard in find_dataset([manifest]).shards:
        with shard.streamed(scratch) as opened:
            found += [document.text for document in read_documents(opened)]
    return found


def failure_of(manifest: Path, scratch: Path) -> Failure:
    with pytest.raises(Failure) as raised:
        texts_of(manifest, scratch)
    return raised.value


def line(*texts: str) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def test_every_format_is_read_and_nothing_stays(weed, tmp_path, direct):
    import pyarrow as pa
    import pyarrow.parquet as pq
    import zstandard

    pq.write_table(pa.table({"text": ["four"]}), tmp_path / "d.parquet")
    contents = {
        "a.jsonl": line("one"),
        "b c/ä.jsonl.gz": gzip.compress(line("two")),
        "c.jsonl.zst": zstandard.compress(line("three")),
        "d.parquet": (tmp_path / "d.parquet").read_bytes(),
    }
    for name, content in contents.items():
        weed.put(f"p/{name}", content)
    entries = [entry_of(name, content) for name, content in contents.items()]
    manifest = manifest_in(tmp_path / "m", weed.endpoint, *entries)
    direct(access_of(weed.endpoint))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert texts_of(manifest, scratch) == ["one", "two", "three", "four"]
    assert list(scratch.iterdir()) == []
    dataset = find_dataset([manifest])
    for name, content in contents.items():
        (tmp_path / "upload").mkdir(exist_ok=True)
        (tmp_path / "upload" / name.replace("/", "-")).write_bytes(content)
    uploaded = find_dataset([tmp_path / "upload"])
    hashes = {shard.name: shard.entry.sha256 for shard in dataset.shards}
    assert dataset.sha256(hashes) == uploaded.sha256(
        {s.name: hashlib.sha256(s.path.read_bytes()).hexdigest() for s in uploaded.shards}
    )
    assert read_manifest(manifest).sha256 == dataset.sha256(hashes)


def test_what_is_not_the_promised_object_is_named(weed, tmp_path, direct):
    direct(access_of(weed.endpoint))
    was, now = line("before"), line("after!")
    assert len(was) == len(now)
    weed.put("p/x.jsonl", now)
    manifest = manifest_in(tmp_path / "m", weed.endpoint, entry_of("x.jsonl", was))
    for content in (now, b"not json" + now[8:], now + now):  # the same, broken, of another size
        weed.put("p/x.jsonl", content)
        failure = failure_of(manifest, tmp_path)
        assert (failure.code, failure.shard) == ("shard_unreadable", "x.jsonl"), failure
        assert failure.fault == "participant"
    etag = weed.put("p/x.jsonl", was)["ETag"].strip('"')
    manifest = manifest_in(tmp_path / "m", weed.endpoint, entry_of("x.jsonl", was, etag=etag))
    assert texts_of(manifest, tmp_path) == ["before"]
    weed.put("p/x.jsonl", now)
    assert failure_of(manifest, tmp_path).code == "shard_unreadable"  # by If-Match
    weed.owner.delete_object(Bucket=BUCKET, Key="p/x.jsonl")
    failure = failure_of(manifest, tmp_path)
    assert (failure.code, failure.shard) == ("dataset_missing", "x.jsonl")
    assert "no such object" in failure.message


def test_a_version_stays_what_it_was(weed, tmp_path, direct):
    direct(access_of(weed.endpoint))
    weed.owner.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    first = weed.put("p/v.jsonl", line("first"))["VersionId"]
    weed.put("p/v.jsonl", line("second"))
    entry = entry_of("v.jsonl", line("first"), version_id=first)
    assert texts_of(manifest_in(tmp_path / "m", weed.endpoint, entry), tmp_path) == ["first"]


def test_who_may_not_read_is_told_so(weed, tmp_path, direct):
    weed.put("p/k.jsonl", line("k"))
    manifest = manifest_in(tmp_path / "m", weed.endpoint, entry_of("k.jsonl", line("k")))
    for key, words in [
        (LISTER, "lists this object and does not let it be read"),
        ((READER[0], "wrong"), "does not accept the store key"),
        (("unknown", "wrong"), "does not accept the store key"),
        (None, "does not let it be read"),
    ]:
        direct(access_of(weed.endpoint, key))
        failure = failure_of(manifest, tmp_path)
        assert (failure.code, failure.shard) == ("dataset_missing", "k.jsonl"), key
        assert words in failure.message, key


def test_presigned_addresses_need_no_key(weed, tmp_path, direct):
    weed.put("p/s.jsonl", line("signed"))
    reader = client(weed.endpoint, READER)

    def manifest(seconds: int, **fields: str) -> Path:
        url = reader.generate_presigned_url(
            "get_object", Params={"Bucket": BUCKET, "Key": "p/s.jsonl"}, ExpiresIn=seconds
        )
        entry = entry_of("s.jsonl", line("signed"), url=fields.get("url") or url)
        return manifest_in(tmp_path / "m", weed.endpoint, entry)

    direct(access_of(weed.endpoint, None))
    assert texts_of(manifest(60), tmp_path) == ["signed"]
    late = manifest(1)
    time.sleep(2.1)
    failure = failure_of(late, tmp_path)
    assert failure.code == "dataset_missing"
    assert "presigned url is not valid now" in failure.message
    elsewhere = manifest(60, url="http://127.0.0.1:1/data/s.jsonl?X-Amz-Signature=c4nary")
    failure = failure_of(elsewhere, tmp_path)
    assert failure.code == "store_refused"
    assert "c4nary" not in str(failure)


def test_clocks_that_differ_are_nobodys_data(weed, tmp_path, direct, monkeypatch):
    import datetime

    from botocore import auth

    weed.put("p/t.jsonl", line("t"))
    manifest = manifest_in(tmp_path / "m", weed.endpoint, entry_of("t.jsonl", line("t")))
    direct(access_of(weed.endpoint))
    real, ahead = time.time, 3600
    monkeypatch.setattr("submissions.store_http.time.time", lambda: real() + ahead)
    late = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=ahead)
    monkeypatch.setattr(auth, "get_current_datetime", lambda remove_tzinfo=True: late)
    failure = failure_of(manifest, tmp_path)
    assert failure.code == "storage_unreachable"
    assert "60 minutes apart" in failure.message


def test_only_allowed_endpoints_and_networks_are_reached(weed, tmp_path, direct):
    weed.put("p/n.jsonl", line("n"))
    manifest = manifest_in(tmp_path / "m", weed.endpoint, entry_of("n.jsonl", line("n")))
    direct(access_of(weed.endpoint, networks=()))
    failure = failure_of(manifest, tmp_path)
    assert (failure.code, failure.fault) == ("store_refused", "participant")
    assert "not public" in failure.message
    direct(access_of("http://127.0.0.1:1"))
    assert "does not read from" in failure_of(manifest, tmp_path).message


class Moody(http.server.BaseHTTPRequestHandler):
    """Breaks off after 1,000 bytes of each answer, or does what the test says."""

    content = b""
    answer = 200
    asked: list[str | None] = []

    def do_GET(self):
        self.asked.append(self.headers.get("Range"))
        if self.answer != 200:
            self.send_response(self.answer)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        self.wfile.write(self.content[start : start + 1000])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def moody(content: bytes, answer: int = 200):
    class Handler(Moody):
        pass

    Handler.content, Handler.answer, Handler.asked = content, answer, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", Handler
    server.shutdown()
    server.server_close()


def test_a_broken_connection_is_continued(tmp_path, direct):
    content = line(*(f"document {n}" for n in range(150)))
    with moody(content) as (endpoint, handler):
        direct(access_of(endpoint))
        manifest = manifest_in(tmp_path / "m", endpoint, entry_of("a.jsonl", content))
        assert len(texts_of(manifest, tmp_path)) == 150
    assert handler.asked[:3] == [None, "bytes=1000-", "bytes=2000-"]


def test_redirects_are_not_followed_and_an_outage_is_the_platforms(tmp_path, direct):
    content = line("a")
    for answer, code, fault in [
        (302, "dataset_missing", "participant"),
        (503, "storage_unreachable", "infrastructure"),
    ]:
        with moody(content, answer) as (endpoint, _):
            direct(access_of(endpoint))
            manifest = manifest_in(tmp_path / "m", endpoint, entry_of("a.jsonl", content))
            failure = failure_of(manifest, tmp_path)
            assert (failure.code, failure.fault, failure.shard) == (code, fault, "a.jsonl")
    direct(access_of(endpoint))  # nobody listens any more
    failure = failure_of(manifest, tmp_path)
    assert (failure.code, FAILURES[failure.code].fault) == ("storage_unreachable", "infrastructure")


def test_a_folder_is_read_without_following_links(tmp_path, direct):
    data, other = tmp_path / "pool" / "data", tmp_path / "secret.jsonl"
    (data / "sub").mkdir(parents=True)
    (data / "sub" / "a.jsonl").write_bytes(line("a"))
    other.write_bytes(line("s"))
    (data / "link.jsonl").symlink_to(other)
    (data / "away").symlink_to(tmp_path)

    def manifest(folder: Path, *names: str) -> Path:
        entries = [entry_of(name, line("a")) for name in names]
        head = ManifestHead(
            crucible_manifest=1, base=f"{folder.as_uri()}/", shards=len(entries),
            bytes=sum(entry.size for entry in entries),
        )  # fmt: skip
        (tmp_path / "m").mkdir(exist_ok=True)
        write_manifest(tmp_path / "m" / MANIFEST, head, entries)
        return tmp_path / "m" / MANIFEST

    direct(StoreAccess(folders=(str(tmp_path / "pool"),)))
    assert texts_of(manifest(data, "sub/a.jsonl"), tmp_path) == ["a"]
    for name in ("link.jsonl", "away/secret.jsonl", "gone.jsonl"):
        failure = failure_of(manifest(data, name), tmp_path)
        assert (failure.code, failure.shard) == ("dataset_missing", name)
    (tmp_path / "pool" / "out").symlink_to(tmp_path)
    for folder in (tmp_path, tmp_path / "pool" / "out", tmp_path / "pool-too"):
        failure = failure_of(manifest(folder, "secret.jsonl"), tmp_path)
        assert failure.code == "store_refused"


@contextmanager
def fetcher(manifest: Path, access: StoreAccess, folder: Path):
    """The process itself, as the warden starts it: its only secret is in the file."""
    write_access(folder / "access" / "1.json", access)
    at = folder / ("long-" * 20) / SOCKET
    at.parent.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "submissions.fetcher", str(manifest),
         str(folder / "access" / "1.json"), str(at)], cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    while not at.exists():
        assert process.poll() is None
        time.sleep(0.02)
    yield at
    process.kill()
    process.wait()


def test_the_fetcher_gives_only_what_the_manifest_names(
    weed,
    tmp_path,
    monkeypatch,
):
    weed.put("p/f.jsonl", line("f"))
    weed.put("p/private.jsonl", line("private"))
    manifest = manifest_in(tmp_path / "m", weed.endpoint, entry_of("f.jsonl", line("f")))
    with fetcher(manifest, access_of(weed.endpoint), tmp_path) as at:
        assert (tmp_path / "access" / "1.json").stat().st_mode & 0o777 == 0o600
        monkeypatch.setenv(FETCHER, str(at))
        assert texts_of(manifest, tmp_path) == ["f"]
        with pytest.raises(Failure) as raised:
            list(fetched_chunks(at, entry_of("private.jsonl", line("private"))))
        assert raised.value.code == "store_refused"
        with fetcher(manifest, access_of(weed.endpoint, LISTER), tmp_path / "m") as other:
            monkeypatch.setenv(FETCHER, str(other))
            assert failure_of(manifest, tmp_path).shard == "f.jsonl"
    monkeypatch.setenv(FETCHER, str(at))
    assert failure_of(manifest, tmp_path).code == "storage_unreachable"  # it has gone
