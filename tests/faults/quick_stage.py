"""A stage that takes a second and trains nothing, but keeps count of what is really done.

Every process writes lines to the ledger, a file outside of what the faults fill or kill: `launch`
when it comes up, `body` when the stage begins, `step` for each of its steps, `done` after its
result is on the disk. Steps already done are not done again, as in the real stages.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from submissions.codec import to_json
from submissions.hashing import file_sha256
from submissions.job import RESULT, Artifact, Job, StageResult, run_stage
from tests.profile_example import FILES, example_profile, write_example

STEPS, NAP = 5, 0.3  # seconds a step
HASH = "ab" * 32
SCORE = {
    "metric_version": "v2", "label": "SMOKE", "core": None, "core_stderr": None, "extended": None,
    "extended_stderr": None, "mmlu": None, "mmlu_stderr": None, "smoke": 0.125,
    "smoke_stderr": 0.02, "mean": None, "mean_stderr": None, "intervals": {}, "missing_tasks": [],
    "categories": {}, "tasks": {},
}  # fmt: skip
FIGURES: dict[str, dict[str, Any]] = {
    "validate": {"documents": 1, "manifest_sha256": HASH},
    "scan": {"index_hash": HASH, "documents": 1, "bytes": 22, "seconds": 0.1},
    "profile": to_json(example_profile()),
    "tokenize": {"tokenizer_sha256": HASH, "tokens": 6, "unique_tokens": 5, "epochs": 0.75},
    "train": {"engine": "composer", "weights_sha256": HASH, "flops": 1e12, "loss": 3.25,
              "loss_curve": [[1, 8.0], [50, 5.0]]},
    "evaluate": {"engine": "native", "suite_hash": HASH},
    "score": SCORE,
}  # fmt: skip
OUTPUTS = {
    "validate": ["dataset"], "scan": ["report"], "profile": ["sample", "sketch"],
    "tokenize": ["tokens"], "train": ["model"],
    "evaluate": ["results", "examples"], "score": ["score"],
}  # fmt: skip
REPORT = {"index_hash": HASH, "documents": 1, "bytes": 22, "seconds": 0.1, "examples": [],
          "tasks": {}, "findings": []}  # fmt: skip


def record(home: Path, key: str, what: str) -> None:
    """One line, appended in one write, to the ledger that `home/ledger` names."""
    line = {"time": time.time(), "key": key, "pid": os.getpid(), "what": what}
    descriptor = os.open((home / "ledger").read_text(), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (json.dumps(line) + "\n").encode())
    os.close(descriptor)


def stage(job: Job) -> StageResult:
    """Does the steps that are left and hands on what the next stage and the score need."""
    home = job.directory.parent.parent
    record(home, job.key, "body")
    done = job.output / "steps"
    first = int(done.read_text() or 0) if done.exists() else 0
    for step in range(first, STEPS):
        job.progress(step + 1, STEPS, "steps")
        record(home, job.key, "step")
        time.sleep(NAP)
        partial = done.with_suffix(".partial")
        partial.write_text(str(step + 1))
        partial.rename(done)
    figures = FIGURES[job.stage]
    if job.stage == "train":
        figures = figures | {"recipe_sha256": job.hashes["recipe"]}
    made, sha256 = job.output, HASH
    if job.stage == "scan":
        made = job.output / "report.json"
        made.write_text(json.dumps(REPORT))
        sha256 = file_sha256(made)  # the site looks at it
    outputs = {name: Artifact(made.as_uri(), sha256) for name in OUTPUTS[job.stage]}
    if job.stage == "profile":
        write_example(job.output)
        outputs = {
            name: Artifact((made / file).as_uri(), file_sha256(made / file))
            for name, file in FILES.items()
        }
    return StageResult(outputs, figures)


def main() -> int:
    """As every stage's, with lines for the ledger before and after."""
    folder = Path(sys.argv[1])
    home = folder.parent.parent
    record(home, folder.name, "launch")
    finished_before = (folder / RESULT).exists()
    code = run_stage(stage)
    if code == 0 and not finished_before and (folder / RESULT).exists():
        record(home, folder.name, "done")
    return code


if __name__ == "__main__":
    sys.exit(main())
