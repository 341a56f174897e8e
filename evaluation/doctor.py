"""The subcommand `doctor`: is this machine fit for what it shall do, and what to do if not."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import evaluation
from evaluation.suite import load_suite, verify_rows
from submissions.cli import Commands
from submissions.codec import convert, decode
from submissions.diagnosis import (
    Check,
    Diagnosis,
    asked,
    check_disk,
    check_folder_clock,
    check_python,
    check_server,
    check_store,
    diagnosis_of,
    rendered,
)
from submissions.failures import Failure
from training_recipes.cost import storage_of
from training_recipes.node_checks import imported, node_checks
from training_recipes.scales import load_scale

LAPTOP, NODE, SITE = "laptop", "node", "site"
DEFAULT_SCALE = "smoke"


def register(commands: Commands) -> None:
    """Adds the subcommand."""
    doctor = commands.add("doctor", "is this machine fit, and what to do if not", _run, _render)
    doctor.add_argument(
        "place", nargs="?", choices=(LAPTOP, NODE, SITE), default=LAPTOP,
        help="what this machine shall be: laptop (default) submits datasets, node trains and "
        "evaluates, site runs the website",
    )  # fmt: skip
    doctor.add_argument("--scale", action="append", metavar="S",
                        help=f"a scale that it shall run; default: {DEFAULT_SCALE}")  # fmt: skip
    doctor.add_argument("--data", type=Path, metavar="DIR", help="folder of task files")
    doctor.add_argument("--work", type=Path, metavar="DIR", default=Path(),
                        help="folder of the work; default: the current one")  # fmt: skip
    doctor.add_argument("--store", metavar="URI", help="a dataset in S3 that it shall read")
    doctor.add_argument("--server", metavar="URL", help="the site; default: CRUCIBLE_SERVER")


def _run(arguments: argparse.Namespace) -> Diagnosis:
    if arguments.place == SITE:
        return _of_site()
    scales = arguments.scale or [DEFAULT_SCALE]
    node = arguments.place == NODE
    needed = max(storage_of(load_scale(name)).total for name in scales) if node else 0.0
    checks = [check_python(), check_disk(arguments.work, max(needed, 2e9))]
    if node:
        checks.append(check_folder_clock(arguments.work))
    server = arguments.server or os.environ.get("CRUCIBLE_SERVER", "")
    if server:
        checks += check_server(server)
    if arguments.store:
        checks.append(check_store(arguments.store))
    checks += node_checks(scales, matters=node)
    checks.append(
        asked("llm-foundry", partial(imported, "llmfoundry", "llm-foundry"), matters=node)
    )
    if arguments.data is not None or node:
        checks.append(check_task_files(arguments.data, scales))
    return diagnosis_of(checks)


def check_task_files(data: Path | None, scales: list[str]) -> Check:
    """Whether the files of every suite that the scales need are there, unchanged."""
    bundled = all(load_scale(name).bundled for name in scales)

    def question() -> str:
        if data is None and bundled:
            return "the suite smoke brings its own"
        if data is None or not data.is_dir():
            raise Failure("task_file_missing", "no folder of task files: name it with --data")
        rows = verify_rows(load_suite("full"), data)
        bad = [str(row["file"]) for row in rows if not row["ok"]]
        if bad:
            raise Failure(
                "task_file_missing",
                f"{len(bad)} of {len(rows)} task files in {data} are missing or changed, first "
                f"{bad[0]}",
            )
        return f"{len(rows)} task files in {data}"

    return asked("task_files", question)


def _of_site() -> Diagnosis:
    """Asks the site's own code, which knows its settings: these packages never import it."""
    manage = Path(evaluation.__file__).resolve().parent.parent / "manage.py"
    if not manage.is_file():
        raise Failure("missing_dependency", f"there is no site here: {manage} does not exist")
    done = subprocess.run(
        [sys.executable, str(manage), "doctor", "--json"],
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False, cwd=manage.parent,
    )  # fmt: skip
    if not done.stdout:
        raise Failure("internal_error", "`manage.py doctor` ended without an answer (see above)")
    return decode(Diagnosis, done.stdout, code="internal_error", where="manage.py doctor")


def _render(document: dict[str, Any]) -> str:
    return rendered(convert(Diagnosis, document, code="internal_error", where="doctor"))
