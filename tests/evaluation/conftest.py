"""A tiny model directory, both engines with it, and suites made of a test's own rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from evaluation.examples import Example
from evaluation.suite import Suite, blob_sha1, read_suite, task_path

if TYPE_CHECKING:
    from evaluation.llm_foundry import LLMFoundryEngine
    from evaluation.native.engine import NativeEngine


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One layer of width 32 with the bundled tokenizer; the same weights every time."""
    import torch

    from training_recipes.model import OpenLM
    from training_recipes.model_dir import save_model_dir
    from training_recipes.scales import ModelShape
    from training_recipes.tokenizer import tokenizer_folder

    torch.manual_seed(7)
    shape = ModelShape(dim=32, layers=1, heads=2, seq_len=256, vocab=4096, qk_norm=True)
    folder = tmp_path_factory.mktemp("model")
    save_model_dir(folder, OpenLM(shape), tokenizer_folder("smoke"))
    return folder


@pytest.fixture(scope="session")
def two_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answers differ much from one another: two layers, weights of triple size."""
    import torch

    from training_recipes.model import OpenLM
    from training_recipes.model_dir import save_model_dir
    from training_recipes.scales import ModelShape
    from training_recipes.tokenizer import tokenizer_folder

    torch.manual_seed(11)
    model = OpenLM(ModelShape(32, 2, 2, 256, 4096, True))
    with torch.no_grad():
        model.output.weight *= 3
    folder = tmp_path_factory.mktemp("two_layers")
    save_model_dir(folder, model, tokenizer_folder("smoke"))
    return folder


@pytest.fixture(scope="session")
def reference(two_layers: Path) -> LLMFoundryEngine:
    """LLM Foundry's engine with `two_layers`."""
    from evaluation.evaluate import load_engine
    from evaluation.llm_foundry import LLMFoundryEngine

    engine = load_engine("llm-foundry", two_layers)
    assert isinstance(engine, LLMFoundryEngine)
    return engine


@pytest.fixture(scope="session")
def native(two_layers: Path) -> Callable[..., NativeEngine]:
    """Makes native engines with `two_layers`, of any budget and precision."""
    from evaluation.native.engine import NativeEngine
    from training_recipes.model_dir import load_model_dir

    def make(**options: Any) -> NativeEngine:
        return NativeEngine(load_model_dir(two_layers), two_layers / "tokenizer", **options)

    return make


def answers_of(
    engine: NativeEngine, suite: Suite, limit: int | None = None
) -> dict[str, list[Example]]:
    """A native engine's records for a bundled suite, by label, in the order of the suite."""
    tasks = {task: task_path(suite, task, None) for task in suite.tasks}
    known: dict[Any, dict[int, Example]] = {task: {} for task in tasks}
    found = engine.evaluate_tasks(suite, tasks, limit, known, lambda *_: None)
    records = {task.label: examples for task, examples, _ in found}
    return {task.label: records[task.label] for task in suite.tasks}


@pytest.fixture(scope="session")
def ask() -> Callable[..., dict[str, list[Example]]]:
    """`answers_of` as a fixture: test modules cannot import one another."""
    return answers_of


@pytest.fixture
def made_suite(tmp_path: Path) -> Callable[..., Suite]:
    """Makes a suite: `make(row_length, label={"type": …, "rows": […], "shots": 2, …})`."""

    def make(max_seq_len: int, **tasks: dict[str, Any]) -> Suite:
        folder = tmp_path / "made"
        folder.mkdir(exist_ok=True)
        entries = []
        for label, task in tasks.items():
            rows = task["rows"]
            path = folder / f"{label}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            entry = {"shots": 0} | {key: task[key] for key in task if key != "rows"}
            entry |= {"label": label, "category": "made", "file": path.name, "core": False}
            entries.append(
                entry
                | {"sha1": blob_sha1(path), "rows": len(rows), "baselines": {"v1": 0, "v2": 0}}
            )
        document = {"name": "made", "max_seq_len": max_seq_len, "batch_size": 2, "tasks": entries}
        (folder / "suite.json").write_text(json.dumps(document))
        return read_suite(folder / "suite.json", "made", folder)

    return make
