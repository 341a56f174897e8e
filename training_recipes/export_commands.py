"""The subcommand `export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from submissions.argument_types import output_folder
from submissions.cli import Commands


def register(commands: Commands) -> None:
    """Adds the subcommand; libraries that take long to import wait until it runs."""
    export = commands.add(
        "export", "write a model as a Hugging Face directory", run_export, render_export
    )
    export.add_argument("--model", required=True, type=Path, metavar="DIR", help="from `train`")
    export.add_argument(
        "--output", required=True, type=output_folder, metavar="DIR", help="new folder"
    )


def run_export(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was written."""
    from training_recipes.export_hf import export_model

    return export_model(arguments.model, arguments.output)


def render_export(document: dict[str, Any]) -> str:
    """Where it is, and as what it loads."""
    return (
        f"{document['output']}: {document['architecture']}, {document['params']:,} parameters, "
        f"{document['bytes'] / 1e6:,.1f} MB\n"
        f'load it with AutoModelForCausalLM.from_pretrained("{document["output"]}")'
    )
