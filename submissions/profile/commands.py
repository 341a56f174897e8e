"""The subcommand `crucible profile`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from submissions.argument_types import given_path, output_folder, positive
from submissions.cli import Commands
from submissions.codec import to_json
from submissions.commands import table
from submissions.dataset import PATH_HELP
from submissions.executor import LocalProcesses, cores
from submissions.progress import progress_for_terminal
from submissions.ray_executor import RayCluster
from submissions.shards import is_s3


def register(commands: Commands) -> None:
    """Adds the subcommand; what it needs is imported when it runs."""
    profile = commands.add("profile", "say what is in a dataset", run_profile, render_profile)
    profile.add_argument("paths", nargs="+", type=given_path, metavar="DATA", help=PATH_HELP)
    profile.add_argument("--output", type=output_folder, required=True, metavar="DIR")
    profile.add_argument(
        "--against", nargs="+", type=Path, default=[], metavar="PROFILE",
        help="folders that earlier calls wrote, of the pool for instance, to compare with",
    )  # fmt: skip
    place = profile.add_mutually_exclusive_group()
    place.add_argument(
        "--workers", type=positive, default=cores(), metavar="N", help="processes; default: cores"
    )
    place.add_argument("--ray", metavar="ADDRESS", help="the Ray cluster that does the work")


def run_profile(arguments: argparse.Namespace) -> dict[str, Any]:
    from submissions.profile.kept import SKETCH
    from submissions.profile.profiling import Against, profile_dataset

    found = profile_dataset(
        # Absolute, because workers elsewhere have another working directory.
        [given if is_s3(given) else str(Path(given).absolute()) for given in arguments.paths],
        arguments.output.absolute(),
        against=[Against(str(folder), folder / SKETCH) for folder in arguments.against],
        progress=progress_for_terminal(),
        placement=RayCluster(arguments.ray) if arguments.ray else LocalProcesses(arguments.workers),
    )
    document: dict[str, Any] = to_json(found)
    return document


def render_profile(document: dict[str, Any]) -> str:
    """The figures that one wants first, then topics."""
    copies = document["duplicates"]
    about = "" if copies["counted"] else "about "
    lines = [
        f"{document['documents']:,} documents, {document['bytes'] / 1e6:,.1f} MB of text; "
        f"{document['sampled']:,} of them looked at closely",
        f"surplus copies: {about}{copies['exact']:,} documents, {copies['near']:,} near copies, "
        f"{about}{copies['lines']:,} of {copies['total_lines']:,} lines, "
        f"{about}{copies['paragraphs']:,} of {copies['total_paragraphs']:,} paragraphs",
        "languages: " + _shares(document["languages"]),
        f"code {document['code']['share']:.1%}, quality rules kept "
        f"{document['quality']['mean']:.1%}, compression {document['compression']['mean']:.2f}",
    ]
    lines += [
        f"{one['name']} holds {one['exact']:.1%} of the texts, with near copies {one['near']:.1%}"
        for one in document["against"]
    ]
    rows = [
        (one["name"], f"{one['share']:.1%}", f"± {1.96 * one['error']:.1%}")
        for one in document["topics"]
    ]
    return "\n".join([*lines, table(("topic", "share", ""), rows)])


def _shares(shares: dict[str, dict[str, float]]) -> str:
    named = [f"{name} {one['share']:.1%}" for name, one in list(shares.items())[:6]]
    return ", ".join(named) or "none"
