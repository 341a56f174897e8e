"""`make demo`: the story of curation, through the same interfaces as everybody's.

Builds a pool of HTML pages in WARC files, makes five datasets of it with `crucible curate`, each
one step further than the one before, starts the site, submits every dataset under two seeds with
the `crucible` command, waits until all are published, prints the leaderboard and says what each
step was worth. The site is left running; `make down` stops it.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from evaluation.student import quantile

ROOT = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("CRUCIBLE_HOME") or ROOT / "var").resolve()
SERVER = f"http://127.0.0.1:{os.environ.get('CRUCIBLE_PORT', '8000')}"
LOGINS = HOME / "demo-logins.json"
CRUCIBLE = str(Path(sys.executable).with_name("crucible"))
RECIPES = ROOT / "examples" / "story"
# The entries in the order of the story: name, what its recipe reads, what it does.
ENTRIES = (
    ("raw", "pool", "All text of the pages: menus, banners and spam included."),
    ("extraction", "pool", "The main content of the pages alone."),
    ("heuristics", "extraction", "English pages and paragraphs that read like prose."),
    ("deduplication", "heuristics", "Every document and paragraph once."),
    ("classifier", "deduplication", "What is most like Python's own reference documentation."),
)
SCALE = "cpu-300k"
SEEDS = (124, 125)


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
    environment.setdefault("CRUCIBLE_SCALES", f"{SCALE} smoke")
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
    """The folder of each entry, made the first time by its recipe from the one before."""
    folder = HOME / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "pool").exists():
        reference = str(folder / "reference.jsonl")
        print(run(sys.executable, "examples/build_pool.py", str(folder / "pool"),
                  "--reference", reference).strip())  # fmt: skip
    for name, source, _ in ENTRIES:
        if (folder / name).exists():
            continue
        recipe = folder / f"{name}.toml"  # beside the files that it names
        recipe.write_text((RECIPES / recipe.name).read_text())
        print(f"-- {name}: {RECIPES.name}/{recipe.name}")
        command = ["curate", str(recipe), "--input", str(folder / source), "--output",
                   str(folder / name), "--steps", "examples/prose_paragraphs.py"]  # fmt: skip
        print(run(CRUCIBLE, *command))
    return {name: folder / name for name, _, _ in ENTRIES}


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
                print(f"   {now}  {document['name']:<20} {document['state']}{share}", flush=True)
            if document["state"] in ("failed", "cancelled"):
                sys.exit(f"{document['name']}: {document['failure']}")
        time.sleep(3)


def progress_of(document: dict[str, Any]) -> tuple[int, dict[str, float]]:
    """Tenths of the running stage that are done, and its figures."""
    for stage in document["stages"]:
        if stage["state"] == "running" and stage["of"]:
            return int(10 * stage["step"] / stage["of"]), stage["metrics"]
    return 0, {}


class Step(NamedTuple):
    """What one step was worth, in points of the centred score, and the half-width at 95 %."""

    name: str
    score: float
    gain: float
    half: float

    @property
    def verdict(self) -> str:
        """In words."""
        if abs(self.gain) <= self.half:
            return "cannot be told from nothing"
        return "paid" if self.gain > 0 else "did harm"


def steps_of(scores: dict[str, list[float]]) -> list[Step]:
    """Each entry against the one before, by the spread between seeds pooled over all entries.

    Questions are the same for all entries, so only the seeds' chance is in the intervals: they say
    whether this suite, trained again, would show the difference.
    """
    count = len(next(iter(scores.values())))
    means = {name: sum(one) / count for name, one in scores.items()}
    squares = sum((x - means[name]) ** 2 for name, one in scores.items() for x in one)
    df = len(scores) * (count - 1)
    error = (2 * squares / df / count) ** 0.5  # of the difference of two means
    half = quantile(0.975, df) * error
    names = list(scores)
    return [
        Step(name, 100 * means[name], 100 * (means[name] - means[before]), 100 * half)
        for before, name in itertools.pairwise(names)
    ]


def story(scores: dict[str, list[float]]) -> str:
    """The steps as a table."""
    first, *_ = scores
    start = 100 * sum(scores[first]) / len(scores[first])
    lines = [f"   {first:<14} {start:6.1f}"]
    for step in steps_of(scores):
        worth = f"{step.gain:+5.1f} ± {step.half:.1f} points"
        lines.append(f"   {step.name:<14} {step.score:6.1f}   {worth}   {step.verdict}")
    return "\n".join(lines)


def main() -> None:
    """The whole demonstration."""
    started = time.monotonic()
    say("Starting PostgreSQL, the site, the worker and the reconciler")
    start_site()
    accounts = logins()
    token = run(
        sys.executable, "manage.py", "create_token", "participant", "--label", "demo"
    ).strip()
    say("Building the pool and curating it, step by step")
    folders = datasets()
    ids: dict[int, str] = {}
    for seed in SEEDS:
        for name, _, description in ENTRIES:
            document = crucible(
                token, "submit", str(folders[name]), "--track", "filtering", "--scale", SCALE,
                "--name", f"{name} ({seed})", "--description", description, "--seed", str(seed),
            )  # fmt: skip
            ids[document["id"]] = name
    say(f"Validating, tokenising, training, evaluating and scoring {len(ids)} submissions")
    wait_for(token, list(ids))
    arguments = ("leaderboard", "--track", "filtering", "--scale", SCALE)
    board = crucible(token, *arguments)
    say(f"The leaderboard after {time.monotonic() - started:.0f} s")
    print(run(CRUCIBLE, *arguments, CRUCIBLE_SERVER=SERVER))
    scores: dict[str, list[float]] = {name: [] for name, _, _ in ENTRIES}
    for row in board["rows"]:
        if row["id"] in ids:
            scores[ids[row["id"]]].append(row["score"])
    say(f"What each step was worth, over {len(SEEDS)} seeds, with 95 % intervals")
    print(story(scores))
    print(f"Look at it: {SERVER}/leaderboard/filtering/{SCALE}/")
    for name, password in accounts.items():
        print(f"Log in as {name} with the password {password}")
    print("The site keeps running; `make down` stops it.")


if __name__ == "__main__":
    main()
