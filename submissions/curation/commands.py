"""The subcommands `crucible curate` and `crucible prompts`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submissions.argument_types import given_path, output_file, output_folder, positive
from submissions.cli import Commands
from submissions.commands import table
from submissions.executor import LocalProcesses, Placement, cores
from submissions.progress import progress_for_terminal

if TYPE_CHECKING:
    from submissions.curation.prompts import PromptReport

INPUT_HELP = "shard, WARC or WET file, folder of them, or s3://bucket/prefix"


def register(commands: Commands) -> None:
    """Adds the subcommands; what they need is imported when one of them runs."""
    parser = commands.add(
        "curate", "make a dataset of a pool by a recipe of steps", run_curate, render_curate
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="TOML file of named steps")
    parser.add_argument(
        "--input", required=True, nargs="+", type=given_path, metavar="PATH", help=INPUT_HELP
    )
    parser.add_argument("--output", type=output_folder, required=True, metavar="DIR")
    parser.add_argument(
        "--steps", nargs="+", type=Path, default=[], metavar="FILE.py",
        help="Python files with steps of your own; they are run",
    )  # fmt: skip
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--workers", type=positive, default=cores(), metavar="N", help="processes; default: cores"
    )
    place.add_argument("--ray", metavar="ADDRESS", help="the Ray cluster that does the work")
    place.add_argument(
        "--slurm", type=positive, metavar="N", help="do the work in Slurm arrays of N tasks"
    )
    prompts = commands.add(
        "prompts", "write prompts for synthetic data from a grid", run_prompts, render_prompts
    )
    prompts.add_argument("grid", type=Path, metavar="GRID", help="TOML file of axes and a template")
    prompts.add_argument("--output", type=output_file, required=True, metavar="FILE.jsonl")


def run_curate(arguments: argparse.Namespace) -> dict[str, Any]:
    from submissions.curation.run import curate

    return curate(
        arguments.recipe,
        arguments.input,
        arguments.output,
        own=arguments.steps,
        placement=_placement(arguments),
        progress=progress_for_terminal(),
    )


def _placement(arguments: argparse.Namespace) -> Placement:
    if arguments.ray:
        from submissions.ray_executor import RayCluster

        return RayCluster(arguments.ray)
    if arguments.slurm:
        from submissions.curation.slurm import SlurmArray

        return SlurmArray(arguments.slurm, arguments.output.absolute())
    return LocalProcesses(arguments.workers)


def render_curate(document: dict[str, Any]) -> str:
    """The steps, and below each why it removed what."""
    rows = []
    for step in document["steps"]:
        rows.append((step["name"], f"{step['in']:,}", f"{step['out']:,}", f"{step['dropped']:,}",
                     f"{step['bytes_out'] / 1e6:,.1f}", f"{step['seconds']:.1f}"))  # fmt: skip
        reasons = sorted(step["reasons"].items(), key=lambda one: -sum(one[1].values()))
        for reason, counts in reasons[:8]:
            pieces = f" {counts['pieces']:,} pieces" if counts["pieces"] else ""
            rows.append((f"  {reason}{pieces}", "", "", f"{counts['documents']:,}", "", ""))
    head = ("step", "in", "out", "dropped", "MB out", "CPU s")
    made = sum(source["synthetic_bytes"] for source in document["sources"])
    share = f", {made / document['bytes']:.1%} of it synthetic" if made else ""
    size = f"{document['bytes'] / 1e6:,.1f} MB of text{share}"
    said = f"{document['documents']:,} documents, {size}, in {document['seconds']:.0f} s"
    return f"{table(head, rows)}\n{said}"


def run_prompts(arguments: argparse.Namespace) -> PromptReport:
    from submissions.curation.prompts import write_prompts

    return write_prompts(arguments.grid, arguments.output)


def render_prompts(document: dict[str, Any]) -> str:
    """How many prompts, and how many of them say the same."""
    repeats = document["duplicates"]
    return (
        f"{document['prompts']:,} of {document['combinations']:,} prompts in {document['output']}\n"
        f"copies: {repeats['exact']:.1%}, near copies: {repeats['near']:.1%}"
    )
