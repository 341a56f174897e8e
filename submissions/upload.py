"""Uploads a dataset: shard by shard, under flat names, continuing an upload that broke off."""

from __future__ import annotations

import functools
import json
import re
import tempfile
from pathlib import Path

from submissions.client import Client
from submissions.dataset import Dataset
from submissions.failures import Failure
from submissions.hashing import file_sha256
from submissions.mixture import MAX_BYTES, MIXTURE
from submissions.progress import Progress, no_progress
from submissions.shards import LocalShard, Shard


def upload_dataset(
    client: Client,
    dataset: Dataset,
    scale: str,
    upload: str | None = None,
    progress: Progress = no_progress,
) -> str:
    """Uploads a dataset and returns the upload's id; continues `upload` if given.

    Before anything is sent the server refuses a scale at which it would not accept a submission of
    this size.
    A mixture goes along as a mixture.json that names every shard as it is called there. A shard
    that is there already with the same hash is not sent again; one in S3 is fetched first, one
    after the other. A failure names the `--upload` with which to continue.
    """
    shards = _named_shards(dataset)
    with tempfile.TemporaryDirectory(prefix="crucible-submit-") as folder:
        scratch = Path(folder)
        if dataset.weighted:
            path = scratch / MIXTURE
            path.write_bytes(_flat_mixture(dataset, shards))
            shards[MIXTURE] = LocalShard(MIXTURE, "json", path)
        size = sum(shard.bytes for shard in shards.values())
        there = client.upload(upload) if upload else client.create_upload(scale, size)
        number = str(there["id"])
        hashes = {shard["name"]: shard["sha256"] for shard in there["shards"]}
        if foreign := sorted(hashes.keys() - shards.keys()):
            said = f"upload {number} holds {foreign[0]}, not in this dataset: start a new upload"
            raise Failure("refused", said)
        try:
            _send(client, number, shards, hashes, scratch, progress)
        except OSError as error:
            raise Failure("shard_unreadable", f"{error.filename}: {error.strerror}") from None
        except Failure as failure:
            failure.next_step += f" Continue the upload with `--upload {number}`."
            raise
    return number


def flat_name(name: str) -> str:
    """A shard's name as one plain file name: "a/b c.jsonl" becomes "a-b-c.jsonl"."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip("-.")


def _send(
    client: Client,
    upload: str,
    shards: dict[str, Shard],
    hashes: dict[str, str],
    scratch: Path,
    progress: Progress,
) -> None:
    """Sends every shard that is not there yet; `hashes` are of those that are."""
    total, done = sum(shard.bytes for shard in shards.values()), 0
    for name, shard in shards.items():
        with shard.fetched(scratch) as local:
            sha256 = file_sha256(local.path)
            if hashes.get(name) != sha256:
                tell = functools.partial(_tell, progress, done, total, name)
                client.put_shard(upload, name, local.path, sha256, tell)
        done += shard.bytes
        progress(done, total, "B", name)


def _tell(progress: Progress, before: int, total: int, name: str, read: int) -> None:
    progress(before + read, total, "B", name)


def _named_shards(dataset: Dataset) -> dict[str, Shard]:
    """The shards by the names under which they are uploaded."""
    named: dict[str, Shard] = {}
    for shard in dataset.shards:
        name = flat_name(shard.name)
        if name in named:
            said = f"{name} is also the upload's name of {named[name].name}: rename one of them"
            raise Failure("refused", said, shard=shard.name)
        if shard.bytes == 0:
            raise Failure("shard_empty", "the file is empty", shard=shard.name)
        named[name] = shard
    return named


def _flat_mixture(dataset: Dataset, named: dict[str, Shard]) -> bytes:
    """The mixture with the shards' uploaded names in place of patterns; the same hash."""
    flat = {shard.name: name for name, shard in named.items()}
    sources = [
        {
            "name": source.name,
            "weight": source.weight,
            "shards": [flat[shard.name] for shard in source.shards],
        }
        for source in dataset.sources
    ]
    content = json.dumps({"sources": sources}, indent=1).encode()
    if len(content) > MAX_BYTES:
        said = "the mixture with the names of all its shards is larger than 1 MiB: join some shards"
        raise Failure("mixture_invalid", said)
    return content
