"""Datasets in S3 against a local server: listing, fetching, broken connections, refusals."""

from __future__ import annotations

import contextlib
import json
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from submissions import s3
from submissions.check import Report, check_dataset
from submissions.cli import main
from submissions.dataset import find_dataset
from submissions.failures import Failure
from submissions.shard_search import find_shards
from submissions.shards import Shard, read_documents
from tests.s3_bucket import SECRET, Bucket


def names(*uris: str) -> list[str]:
    return [shard.name for shard in find_shards(uris)]


def refusal(*uris: str) -> Failure:
    with pytest.raises(Failure) as caught:
        find_shards(uris)
    assert SECRET not in str(caught.value)
    return caught.value


def content_of(shard: Shard, scratch: Path) -> bytes:
    with shard.fetched(scratch) as local:
        assert (local.name, local.format) == (shard.name, shard.format)
        return local.path.read_bytes()


def test_a_prefix_is_a_folder(bucket: Bucket) -> None:
    shards = ("pool/b.jsonl", "pool/a/z.parquet", "pool/A.JSONL.GZ", "pool2/c.jsonl", "pool.jsonl")
    others = ("pool/README.md", "pool/_SUCCESS", "pool/.tmp/x.jsonl", "pool/.x.jsonl")
    for key in shards + others:
        bucket.put(key, b"x")
    bucket.put("pool/a/", b"")  # what some tools leave for a folder
    expected = ["A.JSONL.GZ", "a/z.parquet", "b.jsonl"]
    assert names("s3://data/pool") == names("s3://data/pool/") == expected
    assert [s.format for s in find_shards(["s3://data/pool"])] == ["jsonl.gz", "parquet", "jsonl"]
    assert "pool/b.jsonl" in names("s3://data")
    assert names("s3://data/pool.jsonl") == ["pool.jsonl"]
    assert names("s3://data/pool", "s3://data/pool/b.jsonl") == expected  # reached twice
    assert names("s3://data/pool/b.jsonl", "s3://data/pool2") == ["b.jsonl", "c.jsonl"]


def test_equal_names_keep_their_address(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("x/a.jsonl", b"1")
    bucket.put("y/a.jsonl", b"2")
    (tmp_path / "a.jsonl").write_text("3")
    found = names("s3://data/x", "s3://data/y", str(tmp_path))
    assert found == [f"{tmp_path}/a.jsonl", "s3://data/x/a.jsonl", "s3://data/y/a.jsonl"]


def test_a_listing_of_several_pages(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PAGE", 3)
    for number in range(10):
        bucket.put(f"many/{number}.jsonl", b"x")
    assert names("s3://data/many") == [f"{number}.jsonl" for number in range(10)]


def test_nothing_is_left_out_silently(bucket: Bucket) -> None:
    bucket.put("odd/deep/notes.txt", b"x")
    failure = refusal("s3://data/odd")
    assert (failure.code, failure.shard) == ("unknown_format", "deep/notes.txt")
    failure = refusal("s3://data/odd/deep/notes.txt")
    assert (failure.code, failure.shard) == ("unknown_format", "notes.txt")
    bucket.put("only/README.md", b"x")
    assert refusal("s3://data/only").code == "dataset_empty"


def test_a_shard_lies_on_disk_while_it_is_read(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put_texts("a.jsonl.gz", "one", "two")
    bucket.put("empty.jsonl", b"")
    shard, empty = find_shards(["s3://data"])
    shard = pickle.loads(pickle.dumps(shard))  # as it travels to a worker
    with shard.fetched(tmp_path / "scratch") as local:
        assert [document.text for document in read_documents(local)] == ["one", "two"]
        assert local.path.is_relative_to(tmp_path / "scratch")
        assert local.bytes == shard.bytes
    assert list((tmp_path / "scratch").iterdir()) == []
    assert content_of(empty, tmp_path) == b""
    with pytest.raises(RuntimeError), shard.fetched(tmp_path / "scratch"):
        raise RuntimeError
    assert list((tmp_path / "scratch").iterdir()) == []


class Cutter:
    """Passes connections on to a server and cuts the first few after so many bytes of answer."""

    def __init__(self, endpoint: str, cuts: list[int]) -> None:
        parts = urlsplit(endpoint)
        self._target = (parts.hostname or "", parts.port or 0)
        self._cuts = cuts
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                server = socket.create_connection(self._target)
                cut = self._cuts.pop(0) if self._cuts else None
                for job in ((client, server, None), (server, client, cut)):
                    threading.Thread(target=self._pump, args=job, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, cut: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if cut is not None:
                    data = data[: cut - passed]
                target.sendall(data)
                passed += len(data)
                if passed == cut:
                    break
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def through(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sends all further requests through a proxy that cuts connections."""
    cutters = []

    def connect(*cuts: int) -> None:
        cutters.append(Cutter(bucket.endpoint, list(cuts)))
        monkeypatch.setenv("AWS_ENDPOINT_URL", cutters[-1].url)
        s3._client_of_process.cache_clear()

    yield connect
    for cutter in cutters:
        cutter.close()


def test_a_broken_connection_goes_on_where_it_broke(
    bucket: Bucket,
    through: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = bytes(range(256)) * 4096
    bucket.put("a.jsonl", content)
    (shard,) = find_shards(["s3://data/a.jsonl"])
    # More cuts than pauses: whoever comes further may try again.
    through(300_000, 300_000, 300_000, 300_000)
    starts = []
    fetch = s3._fetch_from

    def watched(shard: s3.S3Shard, start: int, file: Any) -> None:
        starts.append(start)
        fetch(shard, start, file)

    monkeypatch.setattr(s3, "_fetch_from", watched)
    monkeypatch.setattr(s3, "CHUNK", 2**14)
    assert content_of(shard, tmp_path) == content
    assert len(starts) >= 4
    assert starts == sorted(set(starts))  # never the same bytes again


def test_patience_ends(bucket: Bucket, through: Callable[..., None], tmp_path: Path) -> None:
    bucket.put("a.jsonl", b"x" * 1000)
    (shard,) = find_shards(["s3://data/a.jsonl"])
    through(*[1] * 20)
    with pytest.raises(Failure) as caught:
        content_of(shard, tmp_path)
    assert caught.value.code == "storage_unreachable"
    assert list(tmp_path.iterdir()) == []


def test_what_was_replaced_meanwhile_is_refused(
    bucket: Bucket, through: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("a.jsonl", b"x" * 300_000)
    (shard,) = find_shards(["s3://data/a.jsonl"])
    bucket.put("a.jsonl", b"y" * 300_000)
    with pytest.raises(Failure, match=r"a\.jsonl: the object was replaced") as caught:
        content_of(shard, tmp_path)
    assert caught.value.code == "shard_unreadable"

    (shard,) = find_shards(["s3://data/a.jsonl"])
    direct, fetch = s3.client(), s3._fetch_from
    through(100_000)

    def replaced(shard: s3.S3Shard, start: int, file: Any) -> None:
        if start:  # the connection broke, and now the rest would be of another object
            direct.put_object(Bucket="data", Key="a.jsonl", Body=b"z" * 300_000)
        fetch(shard, start, file)

    monkeypatch.setattr(s3, "_fetch_from", replaced)
    monkeypatch.setattr(s3, "CHUNK", 2**14)
    with pytest.raises(Failure, match="the object was replaced"):
        content_of(shard, tmp_path)


def test_a_server_that_heeds_no_condition_is_found_out(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("a.jsonl", b"x" * 100)
    (shard,) = find_shards(["s3://data/a.jsonl"])
    client = s3.client()
    plain = client.get_object

    def heedless(**asked: Any) -> Any:
        return plain(Bucket=asked["Bucket"], Key=asked["Key"])

    monkeypatch.setattr(client, "get_object", heedless)
    assert content_of(shard, tmp_path) == b"x" * 100
    for content in (b"y" * 100, b"x" * 99):
        bucket.put("a.jsonl", content)
        with pytest.raises(Failure, match="the object was replaced"):
            content_of(shard, tmp_path)


def test_what_is_gone_is_said(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("a.jsonl", b"x")
    (shard,) = find_shards(["s3://data/a.jsonl"])
    bucket.client.delete_object(Bucket="data", Key="a.jsonl")
    with pytest.raises(Failure) as caught:
        content_of(shard, tmp_path)
    assert (caught.value.code, caught.value.shard) == ("dataset_missing", "a.jsonl")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://nobody-has-this/x", "s3://nobody-has-this/x: there is no such bucket"),
        ("s3://data/absent", "there is no object at s3://data/absent"),
        ("s3://", "s3:// names no bucket"),
        ("s3:///x", "s3:///x names no bucket"),
        ("s3://UPPER CASE/x", "s3://UPPER CASE/x is no address in S3"),
    ],
)
def test_addresses_that_lead_nowhere(bucket: Bucket, uri: str, said: str) -> None:
    failure = refusal(uri)
    assert (failure.code, failure.message) == ("dataset_missing", said)


@pytest.mark.parametrize(
    ("code", "status", "expected", "said"),
    [
        ("AccessDenied", 403, "dataset_missing", "s3://data/x: access denied"),
        ("SignatureDoesNotMatch", 403, "dataset_missing", "does not accept the credentials"),
        ("SlowDown", 503, "storage_unreachable", "S3 answers SlowDown"),
        ("InternalError", 500, "storage_unreachable", "S3 answers InternalError"),
        ("PermanentRedirect", 301, "dataset_missing", "another region"),
        ("Odd", 400, "dataset_missing", "S3 answers Odd"),
    ],
)
def test_what_a_server_refuses(
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    status: int,
    expected: str,
    said: str,
) -> None:
    from botocore.exceptions import ClientError

    def refuse(**asked: Any) -> Any:
        answer = {"Error": {"Code": code, "Message": f"key {SECRET} is wrong"},
                  "ResponseMetadata": {"HTTPStatusCode": status}}  # fmt: skip
        raise ClientError(answer, "ListObjectsV2")

    monkeypatch.setattr(s3.client(), "list_objects_v2", refuse)
    failure = refusal("s3://data/x")
    assert failure.code == expected
    assert said in failure.message


def test_without_credentials(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3._client_of_process.cache_clear()
    failure = refusal("s3://data/x")
    assert failure.code == "dataset_missing"
    assert "no credentials were found for s3://data/x" in failure.message


@pytest.mark.parametrize("url", ["http://user:c4nary-secret@127.0.0.1:9", "nonsense"])
def test_a_server_that_is_not_there(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: Any, url: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    s3._client_of_process.cache_clear()
    assert refusal("s3://data/x").code == "storage_unreachable"
    command = ["check", "s3://data/x", "--track", "mixing", "--scale", "smoke", "--json"]
    assert main(command) == 3
    printed = capsys.readouterr()
    assert json.loads(printed.out)["error"]["code"] == "storage_unreachable"
    assert SECRET not in printed.out + printed.err


def check(*paths: str) -> Report:
    return check_dataset(
        paths, track="mixing", scale="smoke", tokens_needed=1, bytes_per_token=4.0, max_epochs=4,
        multiple=10**6,
    )  # fmt: skip


def test_the_check_is_the_same_as_of_files(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    here = tmp_path / "here"
    here.mkdir()
    for name, text in (("a.jsonl", "some text"), ("b.jsonl", "more")):
        bucket.put_texts(f"pool/{name}", text)
        (here / name).write_text(json.dumps({"text": text}) + "\n")
    report = check("s3://data/pool")
    assert report.ok
    assert report.as_dict() == check(str(here)).as_dict()
    bucket.put("pool/a.jsonl", b"not JSON\n")
    (problem,) = check("s3://data/pool").problems
    assert (problem.code, problem.shard, problem.line) == ("not_json", "a.jsonl", 1)
    assert list(scratch.iterdir()) == []


def test_a_mixture_of_the_users_own_reaches_into_s3(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put_texts("web/a.jsonl", "far")
    (tmp_path / "a.jsonl").write_text('{"text": "near"}\n')
    sources = [{"name": "web", "weight": 0.5, "shards": ["s3://data/web/"]},
               {"name": "own", "weight": 0.5, "shards": ["a.jsonl"]}]  # fmt: skip
    path = tmp_path / "mixture.json"
    path.write_text(json.dumps({"sources": sources}))
    dataset = find_dataset([path])
    assert {s.name: [shard.address for shard in s.shards] for s in dataset.sources} == {
        "own": [str(tmp_path / "a.jsonl")], "web": ["s3://data/web/a.jsonl"],
    }  # fmt: skip
    assert check(str(path)).documents == 2
    sources[0]["shards"] = ["s3://data/absent/"]
    path.write_text(json.dumps({"sources": sources}))
    with pytest.raises(Failure, match="there is no object at s3://data/absent/"):
        find_dataset([path])


def test_the_rows_are_the_same_as_of_files(bucket: Bucket, tmp_path: Path) -> None:
    """Fetched by processes that have their credentials from the environment."""
    from submissions.executor import LocalProcesses
    from training_recipes.scales import load_scale
    from training_recipes.tokenize import tokenize_dataset

    for name in ("one.jsonl", "two.jsonl"):
        bucket.put_texts(f"pool/{name}", *[f"the {name} of a pool, line {n}" for n in range(900)])
        content = bucket.client.get_object(Bucket="data", Key=f"pool/{name}")["Body"].read()
        (tmp_path / "pool").mkdir(exist_ok=True)
        (tmp_path / "pool" / name).write_bytes(content)
    scale = load_scale("smoke")
    here = tokenize_dataset([tmp_path / "pool"], tmp_path / "here", scale)
    there = tokenize_dataset(
        ["s3://data/pool/"], tmp_path / "there", scale, placement=LocalProcesses(2)
    )
    assert there.sequences > 50
    assert there == here
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
