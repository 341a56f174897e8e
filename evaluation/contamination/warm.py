"""Compiles the scanner once, and copies what was compiled to where a job in a cage may read it.

`python -m evaluation.contamination.warm FOLDER`. A job in a cage cannot write where compiled code
is kept, and must not: the next job would run what it left there. So this runs before it, outside,
on texts of ours, and the job gets a copy of its own.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from evaluation.contamination.compiling import CACHE, cache_folder, is_kept
from evaluation.contamination.index import build_index
from evaluation.contamination.scan import scan_dataset
from evaluation.contamination.scanner import scan_lines
from evaluation.contamination.verify import judge
from evaluation.suite import load_suite

BELOW = Path(".cache") / CACHE  # of the folder that is named: what XDG_CACHE_HOME would hold

TASKS = Path(__file__).resolve().parent.parent / "smoke_tasks"


def main() -> int:
    """Always 0: a job without the copy compiles for itself."""
    (folder,) = sys.argv[1:]
    if not (is_kept(scan_lines) and is_kept(judge)):
        compile_all()
    kept = cache_folder()
    shutil.copytree(kept, Path(folder) / BELOW / kept.name, symlinks=False)
    return 0


def compile_all() -> None:
    """Scans the questions of the bundled tasks, which calls every compiled function."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        lines = [line for path in sorted(TASKS.glob("*.jsonl")) for line in path.open()]
        documents = [json.dumps({"text": _text(json.loads(line))}) for line in lines]
        (folder / "data" / "a.jsonl").write_text("\n".join(documents) + "\n")
        index = build_index(load_suite("smoke"), None, folder / "index")
        scan_dataset([folder / "data"], index.folder, folder / "report.json")


def _text(value: object) -> str:
    """Every string in a row of a task, one after the other."""
    if isinstance(value, dict):
        return " ".join(map(_text, value.values()))
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return value if isinstance(value, str) else ""


if __name__ == "__main__":
    sys.exit(main())
