"""The subcommands `recipe list`, `recipe show` and `recipe cost`."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from submissions.cli import Commands
from training_recipes.cost import DEFAULT_GPU, GPUS, cost_of, size_text
from training_recipes.hardware import CHOICES
from training_recipes.purposes import PURPOSES
from training_recipes.scales import Scale, load_scale, scale_names


def register(commands: Commands) -> None:
    """Adds the subcommands."""
    scales = ", ".join(scale_names())
    recipe = commands.group("recipe", "show the frozen recipes")
    recipe.add("list", "list all scales", run_recipe_list, render_recipe_list)
    show = recipe.add(
        "show", "show everything that is fixed at a scale", run_recipe_show, render_recipe_show
    )
    show.add_argument("scale", metavar="SCALE", help=f"one of {scales}")
    cost = recipe.add("cost", "what a scale costs", run_recipe_cost, render_recipe_cost)
    cost.add_argument("scale", metavar="SCALE", help=f"one of {scales}")
    cost.add_argument("--gpu", choices=GPUS, help=f"default: {DEFAULT_GPU}")
    cost.add_argument(
        "--count", type=int, default=1, metavar="N", help="number of GPUs (default: 1)"
    )


def run_recipe_list(_arguments: argparse.Namespace) -> dict[str, Any]:
    """Every scale's document."""
    return {"scales": [_document(load_scale(name)) for name in scale_names()]}


def render_recipe_list(document: dict[str, Any]) -> str:
    """One line a scale."""
    head = (
        f"{'scale':<10} {'params':>14} {'tokens':>16} {'FLOPs':>8} {'steps':>8}  {'hash':<12}  for"
    )
    rows = [
        f"{scale['scale']:<10} {scale['params']:>14,} {scale['tokens']:>16,} "
        f"{scale['flops']:>8.1e} {scale['steps']:>8,}  {scale['hash'][:12]}  "
        f"{scale['purpose']['use']}"
        for scale in document["scales"]
    ]
    return "\n".join([head, *rows])


def run_recipe_show(arguments: argparse.Namespace) -> dict[str, Any]:
    """One scale's document, and what may be chosen; all else is fixed."""
    scale = load_scale(arguments.scale)
    seed = f"any whole number from 0; {scale.seed} if left out"
    return _document(scale) | {"choices": {"seed": seed} | CHOICES}


def _document(scale: Scale) -> dict[str, Any]:
    """The scale's document with what it is good for, which is no part of the recipe."""
    return scale.as_document() | {"purpose": asdict(PURPOSES[scale.name])}


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


def run_recipe_cost(arguments: argparse.Namespace) -> dict[str, Any]:
    """The cost of one submission."""
    return cost_of(load_scale(arguments.scale), arguments.gpu, arguments.count).as_document()


def render_recipe_cost(document: dict[str, Any]) -> str:
    """Each part with the basis of its estimate."""
    space = document["storage"]
    lines = [
        f"{document['scale']}: {document['flops']:.2e} FLOPs (6 x parameters x tokens), "
        f"{document['flops_with_attention']:.2e} with attention and without the embedding",
        f"{'tokenise':<12} {_hours(document['tokenise_cpu_hours'])} of one core",
        f"{'train':<12} {_work(document['train'])}",
    ]
    if document["mfu"] is not None:
        lines.append(f"{'':<12} {document['mfu']:.1%} of the peak (MFU)")
    for engine, work in document["evaluate"].items():
        lines.append(f"{'evaluate':<12} {_work(work)}; engine {engine}")
    parts = ", ".join(
        f"{name} {size_text(size)}" for name, size in space.items() if name != "total"
    )
    return "\n".join([*lines, f"{'storage':<12} {size_text(space['total'])} ({parts})"])


def _work(work: dict[str, Any]) -> str:
    time = f"{_hours(work['hours'])} on {work['count']} x {work['device']}"
    if work["count"] > 1:
        time += f" ({_hours(work['device_hours'])} of one)"
    return f"{time}; {work['basis']}"


def _hours(hours: float) -> str:
    if hours < 1 / 60:
        return f"{3600 * hours:.0f} s"
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:,.0f} h"


def _number(value: Any) -> str:
    return f"{value:,}" if type(value) is int else str(value)
