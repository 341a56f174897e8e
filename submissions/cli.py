"""The `crucible` command: one parser, to which each package adds its subcommands.

A command module has `register(commands: Commands)`. A handler takes the parsed arguments and
returns the JSON document that `--json` prints; a second function renders the
document for people. Exit codes: 0 done, 1 the input is at fault, 2 misuse, 3 the platform or
machine is.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from submissions.codec import to_json
from submissions.failures import Failure
from submissions.job import as_failure
from submissions.states import Fault

# By name, not by import: the import directions stay one-way, and each module imports its heavy
# libraries only when one of its commands runs.
COMMAND_MODULES = (
    "submissions.commands", "submissions.manifest_commands", "submissions.curation.commands",
    "submissions.profile.commands",
    "training_recipes.dataset_commands", "training_recipes.recipe_commands",
    "training_recipes.train_commands", "training_recipes.loss_commands",
    "training_recipes.export_commands", "evaluation.commands",
    "evaluation.contamination.commands", "evaluation.mixtures.commands",
    "evaluation.transfer.commands", "evaluation.doctor",
)  # fmt: skip

Handler = Callable[[argparse.Namespace], Any]  # a dict, or a type of the codec's
Render = Callable[[dict[str, Any]], str]
MISUSE_CODES = {"unknown_scale", "unknown_track", "unknown_suite", "unknown_task"}


class Commands:
    """Registers subcommands, each of which gets `--json`."""

    def __init__(self, subparsers: Any) -> None:
        self._subparsers = subparsers

    def add(self, name: str, help: str, run: Handler, render: Render) -> argparse.ArgumentParser:
        """A new subcommand; the caller adds its own arguments to the parser that is returned."""
        parser: argparse.ArgumentParser = self._subparsers.add_parser(
            name, help=help, description=help
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        parser.set_defaults(run=run, render=render)
        return parser

    def group(self, name: str, help: str) -> Commands:
        """A subcommand that only holds further ones, as `recipe` holds `list` and `show`."""
        parser = self._subparsers.add_parser(name, help=help, description=help)
        return Commands(parser.add_subparsers(metavar="COMMAND", required=True))


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; docs/command-line.md is checked against it."""
    parser = argparse.ArgumentParser(
        prog="crucible", description="Which data makes the better model?"
    )
    commands = Commands(parser.add_subparsers(metavar="COMMAND", required=True))
    for name in COMMAND_MODULES:
        importlib.import_module(name).register(commands)
    return parser


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Keeps standard output clean for the document: libraries print to it, also from C."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def exit_code_of(failure: Failure) -> int:
    """2 for a misused command line, 1 for the participant's input, 3 for the platform."""
    if failure.code in MISUSE_CODES:
        return 2
    return 1 if failure.fault == Fault.PARTICIPANT else 3


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; see the module's docstring for the exit codes."""
    parsed = build_parser().parse_args(arguments)
    try:
        with stdout_to_stderr():
            document = to_json(parsed.run(parsed))
    except Exception as error:
        failure = as_failure(error)
        if failure.code == "internal_error":
            traceback.print_exc()
        print(f"crucible: {failure}\n{failure.next_step}", file=sys.stderr)
        if parsed.json:
            _print(json.dumps({"ok": False, "error": failure.as_dict()}))
        return exit_code_of(failure)
    except KeyboardInterrupt:
        print("crucible: stopped", file=sys.stderr)
        return 130
    _print(json.dumps(document) if parsed.json else parsed.render(document))
    return 0 if document.get("ok", True) else 1


def _print(text: str) -> None:
    """To standard output, without a traceback when the reader stops early (`| head`)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains when it flushes at exit


if __name__ == "__main__":
    sys.exit(main())
