"""The stage as a job: from job.json to result.json, compared with other datasets."""

from __future__ import annotations

from pathlib import Path

from submissions.codec import read
from submissions.hashing import file_sha256
from submissions.job import ResultDocument, run_stage, write_json_atomically
from submissions.profile.kept import AGAINST, SKETCH, read_sample, read_sketches
from submissions.profile.results import Profile
from submissions.profile.stage import stage
from tests.submissions.profile.conftest import prose


def run(folder: Path, inputs: dict[str, Path]) -> ResultDocument:
    """Runs the stage in a job folder; it must succeed."""
    folder.mkdir()
    document = {
        "key": "1-profile-a1", "stage": "profile", "parameters": {"tokenizer": "smoke"},
        "inputs": {name: {"uri": path.as_uri(), "sha256": ""} for name, path in inputs.items()},
        "output": (folder / "output").as_uri(),
    }  # fmt: skip
    write_json_atomically(folder / "job.json", document)
    assert run_stage(stage, [str(folder)]) == 0
    return read(ResultDocument, folder / "result.json", code="internal_error")


def test_the_stage_hands_on_figures_and_files(write, tmp_path):
    pool = write([prose(n) for n in range(40)], name="pool")
    first = run(tmp_path / "pool-job", {"dataset": pool})
    data = write([prose(n) for n in range(20, 60)], [prose(20)])
    sketch = tmp_path / "pool-job" / "output" / SKETCH
    result = run(tmp_path / "job", {"dataset": data, f"{AGAINST}the pool": sketch})
    figures = result.figures_as(Profile)
    assert (figures.documents, figures.duplicates.exact) == (41, 1)
    (overlap,) = figures.against
    assert (overlap.name, overlap.exact, overlap.exact_error) == ("the pool", 0.5, 0.0)
    assert abs(overlap.jaccard - 1 / 3) < 1e-5
    assert figures.sources[0].tokens > figures.bytes / 10  # by the bundled tokenizer
    assert result.outputs.keys() == {"sample", "sketch"}
    for artifact in result.outputs.values():
        assert artifact.verified(file_sha256)
    assert len(read_sample(result.outputs["sample"].path).texts) == 40
    assert len(read_sketches(result.outputs["sketch"].path).hashes) == 40
    assert {path.name for path in (tmp_path / "job" / "output").iterdir()} == {
        "profile.json", "sample.json", "sketch.npz",
    }  # fmt: skip
    assert first.figures["against"] == []
