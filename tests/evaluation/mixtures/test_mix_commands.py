"""`crucible mix` from a table to a mixture: documents, exit codes, files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.mixtures.table import Runs
from submissions.cli import main
from tests.evaluation.mixtures.conftest import Truth, drawn, write_table

Say = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Say:
    """Runs a subcommand of `crucible mix` and reads its document."""

    def run(*arguments: object) -> tuple[int, dict[str, Any]]:
        capfd.readouterr()
        code = main(["mix", *map(str, arguments), "--json"])
        return code, json.loads(capfd.readouterr().out)

    return run


@pytest.fixture
def fitted(
    say: Say, table_of: Callable[..., Path], runs_of_truth: Callable[..., Runs], tmp_path: Path
) -> Path:
    path = tmp_path / "fit.json"
    assert say("fit", table_of(runs_of_truth(30)), "--law", "edp", "-o", path)[0] == 0
    return path


def test_the_same_table_gives_the_same_bytes(
    say: Say, table_of: Callable[..., Path], runs_of_truth: Callable[..., Runs], tmp_path: Path
) -> None:
    table = table_of(runs_of_truth(24))
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for path in files:
        code, document = say("fit", table, "-o", path)
        assert code == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    data_hash = hashlib.sha256(table.read_bytes()).hexdigest()
    assert document["data_hash"] == data_hash
    stored = json.loads(files[0].read_text())
    assert (stored["data_hash"], stored["seed"], stored["law"]) == (data_hash, 0, "auto")
    for target in stored["targets"].values():
        assert len(target["out_of_fold_residuals"]) == 24
        assert target["law"] in {"m4", "edp", "pslx"}
        assert target["lambda"] > 0
    assert document["standing"] == "prediction"
    assert set(document["targets"]["loss_x"]["baselines"]) == {"mean", "linear"}


def test_predict(say: Say, fitted: Path, tmp_path: Path, truth: Truth) -> None:
    new = drawn(5, 3, 77)
    rows = np.column_stack([new[:, 2], new[:, :2]])
    table = write_table(tmp_path / "m.csv", ["mix_c", "mix_a", "mix_b"], rows.tolist())
    code, document = say("predict", fitted, table)
    assert code == 0
    assert len(document["rows"]) == 5
    for row, losses in zip(document["rows"], truth(new), strict=True):
        assert set(row) == {"targets", "flags"}
        for name, loss in zip(("loss_x", "loss_y"), losses, strict=True):
            own = row["targets"][name]
            assert set(own) == {"value", "low", "high"}
            assert own["low"] <= own["value"] <= own["high"]
            assert own["value"] == pytest.approx(loss, abs=0.15)
    corner = write_table(tmp_path / "c.csv", ["c", "mix_a", "b"], [[1, 0, 0]])
    flags = say("predict", fitted, corner)[1]["rows"][0]["flags"]
    assert "outside_hull" in flags


@pytest.mark.parametrize(
    ("columns", "row", "said"),
    [
        (["mix_a", "mix_b"], [0.5, 0.5], 'no column "mix_c"'),
        (["mix_a", "mix_b", "mix_c", "mix_d"], [0.5, 0.5, 0, 0], "has no domain mix_d"),
        (["mix_a", "mix_b", "mix_c"], [0.5, 0.2, 0.2], "sum to 0.9"),
    ],
)
def test_mixtures_of_other_domains_are_refused(
    say: Say, fitted: Path, tmp_path: Path, columns: list[str], row: list[float], said: str
) -> None:
    code, document = say("predict", fitted, write_table(tmp_path / "m.csv", columns, [row]))
    assert code == 1
    assert document["error"]["code"] == "runs_invalid"
    assert said in document["error"]["message"]


def test_an_unidentified_mixture_is_refused_and_the_others_are_not(
    say: Say, runs_of_truth: Callable[..., Runs], tmp_path: Path
) -> None:
    runs = runs_of_truth(20)
    rows = np.hstack([0.9 * runs.mixtures.values, np.full((20, 1), 0.1), runs.losses])
    names = ["mix_a", "mix_b", "mix_c", "mix_d", "loss_x", "loss_y"]
    table, path = write_table(tmp_path / "r.csv", names, rows.tolist()), tmp_path / "f.json"
    code, document = say("fit", table, "--law", "edp", "-o", path)
    assert (code, document["unidentified"]) == (0, ["mix_d was never varied"])
    new = write_table(tmp_path / "m.csv", names[:4], [[0.3, 0.3, 0.3, 0.1], [0.2, 0.2, 0.2, 0.4]])
    code, document = say("predict", path, new)
    assert code == 1
    assert document["rows"][0]["targets"]["loss_x"]["value"] > 0
    assert document["rows"][1]["targets"]["loss_x"] == {"value": None, "low": None, "high": None}
    assert "unidentified" in document["rows"][1]["flags"]


def test_the_best_mixture_stays_where_the_runs_can_tell(
    say: Say, runs_of_truth: Callable[..., Runs], tmp_path: Path
) -> None:
    runs = runs_of_truth(20)
    r, path = runs.mixtures.values, tmp_path / "f.json"
    names = ["mix_a", "mix_b", "mix_c", "mix_d", "loss_x", "loss_y"]

    def fit(shares: Any) -> None:
        rows = np.hstack([shares, runs.losses])
        table = write_table(tmp_path / "r.csv", names, rows.tolist())
        assert say("fit", table, "--law", "edp", "-o", path)[0] == 0

    fit(np.hstack([0.9 * r, np.full((20, 1), 0.1)]))
    code, document = say("optimise", path)
    assert (code, document["mixture"]["mix_d"]) == (0, pytest.approx(0.1, abs=1e-9))
    assert {"domain": "mix_d", "limit": "fixed"} in document["binding"]
    assert document["predicted"]["targets"]["loss_x"]["value"] > 0
    assert document["gain"] is None  # the even mixture has 0.25 of d
    code, document = say("optimise", path, "--floors", "d=0.2")
    assert (code, document["error"]["code"]) == (1, "limits_infeasible")
    assert "mix_d was never varied from 0.1" in document["error"]["message"]
    fit(np.column_stack([r[:, 0] / 2, r[:, 1:], r[:, 0] / 2]))
    code, document = say("optimise", path, "--floors", "d=0.5")
    assert (code, document["error"]["code"]) == (1, "refused")
    assert "mix_a and mix_d always moved together" in document["error"]["message"]


def test_too_few_runs_are_refused(
    say: Say, table_of: Callable[..., Path], runs_of_truth: Callable[..., Runs], tmp_path: Path
) -> None:
    code, document = say("fit", table_of(runs_of_truth(5)), "-o", tmp_path / "f.json")
    assert (code, document["error"]["code"]) == (1, "too_few_runs")
    assert not (tmp_path / "f.json").exists()


def test_check_and_its_tolerances(
    say: Say, fitted: Path, table_of: Callable[..., Path], runs_of_truth: Callable[..., Runs]
) -> None:
    held = table_of(runs_of_truth(40, seed=50), "held.csv")
    code, document = say("check", fitted, held, "--max-mre", 0.02, "--min-spearman", 0.8)
    assert code == 0
    keys = {"mae", "mre", "spearman", "coverage"}
    assert all(set(own) == keys for own in document["targets"].values())
    assert set(document["mean"]) == keys
    assert document["mean"]["mae"] == pytest.approx(
        np.mean([own["mae"] for own in document["targets"].values()])
    )
    assert document["mean"]["coverage"] > 0.75
    for option, limit in (
        ("--max-mre", 1e-6), ("--max-mae", 1e-6), ("--min-spearman", 0.9999),
        ("--min-coverage", 1.01),
    ):  # fmt: skip
        code, document = say("check", fitted, held, option, limit)
        assert (code, document["exceeded"]) == (1, [option[6:]])


def test_optimise_keeps_to_tokens_and_epochs(say: Say, fitted: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    tokens.write_text('{"a": 1e9, "b": 1e9, "c": 8e9}')
    code, document = say("optimise", fitted, "--tokens", tokens, "--budget", "10e9",
                         "--max-epochs", 2)  # fmt: skip
    assert code == 0
    mixture = document["mixture"]
    assert sum(mixture.values()) == pytest.approx(1, abs=1e-9)
    assert all(mixture[name] <= document["caps"][name] + 1e-9 for name in mixture)
    assert document["caps"] == {"mix_a": 0.2, "mix_b": 0.2, "mix_c": 1.0}
    assert {"domain": "mix_b", "limit": "cap"} in document["binding"]
    assert document["epochs"]["mix_b"] == pytest.approx(2, abs=1e-4)
    assert document["certificate"]["gap"] < 1e-5
    assert document["gain"]["value"] > 0
    assert document["warnings"][0].startswith("repeated here: mix_a, mix_b.")
    code, document = say("optimise", fitted, "--tokens", tokens, "--budget", "41e9")
    assert (code, document["error"]["code"]) == (1, "limits_infeasible")
    assert "budget of up to 4e+10" in document["error"]["message"]
    code, document = say("optimise", fitted, "--weights", "y=1", "--floors", "a=0.25")
    assert document["mixture"]["mix_a"] == pytest.approx(0.25, abs=1e-6)
    for wrong in (["--kl", 0.1], ["--budget", 1e9], ["--tokens", tokens], ["--floors", "a"],
                  ["--weights", "z=1"], ["--floors", "d=0.1"]):  # fmt: skip
        assert say("optimise", fitted, *wrong)[0] == 1


def test_transfer_writes_a_calibrated_fit(
    say: Say, fitted: Path, table_of: Callable[..., Path], runs_of_truth: Callable[..., Runs],
    tmp_path: Path,
) -> None:  # fmt: skip
    def larger(count: int, seed: int, name: str) -> Path:
        runs = runs_of_truth(count, seed=seed)
        return table_of(replace(runs, losses=0.5 + 0.5 * runs.losses), name)

    path, held = tmp_path / "large.json", larger(30, 61, "held.csv")
    code, document = say("transfer", fitted, larger(6, 60, "large.csv"), "-o", path)
    assert code == 0
    own = document["targets"]["loss_x"]
    assert own["slope"] == pytest.approx(0.5, abs=0.1)
    assert own["calibrated"]["mre"] < own["uncalibrated"]["mre"] / 5
    assert say("check", path, held, "--max-mre", 0.02)[0] == 0
    assert say("check", fitted, held, "--max-mre", 0.02)[0] == 1
    assert say("optimise", path)[0] == 0


def test_critical(say: Say, tmp_path: Path) -> None:
    rows: list[list[object]] = [["", "", 9.0, -1]]
    rows += [[s, 1 - s, 2.6 + np.exp(-1 - 2 * s), step] for s in (0.1, 0.2, 0.4, 0.6)
             for step in (500, 1_000)]  # fmt: skip
    names = ["mix_old", "mix_new", "loss_old", "step"]
    table = write_table(tmp_path / "ct.csv", names, rows)
    base = 2.6 + np.exp(-1 - 2 * 0.3)
    code, document = say("critical", table, "--base", base)
    assert code == 0
    assert document["share"] == pytest.approx(0.3, abs=0.003)
    assert document["low"] <= document["share"] <= document["high"]
    assert len(document["runs"]) == 4
    alone = say("critical", table, "--base", base, "--domains", "old", "--targets", "old")[1]
    assert alone["share"] == pytest.approx(document["share"], abs=1e-9)
    code, document = say("critical", table, "--base", 9)
    assert (code, document["share"]) == (1, None)
    assert "crosses the base's loss 0 times" in document["notes"][-1]


def test_design_and_what_it_leads_to(say: Say, tmp_path: Path) -> None:
    sources = tmp_path / "sources.json"
    sources.write_text('{"sources": [{"name": "web", "tokens": 8e9}, {"name": "code", '
                       '"tokens": 1e9}, {"name": "books", "tokens": 1e9}]}')  # fmt: skip
    path = tmp_path / "design.csv"
    code, document = say("design", "--sources", sources, "--runs", 8, "-o", path,
                         "--budget", "1e9", "--larger-budget", "10e9")  # fmt: skip
    assert code == 0
    assert len(document["mixtures"]) == 8
    for mixture in document["mixtures"]:
        assert sum(mixture.values()) == pytest.approx(1, abs=1e-9)
        assert mixture["code"] <= 0.4 + 1e-9
    assert document["subsample"] == pytest.approx({"web": 8e8, "code": 1e8, "books": 1e8})
    lines = path.read_text().splitlines()
    shares = [[float(cell) for cell in line.split(",")] for line in lines[1:]]
    rows = [[*r, 3 - r[0] ** 0.5 + r[1]] for r in shares]
    runs = write_table(tmp_path / "r.csv", [*lines[0].split(","), "loss_x"], rows)
    fit = tmp_path / "f.json"
    assert say("fit", runs, "--law", "m4", "-o", fit)[0] == 0
    code, document = say("design", "--sources", sources, "--runs", 2, "--fit", fit)
    assert (code, document["runs_before"], len(document["widths"])) == (0, 8, 2)
    few = say("design", "--sources", sources, "--runs", 2)[1]
    assert few["notes"] == ["2 runs of 3 sources: 6 make a prediction"]
    for wrong in ("[]", "{}", '{"a": 1}', '{"a": 1, "b": -1}', '{"a": 0, "b": 0}', "no", "[1]"):
        sources.write_text(wrong)
        code, document = say("design", "--sources", sources, "--runs", 2)
        assert (code, document["error"]["code"]) == (1, "sources_invalid"), wrong


def test_a_damaged_fit_is_refused(say: Say, fitted: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "m.csv", ["mix_a", "mix_b", "mix_c"], [[0.5, 0.25, 0.25]])
    whole = fitted.read_text()
    document = json.loads(whole)

    def refused(content: str) -> None:
        fitted.write_text(content)
        code, said = say("predict", fitted, table)
        assert (code, said["error"]["code"]) == (1, "fit_invalid"), content[:80]

    refused("")
    refused(whole[: len(whole) // 2])
    refused("[]")
    for key in document.keys() - {"standing", "uncalibrated", "pool"}:
        refused(json.dumps({k: v for k, v in document.items() if k != key}))
    for change in (
        {"parameters": [1.0]}, {"parameters": ["x"] * 5}, {"law": "linear"}, {"lambda": "0"},
        {"fold_parameters": []}, {"parameters": [1e300] * 5}, {"calibration": {}},
        {"out_of_fold_residuals": [1e999]},
    ):  # fmt: skip
        targets = {**document["targets"], "loss_x": {**document["targets"]["loss_x"], **change}}
        refused(json.dumps({**document, "targets": targets}))
    refused(json.dumps({**document, "seed": -1}))
    refused(json.dumps({**document, "runs": {**document["runs"], "folds": [1e300] * 30}}))
    for change in ({"folds": [5] * 30}, {"mixtures": [[1, 1, 1]] * 30}, {"losses": [[-1, 1]] * 30}):
        refused(json.dumps({**document, "runs": {**document["runs"], **change}}))
    fitted.write_text(whole)
    assert say("predict", fitted, table)[0] == 0


def test_an_extrapolated_fit_is_labelled_wherever_it_is_used(say: Say, tmp_path: Path) -> None:
    rows: list[list[object]] = []
    for number, r in enumerate(drawn(9, 3, 3)):
        steps = (2_000, 3_000, 4_000, 5_000, 6_000)
        rows += [[number, step, *r, 2 + r[0] + 9 * step**-0.5] for step in steps]
    names = ["run", "step", "mix_a", "mix_b", "mix_c", "loss_x"]
    table, path = write_table(tmp_path / "r.csv", names, rows), tmp_path / "f.json"
    code, document = say("fit", table, "--law", "m4", "--at-step", 50_000, "-o", path)
    assert code == 0
    assert document["uncalibrated"].startswith("uncalibrated: extrapolated to step 50000")
    new = write_table(tmp_path / "m.csv", names[2:5], [[0.3, 0.3, 0.4]])
    assert "uncalibrated" in say("predict", path, new)[1]["rows"][0]["flags"]
    assert say("optimise", path)[1]["uncalibrated"] is not None
    assert say("fit", table, "--at-step", 9, "--step", 9, "-o", path)[0] == 1
    assert say("fit", table, "--at-size", "1B", "-o", path)[0] == 1  # no column size
    table.write_text(table.read_text().replace("step", "steps"))
    assert say("fit", table, "--at-step", 9, "-o", path)[0] == 1
