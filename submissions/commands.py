"""The subcommands that talk to a server: submit, status, results, cancel, leaderboard."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from submissions.argument_types import given_path, seed
from submissions.check import check_track, check_track_of
from submissions.cli import Commands
from submissions.codec import convert
from submissions.dataset import PATH_HELP, find_dataset
from submissions.failures import Failure, FailureDocument
from submissions.progress import TerminalProgress, progress_for_terminal
from submissions.states import BESIDE, TERMINAL, State, Track

if TYPE_CHECKING:  # it imports requests, which no command without a server waits for
    from submissions.client import Client

DEFAULT_SERVER = "http://127.0.0.1:8000"
POLL_PERIOD = 2.0  # seconds between two looks at a submission
PATIENCE = 300.0  # seconds that `--wait` tries again while the server cannot be reached

Document = dict[str, Any]


def register(commands: Commands) -> None:
    """Adds the subcommands to the `crucible` command."""
    submit = commands.add("submit", "upload a dataset and submit it", run_submit, show_submission)
    submit.add_argument("paths", nargs="*", type=given_path, metavar="PATH", help=PATH_HELP)
    submit.add_argument(
        "--manifest", type=Path, metavar="FILE",
        help="submit a dataset that stays where it lies, by what `crucible manifest` wrote",
    )  # fmt: skip
    submit.add_argument(
        "--store-key", default="", metavar="NAME", help="your store key on the site, to read it"
    )
    submit.add_argument("--track", required=True, help=" or ".join(Track))
    submit.add_argument("--scale", required=True, help="as `crucible recipe list` names it")
    submit.add_argument("--name", required=True, help="what the leaderboard shows")
    submit.add_argument("--description", default="", help="how the dataset was made")
    submit.add_argument(
        "--seed", type=seed, help="seed of shuffling and training (default: the scale's)"
    )
    submit.add_argument("--upload", metavar="ID", help="continue an upload that broke off")
    status = commands.add("status", "show the progress of submissions", run_status, show_status)
    status.add_argument(
        "id", nargs="?", metavar="ID", help="one submission (default: all of yours)"
    )
    status.add_argument("--wait", action="store_true", help="follow it until it is over")
    results = commands.add("results", "show a submission's score", run_results, show_results)
    results.add_argument("id", metavar="ID", help="the submission")
    cancel = commands.add("cancel", "cancel a submission", run_cancel, show_submission)
    cancel.add_argument("id", metavar="ID", help="the submission")
    board = commands.add("leaderboard", "show a ranking", run_leaderboard, show_leaderboard)
    board.add_argument("--track", required=True, help=" or ".join(Track))
    board.add_argument("--scale", required=True, help="as `crucible recipe list` names it")
    for parser in (submit, status, results, cancel, board):
        parser.add_argument(
            "--server",
            default=os.environ.get("CRUCIBLE_SERVER", DEFAULT_SERVER),
            help="the site's address (default: $CRUCIBLE_SERVER, else %(default)s)",
        )


def client_of(arguments: argparse.Namespace) -> Client:
    """A client for --server with the token from the environment."""
    from submissions.client import Client

    return Client(arguments.server, os.environ.get("CRUCIBLE_TOKEN", ""))


def run_submit(arguments: argparse.Namespace) -> Document:
    check_track(arguments.track)
    if not (arguments.paths or arguments.manifest):
        raise Failure("refused", "name the dataset: a PATH, or --manifest")
    if arguments.store_key and not arguments.manifest:
        raise Failure("refused", "--store-key goes with --manifest")
    client = client_of(arguments)
    upload = _by_reference(arguments, client) if arguments.manifest else _sent(arguments, client)
    fields = {
        "name": arguments.name,
        "track": arguments.track,
        "scale": arguments.scale,
        "description": arguments.description,
        "upload": upload,
    }
    if arguments.seed is not None:
        fields["seed"] = arguments.seed
    if arguments.store_key:
        fields["store_key"] = arguments.store_key
    document = client.create_submission(**fields)
    for warning in document.get("warnings", []):  # none of a site of an older release
        print(warning, file=sys.stderr)
    return document


def _sent(arguments: argparse.Namespace, client: Client) -> str:
    """The upload of a dataset that is here."""
    from submissions.upload import upload_dataset

    dataset = find_dataset(arguments.paths)
    check_track_of(dataset, arguments.track)
    progress = progress_for_terminal()
    try:
        return upload_dataset(client, dataset, arguments.scale, arguments.upload, progress)
    finally:
        if isinstance(progress, TerminalProgress):
            progress.close()


def _by_reference(arguments: argparse.Namespace, client: Client) -> str:
    from submissions.manifest_commands import upload_manifest

    if arguments.upload:
        raise Failure("refused", "--upload continues an upload of shards, not of a manifest")
    return upload_manifest(
        client, arguments.manifest, arguments.paths, arguments.track, arguments.scale
    )


def run_status(arguments: argparse.Namespace) -> Document:
    client = client_of(arguments)
    if arguments.id is None:
        if arguments.wait:
            raise Failure("refused", "--wait follows one submission: give its ID")
        return client.my_submissions()
    if arguments.wait:
        return wait_for(client, arguments.id, POLL_PERIOD)
    return client.submission(arguments.id)


def wait_for(client: Client, number: str, period: float) -> Document:
    """Follows a submission to its end; returns it when published, raises how it failed if not."""
    progress = TerminalProgress() if sys.stderr.isatty() else None
    said = shown = ""
    heard = time.monotonic()
    try:
        while True:
            try:
                document = client.submission(number)
            except Failure as failure:
                if failure.code != "server_unreachable" or time.monotonic() > heard + PATIENCE:
                    raise
                time.sleep(period)
                continue
            heard = time.monotonic()
            if progress:
                shown = show_progress(progress, document, shown)
            elif document["state"] != said:
                said = document["state"]
                print(f"{number}: {said}", file=sys.stderr)
            if document["state"] in TERMINAL:
                return _ended(document)
            time.sleep(period)
    finally:
        if progress:
            progress.close()


def show_progress(progress: TerminalProgress, document: Document, shown: str) -> str:
    """Draws the bar of the stage that runs; returns its name, or nothing between two stages.

    `shown` is the stage of the bar on the screen: another stage gets a bar of its own, so that no
    stage starts with the progress of the one before. What runs beside the chain is drawn only when
    the chain waits.
    """
    running = [stage for stage in document["stages"] if stage["state"] == "running"]
    chain = [stage for stage in running if stage["stage"] not in BESIDE]
    stage = next(iter(chain or running), None)
    if stage is None or stage["stage"] != shown:
        progress.close()
    if stage is None:
        return ""
    metrics = {k: v for k, v in stage["metrics"].items() if isinstance(v, (int, float))}
    unit = stage["unit"] or "step"
    progress(stage["step"] or 0, stage["of"] or 0, unit, stage["stage"], **metrics)
    return str(stage["stage"])


def _ended(document: Document) -> Document:
    """The document of a published submission; the failure of another."""
    if document["state"] == State.PUBLISHED:
        return document
    failure = document["failure"]
    if document["state"] != State.FAILED or not failure:
        raise Failure("refused", f"submission {document['id']} was {document['state']}")
    raise Failure.of(convert(FailureDocument, failure, code="internal_error", where="the answer"))


def run_results(arguments: argparse.Namespace) -> Document:
    return client_of(arguments).results(arguments.id)


def run_cancel(arguments: argparse.Namespace) -> Document:
    return client_of(arguments).cancel(arguments.id)


def run_leaderboard(arguments: argparse.Namespace) -> Document:
    check_track(arguments.track)
    return client_of(arguments).leaderboard(arguments.track, arguments.scale)


def show_submission(document: Document) -> str:
    """One submission with its stages."""
    lines = [f"{document['id']}  {document['name']}: {document['state']}", document["url"]]
    if document.get("waiting_for"):
        lines.append(f"waiting for {document['waiting_for']}")
    rows = []
    for stage in document["stages"]:
        done = f"{stage['step']:,} of {stage['of']:,} {stage['unit']}" if stage["of"] else ""
        rows.append((stage["stage"], stage["state"], done, _number(stage["seconds"], "{:.0f} s")))
    if rows:
        lines.append(table(("stage", "state", "progress", "time"), rows))
    if failure := document.get("failure"):
        place = ":".join(str(failure[key]) for key in ("shard", "line") if failure.get(key))
        lines.append(f"{place}: {failure['message']}" if place else failure["message"])
        lines.append(failure["next_step"])
    return "\n".join(lines)


def show_status(document: Document) -> str:
    """One submission, or a line for each of mine."""
    if "submissions" not in document:
        return show_submission(document)
    keys = ("id", "name", "track", "scale", "state", "created_at")
    rows = [[str(row[key]) for key in keys] for row in document["submissions"]]
    return table(keys, rows) if rows else "You have no submissions yet."


def show_results(document: Document) -> str:
    """The aggregates that are there, what was found in the data, then every task."""
    score = document["score"] or {}
    lines = [f"{document['id']}: {document['state']}"]
    lines += [
        f"{score['label'] if name == 'mean' else name.upper()} {value:.4f}"
        for name, value in score.items()
        if f"{name}_stderr" in score and value is not None
    ]
    scan = document.get("scan")  # not of a site of an older release
    if scan:
        leaked = ", ".join(scan["leaked_tasks"]) or "none"
        lines.append(f"tasks whose questions were found in the data: {leaked}")
    rows = []
    for label, task in document["tasks"].items():
        figures = task if isinstance(task, dict) else {"score": task}
        rows.append((label, _number(figures.get("score")), _number(figures.get("n"), "{:,}")))
    if rows:
        lines.append(table(("task", "score", "examples"), rows))
    return "\n".join(lines)


def show_leaderboard(document: Document) -> str:
    """The ranking of one track at one scale."""
    title = f"{document['track']} at {document['scale']}, metric {document['metric_version']}"
    rows = [
        (str(row["rank"]), row["name"], row["user"], row["score_label"], _number(row["score"]),
         _number(row["loss"]), str(row["id"]))
        for row in document["rows"]
    ]  # fmt: skip
    if not rows:
        return f"{title}\nNothing is published here yet."
    return title + "\n" + table(("rank", "name", "by", "score", "", "loss", "id"), rows)


def _number(value: Any, form: str = "{:.4f}") -> str:
    """A figure in a table, or a dash where there is none."""
    return "–" if value is None else form.format(value)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Columns as wide as their longest cell."""
    cells = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
