"""What `crucible doctor` finds: one `Check` a question about a machine or a site.

A check that matters is one without which Crucible must not start there; any other is a hint. This
module holds the form, and the questions that every machine is asked.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from email.utils import parsedate_to_datetime
from pathlib import Path

import msgspec

from submissions.failures import Failure

OLDEST, TOO_NEW = (3, 11), (3, 14)  # numpy 2.1.3 has no wheel for 3.14
LEAST_FREE = 2 * 10**9  # bytes: below this not even the smallest scale and its logs fit
CLOCK_LIMIT = 60.0  # seconds; S3 refuses signatures at 15 minutes, leases are shorter
ASK_SECONDS = 10.0  # to answer, for a server
STAMP = ".crucible-clock"  # a file that is made and removed to learn a file server's time


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one question. `next_step` is empty where nothing is to be done."""

    name: str
    ok: bool
    message: str
    next_step: str = ""
    matters: bool = True


class Diagnosis(msgspec.Struct, frozen=True):
    """All answers; `ok` unless one that matters is bad."""

    checks: list[Check]
    ok: bool


def diagnosis_of(checks: Iterable[Check]) -> Diagnosis:
    """The verdict over all checks, in their order."""
    found = list(checks)
    return Diagnosis(found, all(check.ok or not check.matters for check in found))


def asked(
    name: str, question: Callable[[], str], *, matters: bool = True, next_step: str = ""
) -> Check:
    """Runs one question: what it returns is the message, a `Failure` that it raises the fault.

    `next_step` replaces that of the failure.
    """
    try:
        return Check(name=name, ok=True, message=question(), matters=matters)
    except Failure as failure:
        return Check(
            name=name, ok=False, message=failure.message,
            next_step=next_step or failure.next_step, matters=matters,
        )  # fmt: skip


def rendered(diagnosis: Diagnosis) -> str:
    """One line a check, its next step below it where it is bad."""
    lines = []
    for check in diagnosis.checks:
        word = "fine" if check.ok else "WRONG" if check.matters else "note"
        lines.append(f"{word:<6} {check.name:<12} {check.message}")
        if not check.ok and check.next_step:
            lines.append(f"{'':<19} {check.next_step}")
    return "\n".join(lines)


def check_python() -> Check:
    """The version of Python."""
    here = sys.version_info[:2]
    said = f"Python {here[0]}.{here[1]}"
    if OLDEST <= here < TOO_NEW:
        return Check(name="python", ok=True, message=said)
    return Check(
        name="python", ok=False, message=f"{said} does not run Crucible",
        next_step="Install Python 3.11, 3.12 or 3.13 and run `make setup PYTHON=python3.12`.",
    )  # fmt: skip


def check_disk(folder: Path, needed: float = LEAST_FREE, matters: bool = True) -> Check:
    """Whether `folder` can be written and its disk has `needed` free bytes."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not os.access(there, os.W_OK):
        return Check(
            name="disk", ok=False, message=f"{there} cannot be written", matters=matters,
            next_step="Give the user that runs Crucible the right to write there.",
        )  # fmt: skip
    free = shutil.disk_usage(there).free
    return Check(
        name="disk",
        ok=free >= needed,
        message=f"{free / 1e9:.1f} GB free at {there}, {needed / 1e9:.1f} GB needed at least",
        next_step="" if free >= needed else "Free space, or choose a folder on another disk.",
        matters=matters,
    )


def check_server(server: str) -> list[Check]:
    """Whether a site answers, and how far this machine's clock is from its."""
    import requests  # not at every start of the command line

    address = server.rstrip("/") + "/health/"
    try:
        answer = requests.get(address, timeout=ASK_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        return [
            Check(
                name="server", ok=False,
                message=f"{server} does not answer ({type(error).__name__})",
                next_step="Check the address in CRUCIBLE_SERVER and that the site runs.",
            )
        ]  # fmt: skip
    ok = answer.status_code == requests.codes.ok
    checks = [
        Check(
            name="server", ok=ok, message=f"{server} answers {answer.status_code}",
            next_step="" if ok else "Ask an organiser to run `crucible doctor site`.",
        )
    ]  # fmt: skip
    date = answer.headers.get("Date", "")
    try:
        told = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return checks
    return [*checks, clock_check(time.time() - told, server)]


def check_folder_clock(folder: Path) -> Check:
    """How far this machine's clock is from that of the server that holds `folder`.

    Jobs and site meet in files: a lease is judged by the times on them.
    """
    stamp = folder / f"{STAMP}-{os.getpid()}"
    try:
        stamp.touch()
        told = stamp.stat().st_mtime
        here = time.time()
        stamp.unlink()
    except OSError as error:
        return Check(
            name="clock", ok=False, message=f"{folder}: {error.strerror}",
            next_step="Name a folder that this machine may write, with --work.",
        )  # fmt: skip
    return clock_check(here - told, str(folder.absolute()))


def clock_check(ahead: float, other: str) -> Check:
    """A clock that is `ahead` seconds (negative: behind) of `other`'s."""
    ok = abs(ahead) <= CLOCK_LIMIT
    if ok:
        message = f"within {CLOCK_LIMIT:.0f} s of that of {other}"
    else:
        word = "ahead of" if ahead > 0 else "behind"
        message = f"{abs(ahead):,.0f} s {word} that of {other}"
    step = "" if ok else "Set the time by NTP (chrony or systemd-timesyncd) on both machines."
    return Check(name="clock", ok=ok, message=message, next_step=step)


def check_store(uri: str) -> Check:
    """Whether a dataset in S3 can be listed and its first shard read."""

    def question() -> str:
        from submissions.s3 import s3_shards_at

        shard = next(s3_shards_at(uri), None)
        if shard is None:
            raise Failure("dataset_empty", f"{uri} holds no shard")
        return f"{uri} can be listed"

    return asked("store", question)
