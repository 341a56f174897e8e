"""Composer's Hugging Face wrapper, which keeps a record of each example as its metric sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from composer.models import HuggingFaceModel
from llmfoundry.eval.metrics import (
    InContextLearningGenerationExactMatchAccuracy,
    InContextLearningLMAccuracy,
    InContextLearningMultipleChoiceAccuracy,
)
from transformers import LogitsProcessorList

from evaluation.examples import Example
from evaluation.suite import Task
from submissions.failures import Failure


class NotANumberError(Exception):
    """The model gave NaN or infinity while generating; `row` counts in its batch."""

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row}")
        self.row = row


class RecordingModel(HuggingFaceModel):
    """Evaluates as HuggingFaceModel does; `records` holds what the current task's examples gave."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(
            model,
            tokenizer=tokenizer,
            use_logits=True,
            shift_labels=True,
            eval_metrics=[
                InContextLearningLMAccuracy(),
                InContextLearningMultipleChoiceAccuracy(),
                InContextLearningGenerationExactMatchAccuracy(),
            ],
        )
        self.records: list[Example] = []

    def begin(
        self,
        task: Task,
        category: str | None,
        indices: list[int],
        on_examples: Callable[[int], None],
    ) -> None:
        """Starts a task or one of its categories, whose examples are the rows `indices`."""
        self.records = []
        self._task, self._category, self._indices = task, category, indices
        self._on_examples = on_examples

    def eval_forward(self, batch: Any, outputs: Any = None) -> Any:
        """Logits [B, T, vocab], or generated texts; refuses logits that are not numbers."""
        try:
            answer = super().eval_forward(batch, outputs)
        except NotANumberError as error:
            raise self._not_a_number(error.row) from None
        if batch["mode"] == "icl_task":
            for row, scored in enumerate(batch["continuation_indices"]):
                if not torch.isfinite(answer[row, scored - 1]).all():
                    groups = batch.get("choice_groupings", [])
                    spans = [number for number, (a, b) in enumerate(groups) if a <= row < b]
                    raise self._not_a_number(spans[0] if spans else row)
        return answer

    def generate(self, input_ids: torch.Tensor, **kwargs: Any) -> Any:
        """The engine's own; raises `NotANumberError` at logits that are none."""
        numbers: Any = LogitsProcessorList([_numbers_only])  # type: ignore[no-untyped-call]
        return super().generate(input_ids, logits_processor=numbers, **kwargs)

    def update_metric(self, batch: Any, outputs: Any, metric: Any) -> dict[str, Any]:
        """The engine's own update, and a record of each of its examples."""
        result: dict[str, Any] = super().update_metric(batch, outputs, metric)
        before = len(self.records)
        if batch["mode"] == "generate":
            self._record_generated(outputs, result)
        elif "choice_groupings" in batch:
            self._record_choices(batch, outputs, result)
        else:
            self._record_continuations(batch, outputs, result)
        self._on_examples(len(self.records) - before)
        return result

    def _not_a_number(self, offset: int) -> Failure:
        index = self._indices[len(self.records) + offset]
        return Failure(
            "not_a_number", f"{self._task.label}, example {index}: the model gives NaN or infinity"
        )

    def _keep(self, correct: Any, **named: Any) -> None:
        index = self._indices[len(self.records)]
        self.records.append(
            Example(self._task.label, index, self._category, bool(correct), **named)
        )

    def _record_generated(self, texts: list[str], result: dict[str, Any]) -> None:
        for text, correct in zip(texts, result["result"], strict=True):
            self._keep(correct, prediction=None, gold=None, generated=text)

    def _record_choices(self, batch: Any, logits: torch.Tensor, result: dict[str, Any]) -> None:
        sums = _log_probabilities(batch, logits)
        answers = zip(
            batch["choice_groupings"],
            result["result"],
            result["selected_choice_idx"],
            result["correct_choice_idx"],
            strict=True,
        )
        for (start, end), correct, selected, gold in answers:
            self._keep(
                correct,
                prediction=int(selected),
                gold=int(gold),
                option_logprobs=sums[start:end],
                option_tokens=[len(span) for span in batch["continuation_indices"][start:end]],
            )

    def _record_continuations(
        self, batch: Any, logits: torch.Tensor, result: dict[str, Any]
    ) -> None:
        sums = _log_probabilities(batch, logits)
        spans = batch["continuation_indices"]
        for correct, total, span in zip(result["result"], sums, spans, strict=True):
            self._keep(
                correct,
                prediction=None,
                gold=0,
                option_logprobs=[total],
                option_tokens=[len(span)],
            )


def _numbers_only(_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The logits [texts, vocabulary] of the next tokens, as they are."""
    finite = torch.isfinite(logits).all(dim=1)
    if not finite.all():
        raise NotANumberError(int(finite.long().argmin()))
    return logits


def _log_probabilities(batch: Any, logits: torch.Tensor) -> list[float]:
    """Each row's summed log-probability of its continuation, read at its indices − 1.

    Summed in float64: a sum of hundreds of tokens has no four decimals in float32.
    """
    sums = []
    for row, span in enumerate(batch["continuation_indices"]):
        targets = batch["input_ids"][row][span]
        lost = torch.nn.functional.cross_entropy(logits[row, span - 1], targets, reduction="none")
        sums.append(-float(lost.double().sum()))
    return sums
