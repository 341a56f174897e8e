"""A curation on a real Ray cluster, with a step of one's own, writes the same bytes as here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from submissions.curation.run import curate
from submissions.ray_executor import RayCluster
from tests.submissions.curation.conftest import bytes_of, prose, write_lines

RECIPE = '[[steps]]\nuse = "even"\n[[steps]]\nuse = "exact-duplicates"\n'
OWN = '''
from submissions.curation.step import Document, Step, step

@step("even")
class Even(Step, frozen=True):
    """Keeps documents on even lines."""

    def apply(self, document: Document) -> str | None:
        return "odd" if document.line % 2 else None
'''


@pytest.fixture(scope="module")
def placement() -> Iterator[RayCluster]:
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield RayCluster(made.address)
    ray.shutdown()
    made.shutdown()


def test_a_cluster_writes_the_same_bytes(tmp_path, placement):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    for shard in range(3):
        lines = [{"text": prose(shard + number)} for number in range(8)]
        write_lines(tmp_path / "pool" / f"{shard}.jsonl", lines)
    outputs = []
    for name, where in (("here", None), ("there", placement)):
        report = curate(tmp_path / "recipe.toml", [tmp_path / "pool"], tmp_path / name,
                        own=[tmp_path / "own.py"], placement=where)  # fmt: skip
        assert [step["dropped"] for step in report["steps"]] == [12, 3]
        outputs.append(bytes_of(tmp_path / name))
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 3
