"""`crucible transfer` on checkouts and results made here, hostile ones among them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation.suite import load_suite
from evaluation.transfer import build_published, published
from evaluation.transfer.checkout import runs_of_checkout, tasks_of_checkout
from submissions import cli
from submissions.failures import Failure

BIG = {"1b-1x": (1_439_795_200, 1, 3e-3, 0.033), "7b-1x": (6_889_410_560, 1, 3e-4, 0.33)}


def icl(core: float) -> dict[str, float]:
    """Accuracies whose CORE (v2) is `core`."""
    tasks = load_suite("full").tasks
    shares = {task.label: task.baselines["v2"] / 100 for task in tasks}
    return {label: share + core * (1 - share) for label, share in shares.items()}


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def results(path: Path, core: float, **more: Any) -> Path:
    tasks = {label: {"score": value} for label, value in icl(core).items()}
    return write(
        path, {"suite": "full", "suite_hash": load_suite("full").hash, "tasks": tasks} | more
    )


def add_run(root: Path, dataset: str, scale: str, core: float, name: str = "") -> None:
    params, multiplier, lr, decay = BIG[scale]
    key = f"{dataset}-{scale}{name}"
    hyperparameters = {"params": params, "chinchilla_multiplier": multiplier, "lr": lr,
                       "wd": decay, "seed": 124}  # fmt: skip
    write(
        root / f"exp_data/models/{key}.json",
        {"uuid": f"m-{key}", "dataset_name": dataset, "hyperparameters": hyperparameters},
    )
    write(
        root / f"exp_data/evals/evaluation_{key}.json",
        {"uuid": f"e-{key}", "model_uuid": f"m-{key}", "eval_metrics": {"icl": icl(core)}},
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Nine datasets at 1b-1x and 7b-1x, and what must not count."""
    root = tmp_path / "dclm"
    for n in range(9):
        add_run(root, f"d{n}", "1b-1x", 0.21 + n / 100)
        add_run(root, f"d{n}", "7b-1x", 0.31 + n / 100 + (n % 3) / 300)
    add_run(root, "d0", "1b-1x", 0.9, name="avg=poly")
    add_run(root, "d1", "1b-1x", 0.9, name="rho1")
    add_run(root, "", "1b-1x", 0.9, name="nameless")
    write(root / "exp_data/evals/external.json", {"eval_metrics": {"icl": icl(0.5)}})
    return root


@pytest.fixture
def crucible(capfd: Any) -> Callable[..., tuple[int, Any]]:
    def call(*arguments: object) -> tuple[int, Any]:
        capfd.readouterr()
        code = cli.main(["transfer", *map(str, arguments), "--json"])
        return code, json.loads(capfd.readouterr().out)

    return call


def test_a_checkout_is_fitted(checkout: Path, crucible: Any) -> None:
    code, found = crucible("fit", "--dclm", checkout, "--from", "1b-1x", "--to", "7b-1x")
    assert code == 0
    assert found["n"] == len(found["pairs"]) == 9
    assert {"slope", "intercept", "loo_mae", "interval_90", "decision_accuracy", "brier",
            "brier_baseline"} <= set(found)  # fmt: skip
    assert found["slope"] == pytest.approx(1, abs=0.1)
    first = found["pairs"][0]
    assert first["dataset"] == "d0"
    assert (first["source"], first["target"]) == (pytest.approx(0.21), pytest.approx(0.31))
    assert found["brier"] < found["brier_baseline"] + 0.05
    assert found["interval_90"] > 0


def test_built_in_figures_are_fitted_without_a_checkout(crucible: Any) -> None:
    code, found = crucible("fit", "--from", "1b-1x", "--to", "7b-1x")
    assert code == 0
    assert found["n"] == 15
    assert found["brier"] == pytest.approx(0.085, abs=5e-4)
    code, by_loss = crucible("fit", "--from", "400m-1x", "--to", "1b-1x", "--by", "loss")
    assert by_loss["decision_accuracy"] == pytest.approx(0.879, abs=5e-4)


def test_results_are_predicted(tmp_path: Path, crucible: Any) -> None:
    files = [results(tmp_path / "a.json", 0.28), results(tmp_path / "b.json", 0.22)]
    code, found = crucible("predict", *files, "--to", "7b-1x")
    assert code == 0
    assert found["from"] == "1b-1x"
    first, second = found["predictions"]
    assert first["core"] == pytest.approx(0.378, abs=5e-4)
    assert first["half_width"] == pytest.approx(0.018, abs=5e-4)
    assert first["interval_90"] == pytest.approx(
        [first["core"] - first["half_width"], first["core"] + first["half_width"]]
    )
    assert (first["places"], second["places"]) == ([1, 1], [2, 2])
    code, official = crucible("predict", files[0], "--to", "7b-1x", "--recipe", "official")
    assert official["predictions"][0]["core"] == pytest.approx(0.419, abs=5e-4)
    assert any("--recipe official" in note for note in found["notes"])
    assert not any("--recipe official" in note for note in official["notes"])


def test_two_results_are_compared_both_ways(tmp_path: Path, crucible: Any) -> None:
    one, other = results(tmp_path / "a.json", 0.26), results(tmp_path / "b.json", 0.25)
    code, found = crucible("compare", one, other, "--to", "7b-1x")
    turned = crucible("compare", other, one, "--to", "7b-1x")[1]
    assert code == 0
    assert found["probability"] == pytest.approx(0.740, abs=5e-4)
    assert found["probability"] + turned["probability"] == 1
    assert found["difference"] == pytest.approx(-turned["difference"])
    low, high = found["interval_90"]
    assert low < 0 < found["difference"] < high
    assert found["separable"] is False
    clear = crucible("compare", results(tmp_path / "c.json", 0.28), other, "--to", "7b-1x")[1]
    assert clear["separable"] is True


def test_for_people(tmp_path: Path, checkout: Path, capfd: Any) -> None:
    one, other = results(tmp_path / "a.json", 0.26), results(tmp_path / "b.json", 0.25)
    assert cli.main(["transfer", "compare", str(one), str(other), "--to", "7b-1x"]) == 0
    text = capfd.readouterr().out
    assert "cannot be separated at 7b-1x: 0.74 that a.json is better" in text
    assert cli.main(["transfer", "predict", str(one), "--to", "7b-1x"]) == 0
    assert "predicted CORE 0.361 ± 0.017 (90 %)" in capfd.readouterr().out
    options = ["--from", "1b-1x", "--to", "7b-1x"]
    assert cli.main(["transfer", "fit", "--dclm", str(checkout), *options]) == 0
    text = capfd.readouterr().out
    assert "order right" in text
    assert "openhermes" not in text


def test_pairs_of_ones_own(tmp_path: Path, crucible: Any) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("dataset,source,target\nmine,0.25,0.45\n")
    one = results(tmp_path / "a.json", 0.25)
    found = crucible("predict", one, "--to", "7b-1x", "--pairs", table)[1]
    without = crucible("predict", one, "--to", "7b-1x", "--recipe", "official")[1]
    assert found["n"] == 16
    assert found["predictions"][0]["core"] > without["predictions"][0]["core"]
    for bad in (
        "a,b\n",
        "dataset,source,target\nmine,much,0.4\n",
        "dataset,source,target\n,1,1\n",
        "dataset,source,target\nmine,0.2\n",
        "dataset,source,target\nmine,nan,0.1\n",
    ):
        table.write_text(bad)
        code, answer = crucible("predict", one, "--to", "7b-1x", "--pairs", table)
        assert (code, answer["error"]["code"]) == (1, "results_invalid")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"suite": "smoke", "suite_hash": None}, "not_comparable"),
        ({"suite_hash": "0" * 64}, "not_comparable"),
        ({"metric_version": "v1"}, "not_comparable"),
        ({"limit": 10}, "not_comparable"),
        ({"tasks": {"copa": {"score": 0.5}}}, "results_invalid"),
    ],
)
def test_results_that_do_not_fit(
    tmp_path: Path, crucible: Any, change: dict[str, Any], code: str
) -> None:
    path = results(tmp_path / "a.json", 0.25, **change)
    status, found = crucible("predict", path, "--to", "7b-1x")
    assert (status, found["error"]["code"]) == (1, code)


def test_models_with_different_tokenizers(tmp_path: Path, crucible: Any) -> None:
    one = results(tmp_path / "a.json", 0.25, tokenizer_sha256="a")
    other = results(tmp_path / "b.json", 0.25, tokenizer_sha256="b")
    status, found = crucible("compare", one, other, "--to", "7b-1x")
    assert (status, found["error"]["code"]) == (1, "not_comparable")


def test_refusals_of_scales(tmp_path: Path, crucible: Any) -> None:
    one = results(tmp_path / "a.json", 0.25)
    assert crucible("predict", one, "--to", "9b")[0] == 2
    for options, code in (
        (["--to", "3b-1x"], "too_few_pairs"),
        (["--to", "7b-1x", "--from", "7b-1x"], "refused"),
        (["--to", "1b-1x"], "out_of_range"),
    ):
        status, found = crucible("predict", one, *options)
        assert (status, found["error"]["code"]) == (1, code)


def test_a_published_run_of_another_recipe_is_known_by_its_uuid(
    tmp_path: Path, crucible: Any
) -> None:
    runs = published.read_published().runs
    odd = next(r for r in runs if r.scale == "1b-1x" and r.recipe.lr == 3e-4)
    small = next(r for r in runs if r.scale == "400m-1x")

    def eval_of(run: Any, core: float) -> Path:
        document = {"uuid": run.evaluation, "eval_metrics": {"icl": icl(core)}}
        return write(tmp_path / f"{run.evaluation}.json", document)

    status, found = crucible("predict", eval_of(odd, odd.core), "--to", "7b-1x")
    assert (status, found["error"]["code"]) == (1, "not_comparable")
    assert "another recipe" in found["error"]["message"]
    # A 400m-1x run is predicted from 400m-1x, and from nowhere else.
    path = eval_of(small, small.core)
    assert crucible("predict", path, "--to", "7b-1x")[1]["from"] == "400m-1x"
    status, found = crucible("predict", path, "--to", "7b-1x", "--from", "1b-1x")
    assert found["error"]["code"] == "not_comparable"
    # The same uuid with other answers is no published run.
    assert crucible("predict", eval_of(odd, 0.25), "--to", "7b-1x")[0] == 0


def break_model(checkout: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = checkout / "exp_data/models/d0-1b-1x.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_broken_checkouts_are_refused(tmp_path: Path, checkout: Path) -> None:
    def refused() -> str:
        with pytest.raises(Failure) as caught:
            runs_of_checkout(checkout)
        assert caught.value.code == "checkout_invalid"
        return caught.value.message

    evals = checkout / "exp_data/evals"
    odd = evals / "odd.json"
    for text in ("{", "[" * 100_000, "[]", '{"uuid": "x"}x', " " * ((4 << 20) + 1)):
        odd.write_text(text)
        assert "odd.json" in refused()
    odd.unlink()
    break_model(checkout, lambda model: model["hyperparameters"].update(lr="fast"))
    assert "lr is 'fast'" in refused()
    break_model(checkout, lambda model: model["hyperparameters"].update(lr=float("nan")))
    refused()
    break_model(checkout, lambda model: model.update(uuid=3))
    refused()
    shutil.rmtree(checkout / "exp_data/models")
    assert "exp_data/models" in refused()


def test_tasks_are_ranked_from_a_checkout(checkout: Path, capfd: Any) -> None:
    add_run(checkout, "only at 1b-1x", "1b-1x", 0.3)
    options = ["--dclm", str(checkout), "--from", "1b-1x", "--to", "7b-1x"]
    assert cli.main(["suite", "signal", *options, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["datasets"], found["datasets_at_source"]) == (9, 10)
    assert (found["mean"], len(found["tasks"])) == ("core", 53)
    orders = {task["label"]: task["mean_order"] for task in found["tasks"]}
    assert orders["copa"] == orders["jeopardy"]  # all accuracies follow the one made-up CORE
    assert orders["copa"] > 0.8


def test_accuracies_of_every_eval(checkout: Path) -> None:
    found = tasks_of_checkout(checkout)
    assert found["e-d0-1b-1x"] == pytest.approx(icl(0.21))


def test_the_script_writes_what_the_reader_reads(
    tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [
        f"evaluation_x-{model}-warm=5000-lr=0p003-wd=0p033-cd=3e-05-bs=256-mult=1-seed={seed}"
        "-tokens=28795904000_heavy.json"
        for model, seed in (("open_lm_1b", 124), ("open_lm_1b_swiglutorch", 125))
    ]
    labels = list(icl(0))
    lines = [",".join(["Model JSON", "tokens", *labels])]
    for name, core in zip([*names, names[0].replace("_x-", "_y-")], (0.25, 0.26, 0.3), strict=True):
        lines.append(",".join([name, "28795904000.0", *map(str, icl(core).values())]))
    (checkout / "assets").mkdir()
    (checkout / "assets/DCLM_model_database.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(build_published, "_commit", lambda checkout: "c0ffee")
    path = tmp_path / "published.json"
    build_published.write(build_published.document_of(checkout), path)
    found = published.read_published(path)
    runs = runs_of_checkout(checkout)
    assert [replace(run, core=0.0) for run in found.runs] == [replace(r, core=0.0) for r in runs]
    assert [run.core for run in found.runs] == pytest.approx([run.core for run in runs])
    assert found.commit == "c0ffee"
    assert [(r.scale, r.dataset, r.cores) for r in found.repeats] == [("1b-1x", "x", (0.25, 0.26))]
