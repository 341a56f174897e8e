"""`make deploylint`: asks each file's own program whether it is right. None needs a daemon.

What this cannot know: whether the images build, and whether containers reach each other.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent
SECRETS = ("POSTGRES_PASSWORD", "CRUCIBLE_RAY_TOKEN", "CRUCIBLE_SECRET_KEY")


def commands(programs: Path, environment_file: Path) -> list[list[str]]:
    """Each a command line that ends with 0 if its file is right."""
    compose = str(DEPLOY / "compose.yaml")
    return [
        [f"{programs}/hadolint", "--failure-threshold", "warning",
         *(str(path) for path in sorted(DEPLOY.glob("*.Containerfile")))],
        [f"{programs}/docker-compose", "--env-file", str(environment_file), "-f", compose,
         "config", "-q"],
        [f"{programs}/compose-lint", compose],
        [f"{programs}/caddy", "validate", "--adapter", "caddyfile", "--config",
         str(DEPLOY / "Caddyfile")],
    ]  # fmt: skip


def main() -> int:
    """The number of programs that complained."""
    programs = Path(sys.argv[1])
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        filled = (DEPLOY / "crucible.env.example").read_text()
        for name in SECRETS:
            filled = filled.replace(f"\n{name}=\n", f"\n{name}=for-this-check\n")
        environment_file = Path(folder) / "crucible.env"
        environment_file.write_text(filled)
        for command in commands(programs, environment_file):
            done = subprocess.run(
                command, capture_output=True, text=True, cwd=folder, env=os.environ, check=False
            )
            name = Path(command[0]).name
            print(f"{'fine ' if done.returncode == 0 else 'WRONG'}  {name}")
            if done.returncode:
                print(done.stdout + done.stderr)
                wrong += 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
