"""The native engine: all tasks in one queue, longest first, in batches of like lengths."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.examples import Example
from evaluation.native.cost import Cost
from evaluation.native.generation import Prompt, Written
from evaluation.native.memory import exhausted, fitting, slots_that_fit
from evaluation.native.models import prepare_model, scorer_of, writer_of
from evaluation.native.noise import Noise, measure_noise
from evaluation.native.plan import Item, batches
from evaluation.native.tokens import PromptEncoder
from evaluation.native.workload import Workload, workload_of
from evaluation.processes import Processes
from evaluation.suite import Suite, Task
from submissions.failures import Failure
from training_recipes.model import OpenLM

if TYPE_CHECKING:
    from evaluation.hf_model import HuggingFaceModel

# Tokens that are computed together: on a CPU about what its cache holds.
BUDGET = {"cpu": 2048, "cuda": 65536}

Answered = tuple[Task, list[Example], float]
Keep = Callable[[Task, list[Example], float], None]


@dataclass
class _Run:
    """One evaluation in progress: the work to do, the work done, and its listeners."""

    work: Workload
    cost: Cost
    keep: Keep
    done: dict[Task, dict[int, Example]]
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # by label

    def add(self, numbered: list[tuple[int, Example]]) -> None:
        """Examples that have just been answered."""
        by_task: dict[Task, list[Example]] = {}
        for number, example in numbered:
            by_task.setdefault(self.work.questions[number].task, []).append(example)
        for task, examples in by_task.items():
            self.done[task].update((example.index, example) for example in examples)
            self.keep(task, examples, self.cost.left)

    def complete(self, waiting: list[Task]) -> Iterator[Answered]:
        """The tasks of `waiting` of which every example is there; they are taken from it."""
        for task in [t for t in waiting if len(self.done[t]) == len(self.work.order[t])]:
            waiting.remove(task)
            examples = [self.done[task][index] for index in self.work.order[task]]
            yield task, examples, self.seconds[task.label]


class NativeEngine:
    """Evaluates one model. `tokenizer` is the folder of its files, `precision` one of PRECISIONS.

    `budget` is the number of tokens computed together; no result depends on it but for rounding.
    """

    name = "native"

    def __init__(
        self,
        model: OpenLM | HuggingFaceModel,
        tokenizer: Path,
        precision: str = "fp32",
        processes: Processes | None = None,
        budget: int | None = None,
    ) -> None:
        self.processes = processes or Processes()
        self.seq_len = model.shape.seq_len
        self.encoder = PromptEncoder(tokenizer)
        ids = len(self.encoder.tokenizer)
        if ids > model.shape.vocab:
            raise Failure(
                "model_invalid",
                f"the tokenizer has {ids} ids, the model a vocabulary of {model.shape.vocab}",
            )
        self.shape = model.shape
        self.model = prepare_model(model, precision, self.processes.local_rank)
        self.precision = precision
        self.scorer = scorer_of(self.model, self.encoder.pad_id)
        self.budget = budget or BUDGET[self.scorer.device.type]
        self.noise: Noise | None = None

    def row_length(self, suite: Suite, task: Task) -> int:
        """Tokens of a prompt and its answer: the task's or suite's, as far as the model reads."""
        return min(int(task.settings.get("max_seq_len", suite.max_seq_len)), self.seq_len)

    def evaluate_tasks(
        self,
        suite: Suite,
        tasks: Mapping[Task, Path],
        limit: int | None,
        known: Mapping[Task, Mapping[int, Example]],
        keep: Keep,
    ) -> Iterator[Answered]:
        """Each task's records in the order of its rows (by category), as soon as all are there.

        `limit` as of the reference engine. `known` are answers of an earlier run; `keep` is given
        new ones as they come. Of several processes the first gets all tasks, at the end, and the
        others none. Raises `task_file_invalid`, `model_invalid` and `not_a_number`.
        """
        files = {task: (path, self.row_length(suite, task)) for task, path in tasks.items()}
        rows = {task: frozenset(known[task]) for task in tasks}
        work = workload_of(files, rows, limit, self.encoder, self.processes)
        cost = Cost(self.shape, work.items, work.prompts)
        run = _Run(work, cost, keep, {task: dict(known[task]) for task in tasks})
        waiting = list(tasks)
        for _ in self._answer(run):
            if self.processes.size == 1:
                yield from run.complete(waiting)
        if self.processes.size > 1:
            self._join(run)
        if self.processes.first:
            yield from run.complete(waiting)

    def rounding(self, examples: list[Example]) -> dict[str, Any] | None:
        """How far rounding moved a sample, and how many examples twice that may decide.

        None where nothing new was scored.
        """
        if self.noise is None:
            return None
        close = sum(e.margin is not None and e.margin < 2 * self.noise.largest for e in examples)
        return {
            "sample": self.noise.questions,
            "largest_difference": self.noise.largest,
            "examples_within_twice_that": close,
        }

    def _answer(self, run: _Run) -> Iterator[None]:
        """Answers everything; stops after every batch."""
        items, questions = run.work.items, run.work.questions
        for batch in batches(items, lambda: self.budget):
            started = time.monotonic()
            finished = self._score(batch, run.work)
            _add_seconds(run, batch, time.monotonic() - started)
            run.cost.scored(batch)
            run.add([(number, questions[number].record()) for number in finished])
            yield
        self.noise = measure_noise(self.scorer, items, questions)
        started = time.monotonic()
        for text in self._write(run.work.prompts):
            question = questions[text.question]
            now = time.monotonic()
            run.seconds[question.task.label] += now - started
            run.cost.written()
            run.add([(text.question, question.written(text, run.work.rules[question.task]))])
            started = now
            yield

    def _score(self, batch: list[Item], work: Workload) -> list[int]:
        """Scores a batch; the numbers of the questions that are complete by it."""
        gaps = any(work.questions[item.question].task.type == "language_modeling" for item in batch)
        finished = []
        scores = fitting(lambda part: self.scorer.score(part, gaps), batch, self.too_much)
        for number, row, score in scores:
            question = work.questions[number]
            question.scores[row] = score
            if question.complete:
                finished.append(number)
        return finished

    def _write(self, prompts: list[Prompt]) -> Iterator[Written]:
        """Writes all texts; where they do not fit in memory, fewer at a time."""
        writer = writer_of(self.model, self.scorer, self.encoder)
        size = 2 if self.precision == "bf16" else 4
        slots = slots_that_fit(self.shape, self.scorer.device, size, prompts)
        while prompts:
            done = set()
            try:
                for text in writer.write(prompts, self.budget, slots):
                    done.add(text.question)
                    yield replace(text, text=self.encoder.lead + text.text)
            except Exception as error:
                if not exhausted(error):
                    raise
                if slots == 1:
                    raise Failure("out_of_memory", "one text alone does not fit") from None
                slots //= 2
                self.budget = max(1, self.budget // 2)
            prompts = [prompt for prompt in prompts if prompt.question not in done]

    def too_much(self, items: list[Item]) -> None:
        """Makes later batches smaller than these items, which did not fit together."""
        self.budget = max(1, min(self.budget, sum(item.tokens for item in items) // 2))

    def _join(self, run: _Run) -> None:
        """Brings all processes' answers into the first; tasks travel by their labels."""
        answers = {task.label: found for task, found in run.done.items()}
        for others, seconds, noise in self.processes.collect(
            (answers, dict(run.seconds), self.noise)
        ):
            for task, found in run.done.items():
                found.update(others[task.label])
            for label, time_spent in seconds.items():
                run.seconds[label] = max(run.seconds[label], time_spent)
            if noise is not None and (self.noise is None or noise.largest > self.noise.largest):
                self.noise = noise


def _add_seconds(run: _Run, batch: list[Item], seconds: float) -> None:
    """Divides a batch's time among its tasks, by tokens."""
    total = sum(item.tokens for item in batch)
    for item in batch:
        label = run.work.questions[item.question].task.label
        run.seconds[label] += seconds * item.tokens / total
