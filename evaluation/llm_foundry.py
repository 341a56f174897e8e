"""The reference engine: LLM Foundry itself evaluates, through Composer's Trainer, wired as by DCLM.

Prompts, batches and metrics are LLM Foundry's (`build_icl_evaluators`, its dataset and metric
classes); float32, DCLM's padded row length and batch size. We only keep a record of every
example, and check that the records give the engine's own accuracy.
"""

from __future__ import annotations

import copy
import logging
import os
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evaluation.examples import Example
from evaluation.suite import Suite, Task, rows_by_category
from submissions.failures import Failure
from training_recipes.without_torchvision import allow_missing_torchvision

allow_missing_torchvision()
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # LLM Foundry imports it

import datasets  # noqa: E402
import torch  # noqa: E402
from composer.core import DataSpec, Evaluator  # noqa: E402
from composer.devices import DeviceCPU, DeviceGPU  # noqa: E402
from composer.trainer import Trainer  # noqa: E402
from composer.utils import dist  # noqa: E402
from llmfoundry.eval.datasets.utils import get_fewshot_sample_idxs  # noqa: E402
from llmfoundry.utils.builders import build_icl_evaluators  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from evaluation.hf_model import HuggingFaceModel  # noqa: E402
from evaluation.openlm_adapter import OpenLMForCausalLM  # noqa: E402
from evaluation.recording import RecordingModel  # noqa: E402
from training_recipes.model import OpenLM  # noqa: E402

# heavy.yaml's; greedy evaluation draws nothing from it, and few-shot sampling has its own (1234).
SEED = 1


class LLMFoundryEngine:
    """Evaluates one model, task by task.

    `tokenizer` is a Hugging Face fast tokenizer. A GPU multiplies float32 matrices in TF32, as
    Composer lets it and DCLM's evaluation does, or `exactly`.
    """

    name = "llm-foundry"

    def __init__(
        self, transformer: OpenLM | HuggingFaceModel, tokenizer: Any, exactly: bool = False
    ) -> None:
        datasets.disable_progress_bars()
        logging.getLogger("composer").setLevel(logging.ERROR)
        self.tokenizer = tokenizer
        self.seq_len = transformer.shape.seq_len
        vocab_size = transformer.shape.vocab
        if len(tokenizer) > vocab_size:
            raise Failure(
                "model_invalid",
                f"the tokenizer has {len(tokenizer)} ids, the model a vocabulary of {vocab_size}",
            )
        if tokenizer.eos_token_id is None:
            raise Failure("model_invalid", "the tokenizer names no end-of-text token")
        if isinstance(transformer, HuggingFaceModel):
            model: Any = transformer.model
        else:
            model = OpenLMForCausalLM(transformer.float().eval().requires_grad_(False))
        self.recorder = RecordingModel(model, tokenizer)
        gpu = torch.cuda.is_available()
        self.precision = "tf32" if gpu and not exactly else "fp32"
        with _without_warnings():
            self.trainer = Trainer(
                model=self.recorder,
                device=DeviceGPU(allow_tf32=not exactly) if gpu else DeviceCPU(),
                precision="fp32",
                seed=SEED,
                progress_bar=False,
                log_to_console=False,
                auto_log_hparams=False,
            )

    def row_length(self, suite: Suite, task: Task) -> int:
        """Tokens to which a row is padded: the task's or suite's, as far as the model reads."""
        return min(int(task.settings.get("max_seq_len", suite.max_seq_len)), self.seq_len)

    def evaluate_task(
        self,
        suite: Suite,
        task: Task,
        path: Path,
        limit: int | None,
        on_examples: Callable[[int], None],
        only: frozenset[int] | None = None,
    ) -> list[Example]:
        """The records of `task`, whose file is `path`, in the order of the rows (by category).

        With `limit` the first rows only (of each category), with `only` those with these numbers,
        while few-shot examples are still drawn from the whole file. `on_examples` hears how many
        more are done. Raises `not_a_number` and `model_invalid`.
        """
        categories = rows_by_category(task, path)
        records: list[Example] = []
        with _private_cache() as folder:
            evaluators, _ = build_icl_evaluators(
                [self._configuration(suite, task, path)],
                self.tokenizer,
                default_max_seq_len=self.row_length(suite, task),
                default_batch_size=suite.batch_size,
                destination_dir=str(folder),
            )
            for evaluator, (category, indices) in zip(evaluators, categories, strict=True):
                asked = range(len(indices))[:limit]
                places = [p for p in asked if only is None or indices[p] in only]
                if not places:
                    continue
                evaluator = _prepared(task, evaluator, places, self.row_length(suite, task))
                self.recorder.begin(task, category, [indices[p] for p in places], on_examples)
                with _without_warnings():
                    self.trainer.eval(eval_dataloader=[evaluator])
                (metric,) = self.trainer.state.eval_metrics[evaluator.label].values()
                _check(task, self.recorder.records, float(metric.compute()), len(places))
                records += self.recorder.records
        return records

    def _configuration(self, suite: Suite, task: Task, path: Path) -> dict[str, Any]:
        """The task in LLM Foundry's words."""
        settings = dict(task.settings) | {"max_seq_len": self.row_length(suite, task)}
        return {
            "label": task.label,
            "dataset_uri": str(path.resolve()),
            "num_fewshot": [task.shots],
            "icl_task_type": task.type,
            "has_categories": task.has_categories,
        } | settings


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Hides Composer's warnings in every evaluation: no optimizer, and a last batch not full."""
    with warnings.catch_warnings():
        for message in ("No optimizer was specified", "Cannot split"):
            warnings.filterwarnings("ignore", message=message)
        yield


@contextmanager
def _private_cache() -> Iterator[Path]:
    """A temporary folder for LLM Foundry's copies and for `datasets`, which else fills the home."""
    with tempfile.TemporaryDirectory(prefix="crucible-") as name:
        kept = datasets.config.HF_DATASETS_CACHE
        datasets.config.HF_DATASETS_CACHE = Path(name) / "cache"
        try:
            yield Path(name)
        finally:
            datasets.config.HF_DATASETS_CACHE = kept


def _prepared(task: Task, evaluator: Evaluator, places: list[int], length: int) -> Evaluator:
    """The evaluator with these of its rows made into prompts, as the engine would make them.

    The few-shot generator is consumed in row order, once a row, so that a row's prompt is the same
    whichever other rows are asked.
    """
    spec: DataSpec = evaluator.dataloader
    loader: Any = spec.dataloader
    dataset: Any = loader.dataset
    if dataset.padding_size <= 0:
        raise Failure(
            "model_invalid",
            f"{task.label}: its answers need {dataset.max_answer_length} tokens, which leaves no "
            f"room for a question in a row of {length}",
        )
    if len(places) == len(dataset):
        return evaluator
    generators = _generators(dataset, places)

    def prepare(row: dict[str, Any], number: int) -> dict[str, Any]:
        place, shots = places[number], dataset.num_fewshot
        prepared: dict[str, Any] = dataset._prep_example(
            row, place, shots, dataset.prompt_string, generators[number]
        )
        return prepared

    rows = dataset.dataset.select(places).map(prepare, with_indices=True)
    dataset.dataset, dataset._prepared = rows, True
    shortened: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=loader.batch_size,
        sampler=dist.get_sampler(dataset, drop_last=False, shuffle=False),
        collate_fn=dataset.collate_fn,
    )
    limited = DataSpec(
        shortened,
        get_num_samples_in_batch=dataset.get_num_samples_in_batch,
        split_batch=dataset.split_batch,
    )
    return Evaluator(label=evaluator.label, dataloader=limited, metric_names=evaluator.metric_names)


def _generators(dataset: Any, places: list[int]) -> list[random.Random]:
    """The few-shot generator as it is when the row of each place has its turn."""
    generator: random.Random = dataset.fewshot_rng
    wanted, found = set(places), {}
    for place in range(max(places) + 1):
        if place in wanted:
            found[place] = copy.copy(generator)
        if dataset.num_fewshot > 0:
            get_fewshot_sample_idxs(len(dataset), dataset.num_fewshot, place, generator)
    return [found[place] for place in places]


def _check(task: Task, records: list[Example], accuracy: float, expected: int) -> None:
    """The records must be the engine's own answers: all rows, and the same accuracy."""
    if len(records) != expected:
        raise Failure(
            "internal_error", f"{task.label}: {len(records)} records of {expected} examples"
        )
    ours = sum(record.correct for record in records) / len(records)
    if abs(ours - accuracy) > 1e-6:  # the engine counts in float32
        raise Failure(
            "internal_error", f"{task.label}: the records give {ours}, LLM Foundry {accuracy}"
        )
