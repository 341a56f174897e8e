"""Stage `scan`: looks for the suite's questions in a dataset; its report is no verdict."""

from __future__ import annotations

import sys
from pathlib import Path

from evaluation.contamination.index import build_index
from evaluation.contamination.results import ScanResult
from evaluation.contamination.scan import scan_dataset
from evaluation.suite import load_suite
from submissions.codec import convert
from submissions.executor import LocalProcesses, cores
from submissions.hashing import file_sha256
from submissions.job import Artifact, Job, StageResult, run_stage

INDEX, REPORT = "index", "report.json"


def stage(job: Job) -> StageResult[ScanResult]:
    """`dataset` to `report`; parameters `suite` and `data`, the folder of task files or null.

    Tasks whose file is not there are listed as `missing_tasks`. The dataset's hash is not computed
    again: the stage beside this one, which tokenises, refuses another dataset.
    """
    data = job.parameters.get("data")
    index = build_index(
        load_suite(job.parameters["suite"]),
        Path(data) if data else None,
        job.output / INDEX,
        progress=job.progress,
    )
    dataset = job.inputs["dataset"].path
    output = job.output / REPORT
    document = scan_dataset(
        [dataset], index.folder, output, job.progress, LocalProcesses(cores()), paraphrases=True
    )
    figures = convert(ScanResult, document, code="internal_error", where=REPORT)
    return StageResult({"report": Artifact(output.as_uri(), file_sha256(output))}, figures)


if __name__ == "__main__":
    sys.exit(run_stage(stage))
