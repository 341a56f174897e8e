"""Stage `profile`: what is in a dataset, beside the chain, which never waits for it."""

from __future__ import annotations

import sys

from submissions.hashing import file_sha256
from submissions.job import Artifact, Job, StageResult, run_stage
from submissions.profile.kept import AGAINST, SAMPLE, SKETCH
from submissions.profile.profiling import Against, profile_dataset
from submissions.profile.results import Profile


def stage(job: Job) -> StageResult[Profile]:
    """`dataset` to `sample` and `sketch`; inputs `against NAME` are sketches of other datasets.

    One process: what runs beside training shall not take its cores.
    """
    against = [
        Against(name.removeprefix(AGAINST), artifact.path)
        for name, artifact in sorted(job.inputs.items())
        if name.startswith(AGAINST)
    ]
    found = profile_dataset(
        [job.inputs["dataset"].path],
        job.output,
        tokenizer=job.parameters["tokenizer"],
        against=against,
        progress=job.progress,
    )
    outputs = {
        name: Artifact((job.output / file).as_uri(), file_sha256(job.output / file))
        for name, file in (("sample", SAMPLE), ("sketch", SKETCH))
    }
    return StageResult(outputs, found)


if __name__ == "__main__":
    sys.exit(run_stage(stage))
