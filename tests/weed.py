"""A store that speaks S3 and enforces what it says: SeaweedFS, from a wheel, started for a module.

It checks signatures, rights of keys, versions and If-Match, which simpler servers do not.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

OWNER = ("owner-key", "canary-owner-secret")
READER = ("reader-key", "canary-reader-secret")
LISTER = ("lister-key", "canary-lister-secret")
BUCKET = "data"


def client(endpoint: str, key: tuple[str, str]) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 1}
    )
    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=key[0], aws_secret_access_key=key[1],
        region_name="us-east-1", config=config,
    )  # fmt: skip


class Weed:
    """A running server with an empty bucket `data`; `owner` may write to it."""

    def __init__(self, folder: Path, volumes: int = 60) -> None:
        folder.mkdir(exist_ok=True)
        identities = [
            {"name": name, "credentials": [{"accessKey": pair[0], "secretKey": pair[1]}],
             "actions": actions}
            for name, pair, actions in (
                ("owner", OWNER, ["Admin", "Read", "Write", "List", "Tagging"]),
                ("reader", READER, [f"Read:{BUCKET}", f"List:{BUCKET}"]),
                ("lister", LISTER, [f"List:{BUCKET}"]),
            )
        ]  # fmt: skip
        (folder / "identities.json").write_text(json.dumps({"identities": identities}))
        ports = free_ports(8)
        names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
                 "filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc")  # fmt: skip
        self.endpoint = f"http://127.0.0.1:{ports[6]}"
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [str(Path(sys.executable).parent / "weed"), "server", f"-dir={folder}",
             "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-s3.iam=false", "-s3.localSocket=",
             f"-s3.config={folder / 'identities.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0",
             f"-volume.max={volumes}", "-master.volumeSizeLimitMB=64", "-master.telemetry=false",
             *(f"-{name}={port}" for name, port in zip(names, ports, strict=True))],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, cwd=folder,
        )  # fmt: skip
        self.owner = client(self.endpoint, OWNER)
        self._until(lambda: self.owner.create_bucket(Bucket=BUCKET))
        self._until(lambda: self.put("ready", b"ready"))
        self.owner.delete_object(Bucket=BUCKET, Key="ready")

    def put(self, key: str, content: bytes) -> Any:
        return self.owner.put_object(Bucket=BUCKET, Key=key, Body=content)

    def put_texts(self, key: str, *texts: str) -> bytes:
        content = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
        self.put(key, content)
        return content

    def _until(self, action: Any) -> None:
        end = time.monotonic() + 60
        while True:
            try:
                action()
            except Exception:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()


def free_ports(count: int) -> list[int]:
    """Below 40000, so that no port plus 10,000 leaves the range and none is given out meanwhile."""
    found: list[int] = []
    for port in range(21000 + time.time_ns() // 1000 % 9000, 40000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            break
    return found


@pytest.fixture(scope="module")
def weed() -> Iterator[Weed]:
    folder = Path(tempfile.mkdtemp(prefix="weed-"))
    server = Weed(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)
