"""A bucket on a local server that speaks S3, for whatever reads or writes datasets there."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pytest

from submissions import s3

SECRET = "c4nary-secret"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server that speaks S3, with nothing in it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Bucket:
    """A bucket called `data` that is made anew for each test."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.client = s3.client()
        self.client.create_bucket(Bucket="data")

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket="data", Key=key, Body=content)

    def put_texts(self, key: str, *texts: str) -> None:
        content = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
        self.put(key, gzip.compress(content) if key.endswith(".gz") else content)

    def empty(self) -> None:
        listed = self.client.list_objects_v2(Bucket="data").get("Contents", [])
        for entry in listed:
            self.client.delete_object(Bucket="data", Key=entry["Key"])
        self.client.delete_bucket(Bucket="data")


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "c4nary-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr(s3, "PAUSES", (0.0, 0.0))
    s3._client_of_process.cache_clear()
    made = Bucket(endpoint)
    yield made
    monkeypatch.undo()
    s3._client_of_process.cache_clear()
    made.empty()
