"""Our results in DCLM's schema: its keys, its aggregates, and back again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from evaluation.dclm_json import write_dclm_json
from evaluation.score import score_file
from evaluation.suite import load_suite
from submissions import cli
from submissions.failures import Failure


def results(tmp_path: Path, suite_name: str = "full", **changes: Any) -> Path:
    suite = load_suite(suite_name)
    tasks = {
        task.label: {"score": 0.3 + 0.01 * number, "n": 100, "stderr": 0.05}
        for number, task in enumerate(suite.tasks)
    }
    document = {
        "suite": suite_name, "suite_hash": suite.hash, "limit": None, "tasks": tasks,
        "model_sha256": "ab" * 32,
    } | changes  # fmt: skip
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document))
    return path


def test_the_document_has_dclms_keys_and_values(tmp_path: Path) -> None:
    source, target = results(tmp_path), tmp_path / "heavy.json"
    write_dclm_json(source, target)
    found = json.loads(target.read_text())
    labels = [task.label for task in load_suite("full").tasks]
    assert list(found["eval_metrics"]["icl"]) == labels
    assert found["eval_metrics"]["icl"]["copa"] == pytest.approx(0.3 + 0.01 * labels.index("copa"))
    assert found["missing tasks"] == "[]"
    assert found["eval_version"] == "v2"
    for version in ("v1", "v2"):
        score = score_file(source, version)
        assert found[f"Core_{version}"] == score.core
        assert found[f"Extended_{version}"] == score.extended
    assert found["Core"] == found["Core_v2"] == found["low_variance_datasets_centered"]
    assert found["Extended"] == found["Extended_v2"] == found["aggregated_centered_results"]
    assert found["aggregated_results"] == pytest.approx(0.3 + 0.01 * 26)
    core = [0.3 + 0.01 * labels.index(t.label) for t in load_suite("core").tasks]
    assert found["low_variance_datasets"] == pytest.approx(math.fsum(core) / 22)
    assert len(found["aggregated_task_categories_centered"]) == 6
    assert found["model"] == "ab" * 32


def test_what_was_written_is_read_again_with_the_same_score(tmp_path: Path) -> None:
    source, target = results(tmp_path), tmp_path / "heavy.json"
    write_dclm_json(source, target)
    for version in ("v1", "v2"):
        one, other = score_file(source, version), score_file(target, version)
        for name in ("core", "extended", "mmlu", "categories", "centered"):
            assert getattr(one, name) == getattr(other, name), name


def test_a_missing_task_is_said_in_dclms_words(tmp_path: Path) -> None:
    source, target = results(tmp_path, "core"), tmp_path / "heavy.json"
    write_dclm_json(source, target)
    found = json.loads(target.read_text())
    assert isinstance(found["Core"], float)
    assert found["Extended_v1"].startswith("N/A due to missing tasks: ['mmlu_zeroshot', ")
    assert found["missing tasks"].startswith("['mmlu_zeroshot', ")
    assert "aggregated_centered_results" not in found  # DCLM's would be a partial mean


def test_the_same_run_gets_the_same_uuid(tmp_path: Path) -> None:
    found = []
    for name in ("a.json", "b.json"):
        write_dclm_json(results(tmp_path), tmp_path / name)
        found.append(json.loads((tmp_path / name).read_text())["uuid"])
    assert found[0] == found[1]
    write_dclm_json(results(tmp_path, model_sha256="cd" * 32), tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text())["uuid"] != found[0]


@pytest.mark.parametrize("changes", [{"limit": 5}, {"suite_name": "smoke"}])
def test_what_dclm_has_no_word_for_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(Failure, match="not a whole run") as raised:
        write_dclm_json(results(tmp_path, **changes), tmp_path / "heavy.json")
    assert raised.value.code == "results_invalid"
    assert not (tmp_path / "heavy.json").exists()


def test_the_option_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "COMMAND_MODULES", ("evaluation.commands",))
    target = tmp_path / "heavy.json"
    assert cli.main(["score", str(results(tmp_path)), "--dclm", str(target), "--json"]) == 0
    assert json.loads(target.read_text())["Core"] == json.loads(capsys.readouterr().out)["core"]
