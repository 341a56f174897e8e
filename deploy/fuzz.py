"""`make fuzz`: a site of its own, and schemathesis against every route of its API.

The site runs as `make up` starts it, in a temporary home. Each role gets an equal part of the time,
FUZZ_SECONDS (600), in runs with the seeds 1, 2, 3, … An answer of 500 or above, a run without a
request, or a site that no longer answers, fails. Tokens have every scope that their role may have.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / ".venv" / "bin" / "python"
FUZZER = ROOT / ".venv-fuzz" / "bin" / "schemathesis"
ROLES = ("visitor", "participant", "reviewer", "organiser", "administrator")
EXAMPLES = 60  # of one operation in one run
START = 180.0  # seconds until the site answers
# Makes the users of all roles and prints a token of each; roles and scopes where there are any.
PEOPLE = """
import inspect
from django.contrib.auth.models import Group, User
from crucible.accounts import services
for role in {roles}:
    user = User.objects.create_user("fuzz-" + role, is_staff=role != "participant")
    user.is_superuser = role == "administrator"
    user.save()
    user.groups.set(Group.objects.filter(name__iexact=role))
    more = {{}}
    if "scopes" in inspect.signature(services.token_create).parameters:
        from crucible.accounts.scopes import scopes_offered
        more = {{"scopes": list(scopes_offered(user)), "days": 1}}
    print(role, services.token_create(user=user, label="fuzz", **more)[1])
"""


def main() -> int:
    """0: no answer was 500 or above; 1: one was, and the fuzzer printed how to ask for it again."""
    seconds = float(os.environ.get("FUZZ_SECONDS", "600"))
    home = Path(tempfile.mkdtemp(prefix="crucible-fuzz-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CRUCIBLE_", "DATABASE_"))}
    environment = kept | {"CRUCIBLE_HOME": str(home), "CRUCIBLE_PORT": str(port),
                          "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}"}  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    log = (home / "fuzz.log").open("wb")
    command = [str(SITE), "-m", "crucible.supervisor", "up"]
    site = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        _wait_for(address, site)
        tokens = _people(environment)
        return _fuzz(address, tokens, seconds)
    finally:
        site.send_signal(signal.SIGINT)
        site.wait(timeout=60)
        shutil.rmtree(home, ignore_errors=True)


def _wait_for(address: str, site: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + START
    while not _answers(address):
        if time.monotonic() > ends or site.poll() is not None:
            raise SystemExit("the site does not start: try `make up`")
        time.sleep(1)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health/", timeout=10) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def _people(environment: dict[str, str]) -> dict[str, str]:
    """A token by role; a visitor has none that the site knows."""
    code = PEOPLE.format(roles=ROLES[1:])
    command = [str(SITE), str(ROOT / "manage.py"), "shell", "-v", "0", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    tokens = dict(line.split() for line in done.stdout.splitlines() if line.strip())
    return {"visitor": secrets.token_hex(8)} | tokens


def _fuzz(address: str, tokens: dict[str, str], seconds: float) -> int:
    """Runs until the time is over, each role once at least."""
    ends, most, seed, failed = time.monotonic() + seconds, seconds / len(ROLES), 0, 0
    while seed < len(ROLES) or time.monotonic() < ends:
        role = ROLES[seed % len(ROLES)]
        seed += 1
        print(f"-- {role}, seed {seed}, {most:.0f} s at most", flush=True)
        command = [
            str(FUZZER), "run", f"{address}/api/openapi.json", "--seed", str(seed),
            "--checks", "not_a_server_error", "--max-examples", str(EXAMPLES),
            "--header", f"Authorization: Bearer {tokens[role]}", "--mode", "all",
            "--request-timeout", "30", "--max-time", f"{most:.0f}", "--no-color",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tempfile.gettempdir(), stdout=subprocess.PIPE, text=True)
        print(done.stdout, flush=True)
        failed += done.returncode != 0 or "Empty test suite" in done.stdout
        if not _answers(address):
            print("the site no longer answers")
            return 1
    print(f"{seed} runs, seeds 1 to {seed}: " + ("no 500" if not failed else f"{failed} failed"))
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
