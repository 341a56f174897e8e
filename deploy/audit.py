"""`make audit`: asks a public database for known vulnerabilities of every pinned package.

pip-audit ends with 0 and "No known vulnerabilities found" even if the database cannot be reached or
does not know a package. So its JSON is read, and it is also asked for a package with a well-known
vulnerability: if the answer does not name one, no other answer counts.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "requirements" / "constraints.txt"
CONTROL = "jinja2==2.4.1"  # CVE-2014-1402 and others; never installed
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)")
CLEAN, VULNERABLE, NO_ANSWER = 0, 1, 3
SHOWN = 5  # names of packages without an answer


@dataclass
class Verdict:
    """What came out: an exit code, and the lines that say why."""

    code: int
    lines: list[str] = field(default_factory=list)


def pins_of(text: str) -> list[str]:
    """`name==version` of each line that pins one; hashes, comments and options are left out."""
    found = (PIN.match(line.strip()) for line in text.splitlines())
    return [f"{match[1]}=={match[2]}" for match in found if match]


def verdict_of(
    pins: list[str], control: dict[str, Any] | None, told: dict[str, Any] | None
) -> Verdict:
    """From pip-audit's two documents, of the control and of the pins; None: it gave none."""
    if not _tells(control):
        return Verdict(NO_ANSWER, [
            f"no answer: the database does not tell what is known of {CONTROL}, so it cannot be "
            "reached or is not what it should be. Nothing was checked; this is no pass.",
        ])  # fmt: skip
    entries = (told or {}).get("dependencies", [])
    lines = [
        f"{entry['name']} {entry['version']}: {problem['id']} (repaired in "
        f"{', '.join(problem.get('fix_versions', [])) or 'no version yet'})"
        for entry in entries
        for problem in entry.get("vulns", [])
    ]
    asked = {_plain(pin.partition("==")[0]) for pin in pins}
    silent = sorted(asked - {_plain(entry["name"]) for entry in entries if "vulns" in entry})
    if silent:
        more = " …" if len(silent) > SHOWN else ""
        lines.append(
            f"no answer for {len(silent)} of {len(asked)} packages: "
            f"{', '.join(silent[:SHOWN])}{more}. This is no pass."
        )
    if any(entry.get("vulns") for entry in entries):
        return Verdict(VULNERABLE, lines)
    if silent:
        return Verdict(NO_ANSWER, lines)
    return Verdict(CLEAN, [f"no known vulnerability in {len(asked)} packages"])


def ask(pins: list[str]) -> dict[str, Any] | None:
    """pip-audit's JSON about these pins, none of which is installed; None where it gives none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pins.txt"
        path.write_text("\n".join(pins) + "\n")
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(path), "--no-deps",
                   "--disable-pip", "--format", "json", "--progress-spinner", "off"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        document: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        print(*done.stderr.strip().splitlines()[-1:], file=sys.stderr)
        return None
    return document


def main() -> int:
    """0: every package was looked up and nothing is known; 1: something is; 3: no answer."""
    pins = pins_of(PINS.read_text())
    control = ask([CONTROL])
    verdict = verdict_of(pins, control, ask(pins) if _tells(control) else None)
    print(*verdict.lines, sep="\n")
    return verdict.code


def _tells(control: dict[str, Any] | None) -> bool:
    """Whether the database knows what everybody knows."""
    return any(entry.get("vulns") for entry in (control or {}).get("dependencies", []))


def _plain(name: str) -> str:
    """Names of packages as the index compares them."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
