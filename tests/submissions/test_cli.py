"""The `crucible` command: exit codes, and one document alone on standard output."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from submissions import cli
from submissions.failures import FAILURES, Failure


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts one command `try` in the place of all, which does what the test says."""

    def build(run: Any) -> None:
        def build_parser() -> argparse.ArgumentParser:
            parser = argparse.ArgumentParser(prog="crucible")
            commands = cli.Commands(parser.add_subparsers(required=True))
            commands.add("try", "tries", run, lambda document: f"for people: {document['a']}")
            return parser

        monkeypatch.setattr(cli, "build_parser", build_parser)

    return build


def test_a_document_for_scripts_and_one_for_people(command: Any, capfd: Any) -> None:
    command(lambda arguments: {"a": 1})
    assert cli.main(["try", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"a": 1}
    assert cli.main(["try"]) == 0
    assert capfd.readouterr().out == "for people: 1\n"


def test_what_libraries_print_goes_to_standard_error(command: Any, capfd: Any) -> None:
    def run(arguments: argparse.Namespace) -> dict[str, Any]:
        print("a library chats")
        os.write(1, b"and so does its C code\n")
        subprocess.run([sys.executable, "-c", "print('and its child')"], check=True)
        return {"a": 1}

    command(run)
    assert cli.main(["try", "--json"]) == 0
    captured = capfd.readouterr()
    assert json.loads(captured.out) == {"a": 1}
    for said in ("a library chats", "its C code", "its child"):
        assert said in captured.err


def test_a_document_that_is_not_ok_exits_with_1(command: Any) -> None:
    command(lambda arguments: {"a": 1, "ok": False})
    assert cli.main(["try"]) == 1


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("not_json", 1), ("unknown_track", 2), ("unknown_scale", 2), ("server_unreachable", 3)],
)
def test_a_failure_is_one_sentence_and_an_exit_code(
    command: Any, capfd: Any, code: str, exit_code: int
) -> None:
    def run(arguments: argparse.Namespace) -> dict[str, Any]:
        raise Failure(code, "what happened", shard="a.jsonl", line=7)

    command(run)
    assert cli.main(["try"]) == exit_code
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("crucible: a.jsonl:7: what happened\n")
    assert FAILURES[code].next_step in captured.err
    assert cli.main(["try", "--json"]) == exit_code
    document = json.loads(capfd.readouterr().out)
    assert document["ok"] is False
    assert (document["error"]["code"], document["error"]["line"]) == (code, 7)


def test_interruption_and_missing_packages(command: Any, capfd: Any) -> None:
    def interrupted(arguments: argparse.Namespace) -> dict[str, Any]:
        raise KeyboardInterrupt

    def missing(arguments: argparse.Namespace) -> dict[str, Any]:
        raise ModuleNotFoundError("No module named 'composer'", name="composer")

    command(interrupted)
    assert cli.main(["try"]) == 130
    command(missing)
    assert cli.main(["try"]) == 3
    assert "composer is not installed" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "traceback"),
    [
        (OSError(28, "No space left on device", "/x"), "disk_full", False),
        (ZeroDivisionError("one by none"), "internal_error", True),
    ],
)
def test_what_the_machine_or_a_bug_does_exits_with_3(
    command: Any, capfd: Any, error: Exception, code: str, traceback: bool
) -> None:
    def run(arguments: argparse.Namespace) -> dict[str, Any]:
        raise error

    command(run)
    assert cli.main(["try", "--json"]) == 3
    captured = capfd.readouterr()
    assert json.loads(captured.out)["error"]["code"] == code
    assert ("Traceback" in captured.err) is traceback


def test_a_reader_that_stops_early_gets_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "submissions.cli", "recipe", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate()
    assert (process.returncode, said) == (0, b"")


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["submit"], ["check", "--track", "x"]])
def test_misuse_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2


def test_every_command_of_the_design_is_there() -> None:
    names = cli.build_parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    expected = {"check", "submit", "status", "results", "cancel", "leaderboard", "recipe",
                "tokenize", "train", "evaluate", "score", "suite"}  # fmt: skip
    assert expected <= set(names)


def test_starting_the_command_loads_no_heavy_library() -> None:
    code = (
        "import sys; from submissions.cli import build_parser; build_parser();"
        "print([m for m in ('torch', 'composer', 'transformers', 'django') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_failure_kind_says_what_to_do() -> None:
    for code, kind in FAILURES.items():
        assert kind.next_step.endswith("."), code
        assert kind.fault in ("participant", "infrastructure")
