"""`make demo`: two submissions from dataset to score, through the same interfaces as everybody's.

Builds a toy pool of real text, curates it, starts the site, submits both datasets with the
`crucible` command, waits until both are published and prints the leaderboard. The site is left
running; `make down` stops it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("CRUCIBLE_HOME") or ROOT / "var").resolve()
SERVER = f"http://127.0.0.1:{os.environ.get('CRUCIBLE_PORT', '8000')}"
LOGINS = HOME / "demo-logins.json"
CRUCIBLE = str(Path(sys.executable).with_name("crucible"))
DESCRIPTIONS = {
    "raw": "The toy pool unchanged: documentation, and the noise of a web crawl.",
    "curated": "The toy pool after examples/curate.py: heuristics and deduplication.",
}


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def run(*command: str, **environment: str) -> str:
    """Runs a command, shows what it says on standard error, returns its standard output."""
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed with {done.returncode}\n{done.stdout}")
    return done.stdout


def start_site() -> None:
    """Starts the site in the background unless it runs; its output goes to supervisor.log."""
    (HOME / "log").mkdir(parents=True, exist_ok=True)
    path = HOME / "log" / "supervisor.log"
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}"}
    with path.open("ab") as log:
        before = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "crucible.supervisor", "up"], cwd=ROOT, env=environment,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    for _ in range(480):
        said = path.read_bytes()[before:].decode()
        if "ready at" in said or "already running" in said:
            return
        if process.poll() is not None:
            break
        time.sleep(0.25)
    sys.exit(f"the site did not start; see {HOME / 'log'}\n{said}")


def logins() -> dict[str, str]:
    """Names and passwords of the demo's two accounts, made once and kept for the owner."""
    if LOGINS.exists():
        return json.loads(LOGINS.read_text())
    made = {
        "organiser": run(
            sys.executable, "manage.py", "create_user", "organiser", "--role", "administrator"
        ),
        "participant": run(sys.executable, "manage.py", "create_user", "participant"),
    }
    made = {name: password.strip() for name, password in made.items()}
    LOGINS.touch(mode=0o600)
    LOGINS.write_text(json.dumps(made))
    return made


def datasets() -> dict[str, Path]:
    """The two datasets, built the first time."""
    folders = {"raw": HOME / "demo" / "raw", "curated": HOME / "demo" / "curated"}
    if not folders["raw"].exists():
        run(sys.executable, "examples/build_pool.py", str(folders["raw"]))
    if not folders["curated"].exists():
        print(
            run(sys.executable, "examples/curate.py", str(folders["raw"]), str(folders["curated"]))
        )
    return folders


def crucible(token: str, *arguments: str) -> dict[str, Any]:
    """One `crucible` command, by its JSON."""
    output = run(CRUCIBLE, *arguments, "--json", CRUCIBLE_TOKEN=token, CRUCIBLE_SERVER=SERVER)
    return json.loads(output)


def wait_for(token: str, ids: list[int]) -> None:
    """Prints a line whenever a submission enters a stage or is a tenth further in it."""
    shown: dict[int, tuple[str, int]] = {}
    while len(ids) > sum(state == "published" for state, _ in shown.values()):
        for number in ids:
            document = crucible(token, "status", str(number))
            tenths, metrics = progress_of(document)
            if (document["state"], tenths) != shown.get(number):
                shown[number] = (document["state"], tenths)
                loss = f", loss {metrics['loss']:.2f}" if "loss" in metrics else ""
                share = f" {10 * tenths} %{loss}" if tenths else ""
                now = time.strftime("%H:%M:%S")
                print(f"   {now}  {document['name']:<8} {document['state']}{share}", flush=True)
            if document["state"] in ("failed", "cancelled"):
                sys.exit(f"{document['name']}: {document['failure']}")
        time.sleep(3)


def progress_of(document: dict[str, Any]) -> tuple[int, dict[str, float]]:
    """Tenths of the running stage that are done, and its figures."""
    for stage in document["stages"]:
        if stage["state"] == "running" and stage["of"]:
            return int(10 * stage["step"] / stage["of"]), stage["metrics"]
    return 0, {}


def verdict(rows: list[dict[str, Any]], ids: list[int]) -> str:
    """Says whether curation paid, in points and in standard errors of the difference."""
    raw, curated = (next(row for row in rows if row["id"] == number) for number in ids)
    gap = curated["score"] - raw["score"]
    error = (raw["stderr"] ** 2 + curated["stderr"] ** 2) ** 0.5
    winner = "curated beats raw" if gap > 0 else "curated does NOT beat raw"
    return f"{winner}: {100 * gap:+.1f} points, {gap / error:+.1f} standard errors"


def main() -> None:
    """The whole demonstration."""
    started = time.monotonic()
    say("Starting PostgreSQL, the site, the worker and the reconciler")
    start_site()
    accounts = logins()
    token = run(
        sys.executable, "manage.py", "create_token", "participant", "--label", "demo"
    ).strip()
    say("Building the two datasets")
    folders = datasets()
    ids = []
    for name, folder in folders.items():
        say(f"Checking and submitting {name}")
        report = crucible(token, "check", str(folder), "--track", "filtering", "--scale", "smoke")
        print(f"   {report['documents']:,} documents, about {report['tokens_estimate']:,} tokens")
        document = crucible(
            token, "submit", str(folder), "--track", "filtering", "--scale", "smoke",
            "--name", name, "--description", DESCRIPTIONS[name],
        )  # fmt: skip
        ids.append(document["id"])
    say("Validating, tokenising, training, evaluating and scoring both")
    wait_for(token, ids)
    arguments = ("leaderboard", "--track", "filtering", "--scale", "smoke")
    board = crucible(token, *arguments)
    say(f"The leaderboard after {time.monotonic() - started:.0f} s")
    print(run(CRUCIBLE, *arguments, CRUCIBLE_SERVER=SERVER))
    print(verdict(board["rows"], ids))
    print(f"Look at it: {SERVER}/leaderboard/filtering/smoke/")
    for name, password in accounts.items():
        print(f"Log in as {name} with the password {password}")
    print("The site keeps running; `make down` stops it.")


if __name__ == "__main__":
    main()
