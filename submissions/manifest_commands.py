"""`crucible manifest`, and submitting one: a dataset that stays where it lies."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submissions.argument_types import given_path, output_file, whole
from submissions.cli import Commands
from submissions.failures import Failure
from submissions.hashing import combined_sha256, file_sha256
from submissions.manifest import MANIFEST, read_manifest
from submissions.mixture import MIXTURE, mixture_of_shards
from submissions.progress import TerminalProgress, progress_for_terminal
from submissions.references import referenced_shards
from submissions.states import Track

if TYPE_CHECKING:
    from submissions.client import Client

MOST_HOURS = 7 * 24  # of a presigned URL: S3's limit


def register(commands: Commands) -> None:
    """Adds the subcommand to the `crucible` command."""
    made = commands.add(
        "manifest", "make the manifest of a dataset that stays where it lies", run, show
    )
    made.add_argument(
        "place", type=given_path, metavar="PLACE", help="s3://bucket/prefix, or a folder"
    )
    made.add_argument(
        "--output", type=output_file, default=Path(MANIFEST), help="default: %(default)s"
    )
    made.add_argument(
        "--presign", type=whole(1, MOST_HOURS), default=0, metavar="HOURS",
        help="give every shard a URL that is valid so long and needs no store key",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    from submissions.manifest_make import make_manifest

    progress = progress_for_terminal()
    try:
        head, entries = make_manifest(
            arguments.place, arguments.output, arguments.presign, progress
        )
    finally:
        if isinstance(progress, TerminalProgress):
            progress.close()
    return {
        "manifest": str(arguments.output),
        "base": head.base,
        "endpoint": head.endpoint,
        "shards": head.shards,
        "bytes": head.bytes,
        "manifest_sha256": combined_sha256(entry.sha256 for entry in entries),
        "presigned_hours": arguments.presign,
    }


def show(document: dict[str, Any]) -> str:
    lines = [
        f"{document['shards']:,} shards, {document['bytes']:,} bytes at {document['base']}",
        f"dataset hash {document['manifest_sha256']}",
        f"written to {document['manifest']}: crucible submit --manifest {document['manifest']} …",
    ]
    if document["presigned_hours"]:
        lines.append(
            f"Its URLs let anybody read the data for {document['presigned_hours']} hours: "
            "treat the file as a secret."
        )
    return "\n".join(lines)


def upload_manifest(
    client: Client, manifest: Path, others: list[str], track: str, scale: str
) -> str:
    """Uploads a manifest, and a mixture.json if one is given; returns the upload's id.

    Raises what is wrong with either before anything is sent.
    """
    if not manifest.is_file():
        raise Failure("dataset_missing", f"there is no file {manifest}")
    read_manifest(manifest)
    size = manifest.stat().st_size
    mixture = [Path(other) for other in others]
    if len(mixture) > 1 or any(path.name != MIXTURE for path in mixture):
        raise Failure("refused", f"beside --manifest name a {MIXTURE} or nothing")
    if mixture:
        if track != Track.MIXING:
            said = f"a mixture belongs to the mixing track, and this is the {track} track"
            raise Failure("mixture_invalid", said)
        mixture_of_shards(mixture[0], referenced_shards(manifest))
    upload = str(client.create_upload(scale, size)["id"])
    with tempfile.TemporaryDirectory(prefix="crucible-submit-") as folder:
        copy = Path(folder) / MANIFEST  # what was looked at is what is sent
        shutil.copyfile(manifest, copy)
        for name, path in [(MANIFEST, copy), *((MIXTURE, path) for path in mixture)]:
            client.put_shard(upload, name, path, file_sha256(path), lambda _: None)
    return upload
