"""The texts of a prompt, before they are encoded: examples, question and answers.

Specification: llm-foundry 0.22.0, eval/datasets/in_context_learning_evaluation.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evaluation.native.rows import GENERATION, Group, labels, stripped
from evaluation.suite import Task

EXAMPLE_DELIMITER = "\n"


@dataclass(frozen=True)
class RowTexts:
    """What is encoded for one row: the examples, and a context and an answer for each option."""

    preamble: str
    contexts: list[str]
    answers: list[str]


class PromptTexts:
    """Writes the prompts of a group; `prefix_space` gives every scored answer a leading space."""

    def __init__(self, task: Task, group: Group, prefix_space: bool) -> None:
        self.group, self.prefix_space = group, prefix_space
        self.type = task.type
        self.before = str(task.settings.get("question_prelimiter", ""))
        self.joint = str(task.settings.get("continuation_delimiter", " "))
        self.chain_joint = str(task.settings.get("cot_delimiter", ""))
        self.has_chain = any("chain_of_thought" in row for row in group.rows)
        self.rows = [stripped(row) for row in group.rows]
        # Each row as an example of others: at the beginning of a prompt, and after other examples.
        self.first = [self._context(row, "") + self._known_answer(row) for row in self.rows]
        self.later = [
            self._context(row, EXAMPLE_DELIMITER) + self._known_answer(row) for row in self.rows
        ]

    def row(self, place: int, examples: list[int]) -> RowTexts:
        """The texts of one row of the group, with these rows as its examples."""
        row, preamble = self.rows[place], ""
        for example in examples:
            preamble += self.later[example] if preamble else self.first[example]
        if self.type == "schema":
            contexts = self._schema_contexts(row, preamble)
            return RowTexts(preamble, contexts, [self._spaced(row["continuation"])] * len(contexts))
        context = self._context(row, EXAMPLE_DELIMITER if preamble else "").rstrip()
        if self.type == GENERATION:
            return RowTexts(preamble, [context], [""])
        answers = row["choices"] if self.type == "multiple_choice" else [row["continuation"]]
        return RowTexts(preamble, [context] * len(answers), [self._spaced(a) for a in answers])

    def length(self, place: int, examples: list[int]) -> int:
        """Characters of a row's prompt with these examples, without its answers."""
        return sum(len(self.later[example]) for example in (*examples, place))

    def full_answers(self) -> list[str]:
        """Every answer that counts as right, after its chain; not stripped, as in the file."""
        return [self._chained(row, label) for row in self.group.rows for label in labels(row)]

    def _context(self, row: dict[str, Any], delimiter: str) -> str:
        """The question; of a schema, where the delimiter stands elsewhere, the gold option."""
        if self.type == "schema":
            option = row["context_options"][row["gold"]]
            return f"{self.before}{delimiter}{option}{self.joint}"
        text = row["query"] if self.type == "multiple_choice" else row["context"]
        return f"{delimiter}{self.before}{text}{self.joint}"

    def _schema_contexts(self, row: dict[str, Any], preamble: str) -> list[str]:
        """Only after examples does a delimiter stand between the option and the continuation."""
        options = row["context_options"]
        if not preamble:
            return [f"{self.before}{option}" for option in options]
        return [
            f"{self.before}{EXAMPLE_DELIMITER}{option}{self.joint.rstrip()}" for option in options
        ]

    def _known_answer(self, row: dict[str, Any]) -> str:
        """The answer of an example, to which no space is added: the delimiter has it."""
        if self.type == GENERATION:
            return self._chained(row, row["answer"])
        answer: str
        if self.type == "multiple_choice":
            answer = row["choices"][row["gold"]]
        else:
            answer = row["continuation"]
        return answer

    def _chained(self, row: dict[str, Any], answer: str) -> str:
        if not self.has_chain:
            return answer
        return f"{row['chain_of_thought']}{self.chain_joint}{answer}"

    def _spaced(self, answer: str) -> str:
        return f" {answer}" if self.prefix_space and not answer.startswith(" ") else answer
