"""A large dataset by reference: SeaweedFS, a manifest, then validate and tokenize as jobs.

`python -m benchmarks.by_reference --gigabytes 20 --json FILE` needs twice that on the disk of
TMPDIR, for the store and for the tokens. It prints for each job its time, the highest memory of all
its processes, the bytes of its folder, and whether its dataset hash is the manifest's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from submissions import s3
from submissions.fetcher import SOCKET
from submissions.job import RESULT, write_json_atomically
from submissions.limits import Limits, memory_of, session_members, size_of
from submissions.manifest import MANIFEST, read_manifest
from submissions.manifest_make import make_manifest
from submissions.references import FETCHER
from submissions.store_access import StoreAccess, StoreCredentials, write_access
from submissions.warden import SCRATCH, WARDEN, Watch
from tests.weed import BUCKET, OWNER, READER, Weed
from training_recipes.scales import load_scale

SHARD = 64 * 10**6  # bytes
LINES = 2_000  # different documents, of which each shard is made in an order of its own
SCALE = "smoke"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="by-reference-"))
    weed = Weed(folder / "store", volumes=int(arguments.gigabytes * 20) + 60)
    try:
        report = run(folder, weed, int(arguments.gigabytes * 1e9))
    finally:
        weed.stop()
        shutil.rmtree(folder, ignore_errors=True)
    text = json.dumps(report, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text)
    return 0 if all(job["same_hash"] for job in report["jobs"].values()) else 1


def run(folder: Path, weed: Weed, size: int) -> dict[str, Any]:
    """Fills the store, makes the manifest, runs both jobs."""
    draw = random.Random(0)
    words = ["".join(draw.choices("aeioubcdlmnrst", k=draw.randint(2, 8))) for _ in range(5_000)]
    lines = [
        json.dumps({"text": " ".join(draw.choices(words, k=400))}).encode() + b"\n"
        for _ in range(LINES)
    ]
    each = sum(map(len, lines))
    for number in range(max(size // SHARD, 1)):
        draw.shuffle(lines)
        weed.put(f"big/{number:06d}.jsonl", b"".join(lines * (SHARD // each)))
    os.environ |= {"AWS_ENDPOINT_URL": weed.endpoint, "AWS_ACCESS_KEY_ID": OWNER[0],
                   "AWS_SECRET_ACCESS_KEY": OWNER[1]}  # fmt: skip
    s3._client_of_process.cache_clear()
    began = time.monotonic()
    manifest = folder / MANIFEST
    head, _ = make_manifest(f"s3://{BUCKET}/big", manifest)
    report: dict[str, Any] = {
        "bytes": head.bytes, "shards": head.shards,
        "manifest_seconds": round(time.monotonic() - began, 1), "jobs": {},
    }  # fmt: skip
    sha256 = read_manifest(manifest).sha256
    pair = StoreCredentials(access_key_id=READER[0], secret_access_key=READER[1])
    access = StoreAccess(endpoints=(weed.endpoint,), networks=("127.0.0.0/8",), credentials=pair)
    write_access(folder / "access" / "1.json", access)
    scale = load_scale(SCALE)
    most = head.bytes // scale.tokens_needed + 50
    for stage, module, parameters in (
        ("validate", "submissions.validate", {
            "track": "filtering", "scale": SCALE, "tokens": scale.tokens_needed,
            "bytes_per_token": scale.bytes_per_token, "max_epochs": scale.max_epochs,
            "multiple": most, "tokenizer": scale.tokenizer}),
        ("tokenize", "training_recipes.tokenize", {"scale": SCALE, "seed": 1, "multiple": most}),
    ):  # fmt: skip
        document = {
            "key": f"1-{stage}-a1", "stage": stage, "parameters": parameters,
            "inputs": {"dataset": {"uri": manifest.as_uri(), "sha256": sha256}},
            "hashes": {"recipe": scale.recipe_sha256},
            "output": (folder / "work" / stage).as_uri(),
        }  # fmt: skip
        report["jobs"][stage] = run_job(folder, document, module, sha256)
    return report


def run_job(folder: Path, document: dict[str, Any], module: str, sha256: str) -> dict[str, Any]:
    """One job under its warden, with the fetcher beside it, as the site starts it."""
    job = folder / document["key"]
    job.mkdir()
    socket = str(job / SCRATCH / SOCKET)
    watch = Watch(
        stage=document["stage"], command=[sys.executable, "-m", module, str(job)], limits=Limits(),
        environment={FETCHER: socket, "TMPDIR": str(job / SCRATCH)}, folders=[], before=[],
        beside=[sys.executable, "-m", "submissions.fetcher", str(folder / MANIFEST),
                str(folder / "access" / "1.json"), socket], ready=socket,
    )  # fmt: skip
    write_json_atomically(job / "job.json", document)
    write_json_atomically(job / WARDEN, watch)
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "submissions.warden", str(job)], start_new_session=True
    )
    peak, disk, over = 0, 0, threading.Event()

    def look() -> None:
        nonlocal peak, disk
        while not over.wait(0.3):
            members = [pid for pid, *_ in session_members(process.pid)]
            peak, disk = max(peak, memory_of(members, None)), max(disk, size_of([job]))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    code = process.wait()
    over.set()
    watcher.join()
    if code:
        raise SystemExit(f"{document['key']} ended with {code}")
    figures = json.loads((job / RESULT).read_text())["figures"]
    found = figures.get("manifest_sha256") or figures.get("dataset_sha256")
    return {
        "seconds": round(time.monotonic() - began, 1), "peak_memory_bytes": peak,
        "peak_scratch_bytes": disk, "documents": figures["documents"], "same_hash": found == sha256,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
