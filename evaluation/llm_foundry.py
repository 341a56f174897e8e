"""The reference engine: LLM Foundry itself evaluates, through Composer's Trainer, wired as by DCLM.

Prompts, batches and metrics are LLM Foundry's (`build_icl_evaluators`, its dataset and metric
classes); float32, DCLM's padded row length and batch size. We only look over its shoulder to keep a
record of every example, and check that the records give the engine's own accuracy.
"""

from __future__ import annotations

import logging
import os
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
from composer.trainer import Trainer  # noqa: E402
from composer.utils import dist  # noqa: E402
from llmfoundry.utils.builders import build_icl_evaluators  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402

from evaluation.openlm_adapter import OpenLMForCausalLM  # noqa: E402
from evaluation.recording import RecordingModel  # noqa: E402
from training_recipes.model import OpenLM  # noqa: E402

# heavy.yaml's; greedy evaluation draws nothing from it, and few-shot sampling has its own (1234).
SEED = 1


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a model directory; `model_invalid` when its files cannot be read."""
    try:
        tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(str(folder))
        return tokenizer
    except Exception as error:  # the library raises whatever the damaged file leads it to
        raise Failure("model_invalid", f"cannot read the tokenizer in {folder}: {error}") from None


class LLMFoundryEngine:
    """Evaluates one model, task by task.

    `tokenizer` is a Hugging Face fast tokenizer.
    """

    name = "llm-foundry"

    def __init__(self, transformer: OpenLM, tokenizer: Any) -> None:
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
        transformer.eval().requires_grad_(False)
        self.recorder = RecordingModel(OpenLMForCausalLM(transformer), tokenizer)
        gpu = torch.cuda.is_available()
        # Composer lets a GPU multiply float32 matrices in TF32, and so does DCLM's evaluation.
        self.precision = "tf32" if gpu else "fp32"
        with _without_warnings():
            self.trainer = Trainer(
                model=self.recorder,
                device="gpu" if gpu else "cpu",
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
    ) -> list[Example]:
        """The records of `task`, whose file is `path`, in the order of the rows (by category).

        With `limit` the first rows only (of each category), while few-shot examples are still drawn
        from the whole file. `on_examples` hears how many more are done. Raises `not_a_number` and
        `model_invalid`.
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
                evaluator = _prepared(task, evaluator, limit)
                self.recorder.begin(task, category, indices, on_examples)
                with _without_warnings():
                    self.trainer.eval(eval_dataloader=[evaluator])
                (metric,) = self.trainer.state.eval_metrics[evaluator.label].values()
                _check(task, self.recorder.records, float(metric.compute()), len(indices[:limit]))
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
    """Hides what Composer says about every evaluation: no optimizer, and a last batch not full."""
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


def _prepared(task: Task, evaluator: Evaluator, limit: int | None) -> Evaluator:
    """The evaluator with its first `limit` rows made into prompts, as the engine would make them.

    The few-shot generator is consumed in row order, so that the first rows' prompts are the same
    whether or not the other rows follow.
    """
    spec: DataSpec = evaluator.dataloader
    loader: Any = spec.dataloader
    dataset: Any = loader.dataset
    if dataset.padding_size <= 0:
        raise Failure(
            "model_invalid",
            f"{task.label}: its answers need {dataset.max_answer_length} tokens, which leaves no "
            f"room for a question in {dataset.max_seq_len}",
        )
    if limit is None or limit >= len(dataset):
        return evaluator
    arguments = {
        "num_fewshot": dataset.num_fewshot,
        "prompt_string": dataset.prompt_string,
        "fewshot_rng": dataset.fewshot_rng,
    }
    pool = dataset.dataset
    rows = pool.select(range(limit)).map(
        dataset._prep_example, with_indices=True, fn_kwargs=arguments
    )
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
