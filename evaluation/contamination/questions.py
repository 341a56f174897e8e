"""What a task asks, one record an example: passage, question, choices and answer apart.

One adapter for each of LLM Foundry's task types reads a row of a task file; what a prompt adds
around the question (labels such as `Question:`, lettered choices, questions asked before) is
stripped. What many examples share beyond that is found by the index, which drops it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from evaluation.contamination.folding import words_in
from evaluation.suite import Task
from submissions.failures import Failure

# A passage is what a question is asked about and may well stand in honest data; a shorter one is a
# situation made up for the question, and a part of it.
PASSAGE_WORDS = 50
LABELS = re.compile(
    r"(?:^|\n|(?<=[.!?] ))[ \t]*"
    r"(passage|context|story|preceding questions|final question|question|q)[ \t]*:[ \t]*",
    re.IGNORECASE,
)
ANSWER_LABEL = re.compile(r"\s*\b(?:answer|a|english translation|output)\s*:\s*$", re.IGNORECASE)
# A lettered choice begins a line, or follows the word "Choices:".
CHOICE = re.compile(
    r"(?:^|\n|choices:[ \t]*)[ \t]*\(?([a-j])(?:\.\)|[.)])[ \t]*(?=\S)", re.IGNORECASE
)
CHOICES_LABEL = re.compile(r"\s*\bchoices\s*:\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """One example of a task. `index` is its row in the task's file, from 0.

    `answers` are texts that each would give the answer away, the one that is asked for first;
    `code` is a program, for tasks that ask for one.
    """

    index: int
    passage: str
    question: str
    choices: tuple[str, ...]
    answers: tuple[str, ...]
    code: str = ""


def read_questions(task: Task, path: Path) -> list[Question]:
    """Every example of a task file; raises `task_file_invalid` for a row that cannot be read."""
    adapt = ADAPTERS[task.type]
    questions = []
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    for index, line in enumerate(lines):
        try:
            questions.append(adapt(index, json.loads(line)))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            said = f"{task.label}: row {index} of {path.name} cannot be read: {error!r}"
            raise Failure("task_file_invalid", said) from None
    return list(map(_with_situation, questions)) if _are_situations(questions) else questions


def _are_situations(questions: list[Question]) -> bool:
    """Whether what stands as passages belongs to the questions: see PASSAGE_WORDS.

    It does as well where most rows ask the same: then it is the passage that tells them apart.
    """
    lengths = [words_in(one.passage) for one in questions if one.passage]
    asked = Counter(one.question for one in questions if one.passage)
    return bool(lengths) and (
        median(lengths) < PASSAGE_WORDS or asked.most_common(1)[0][1] > len(questions) // 2
    )


def _with_situation(one: Question) -> Question:
    return replace(one, passage="", question=f"{one.passage}\n{one.question}".strip())


def _multiple_choice(index: int, row: dict[str, Any]) -> Question:
    prompt, lettered = _without_choices(row["query"])
    choices = [str(choice) for choice in row["choices"]]
    if lettered and all(len(choice.strip()) == 1 for choice in choices):
        choices = [lettered.get(choice.strip().lower(), choice) for choice in choices]
    passage, question = _sections(prompt)
    gold = choices[row["gold"]]
    return Question(index, passage, question, tuple(choices), (gold,))


def _schema(index: int, row: dict[str, Any]) -> Question:
    right = str(row["context_options"][row["gold"]])
    return Question(index, "", right, tuple(row["context_options"]), (str(row["continuation"]),))


def _language_modeling(index: int, row: dict[str, Any]) -> Question:
    prompt, lettered = _without_choices(row["context"])
    passage, question = _sections(prompt)
    return Question(index, passage, question, tuple(lettered.values()), (str(row["continuation"]),))


def _generation(index: int, row: dict[str, Any]) -> Question:
    passage, question = _sections(_without_choices(row["context"])[0])
    answers = [str(row["answer"]), *map(str, row.get("aliases") or [])]
    # Reasoning that leads to a number tells more than the number.
    if row.get("chain_of_thought"):
        answers.append(str(row["chain_of_thought"]))
    return Question(index, passage, question, (), tuple(dict.fromkeys(answers)))


def _code(index: int, row: dict[str, Any]) -> Question:
    solution = str(row["canonical_solution"])
    return Question(index, "", row["prompt"], (), (solution,), row["prompt"] + solution)


ADAPTERS: dict[str, Callable[[int, dict[str, Any]], Question]] = {
    "multiple_choice": _multiple_choice,
    "schema": _schema,
    "language_modeling": _language_modeling,
    "generation_task_with_answers": _generation,
    "code_evaluation": _code,
}


def _without_choices(prompt: str) -> tuple[str, dict[str, str]]:
    """The prompt without its lettered choices and what follows, and the choices by letter."""
    prompt = ANSWER_LABEL.sub("", prompt)
    found = list(CHOICE.finditer(prompt))
    # The list ends the prompt and begins with the letter A that is nearest to the end.
    starts = [k for k, match in enumerate(found) if match[1].lower() == "a"]
    if not starts or starts[-1] == len(found) - 1:
        return prompt, {}
    found = found[starts[-1] :]
    ends = [match.start() for match in found[1:]] + [len(prompt)]
    choices = {
        match[1].lower(): prompt[match.end() : end].strip()
        for match, end in zip(found, ends, strict=True)
    }
    return CHOICES_LABEL.sub("", prompt[: found[0].start()]), choices


def _sections(prompt: str) -> tuple[str, str]:
    """(passage, question) of a prompt with labels; what stands before them is an instruction."""
    pieces = LABELS.split(ANSWER_LABEL.sub("", prompt))
    opening, named = pieces[0], list(zip(pieces[1::2], pieces[2::2], strict=True))
    passages = [text for name, text in named if name.lower() in ("passage", "context", "story")]
    questions = [
        text for name, text in named if name.lower() in ("question", "q", "final question")
    ]
    passage = "\n".join(passages).strip().strip("'")
    question = questions[-1] if questions else ""
    if not (question or opening).strip():
        passage, question = "", passage
    # An instruction before a labelled question is the same for every row; without one it may be
    # the question itself.
    whole = f"{opening}\n{question}".strip() if opening.strip() else question.strip()
    return passage, ANSWER_LABEL.sub("", whole)
