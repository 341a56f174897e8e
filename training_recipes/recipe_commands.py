"""The subcommands `recipe list` and `recipe show`."""

from __future__ import annotations

import argparse
from typing import Any

from submissions.cli import Commands
from training_recipes.scales import load_scale, scale_names


def register(commands: Commands) -> None:
    """Adds the subcommands."""
    scales = ", ".join(scale_names())
    recipe = commands.group("recipe", "show the frozen recipes")
    recipe.add("list", "list all scales", run_recipe_list, render_recipe_list)
    show = recipe.add(
        "show", "show everything that is fixed at a scale", run_recipe_show, render_recipe_show
    )
    show.add_argument("scale", metavar="SCALE", help=f"one of {scales}")


def run_recipe_list(_arguments: argparse.Namespace) -> dict[str, Any]:
    """Every scale's document."""
    return {"scales": [load_scale(name).as_document() for name in scale_names()]}


def render_recipe_list(document: dict[str, Any]) -> str:
    """One line a scale."""
    head = f"{'scale':<8} {'params':>14} {'tokens':>16} {'FLOPs':>8} {'steps':>8}  hash"
    rows = [
        f"{scale['scale']:<8} {scale['params']:>14,} {scale['tokens']:>16,} "
        f"{scale['flops']:>8.1e} {scale['steps']:>8,}  {scale['hash'][:12]}"
        for scale in document["scales"]
    ]
    return "\n".join([head, *rows])


def run_recipe_show(arguments: argparse.Namespace) -> dict[str, Any]:
    """One scale's document."""
    return load_scale(arguments.scale).as_document()


def render_recipe_show(document: dict[str, Any]) -> str:
    """Name and value a line, grouped values indented."""
    lines = []
    for key, value in document.items():
        if isinstance(value, dict):
            lines.append(key)
            lines += [f"  {name:<20} {_number(item)}" for name, item in value.items()]
        else:
            lines.append(f"{key:<22} {_number(value)}")
    return "\n".join(lines)


def _number(value: Any) -> str:
    return f"{value:,}" if type(value) is int else str(value)
