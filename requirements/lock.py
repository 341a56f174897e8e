"""Writes lock-cpu.txt and lock-gpu.txt: every package of an installation, with its hashes.

    make lock

Both name the same versions, those of constraints.txt. The GPU lock is what the registry resolves:
its torch is the CUDA build, which brings nvidia-* and triton along. The CPU lock is the same
without torch and without what only the CUDA build needs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
UV = str(Path(sys.executable).with_name("uv"))
# The set is equal for 3.11, 3.12 and 3.13; a lock that differed could not be installed on all.
PYTHONS = ("3.11", "3.12", "3.13")
CUDA_ONLY = ("nvidia-", "cuda-", "triton==")
HEAD = "# Written by `make lock` from requirements.txt, compute.txt and compute-nodeps.txt.\n"
CPU_HEAD = HEAD + (
    "# torch is missing on purpose: its build for processors lies on an index of its own, under\n"
    "# another hash than the registry's CUDA build. `make setup` installs it after these.\n"
)


def main() -> None:
    """Resolves for each Python and writes both files."""
    resolved = [_resolve(python) for python in PYTHONS]
    if any(packages != resolved[0] for packages in resolved):
        sys.exit(f"the packages differ between Python {', '.join(PYTHONS)}: no common lock")
    (HERE / "lock-gpu.txt").write_text(HEAD + "".join(resolved[0]))
    cpu = [one for one in resolved[0] if not one.startswith((*CUDA_ONLY, "torch=="))]
    (HERE / "lock-cpu.txt").write_text(CPU_HEAD + "".join(cpu))


def _resolve(python: str) -> list[str]:
    """Sorted entries, each a pinned package with its hashes, of both kinds of requirements."""
    found = _compile(python, "../requirements.txt", "compute.txt")
    return sorted(found + _compile(python, "--no-deps", "compute-nodeps.txt"))


def _compile(python: str, *arguments: str) -> list[str]:
    command = [
        UV, "pip", "compile", "--quiet", "--no-config", "--generate-hashes", "--no-annotate",
        "--no-header", "--constraint", "constraints.txt", "--python-version", python,
        "--python-platform", "x86_64-manylinux_2_28", *arguments,
    ]  # fmt: skip
    text = subprocess.run(command, cwd=HERE, check=True, capture_output=True, text=True).stdout
    entries: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.startswith((" ", "\t")):
            entries[-1] += line
        else:
            entries.append(line)
    return entries


if __name__ == "__main__":
    main()
