"""What one process computes: the items and prompts of all tasks, or of its share of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evaluation.native.answers import AnswerRule, rule_of
from evaluation.native.generation import Prompt, prompt_of
from evaluation.native.plan import Item, items_of
from evaluation.native.prompts import GroupPrompts
from evaluation.native.questions import Pending, pending
from evaluation.native.rows import GENERATION, read_groups
from evaluation.native.tokens import PromptEncoder
from evaluation.processes import Processes
from evaluation.suite import Task


@dataclass
class Workload:
    """Questions by number; items are scored and prompts written for them.

    `order` has, for each task, the rows asked by all processes together, as its records go.
    """

    questions: list[Pending] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)
    rules: dict[Task, AnswerRule] = field(default_factory=dict)
    order: dict[Task, list[int]] = field(default_factory=dict)


def workload_of(
    tasks: Mapping[Task, tuple[Path, int]],
    known: Mapping[Task, frozenset[int]],
    limit: int | None,
    encoder: PromptEncoder,
    processes: Processes,
) -> Workload:
    """What this process answers of the tasks (each with its file and row length).

    Rows whose answers are `known` are left out. Raises `task_file_invalid` and `model_invalid`.
    """
    work = Workload()
    groups: list[GroupPrompts] = []
    for task, (path, length) in tasks.items():
        work.order[task] = []
        for group in read_groups(task, path):
            groups.append(GroupPrompts(task, group, encoder, length))
            work.order[task] += group.indices[:limit]
    asked = [
        [p for p in prompts.places(limit) if prompts.group.indices[p] not in known[prompts.task]]
        for prompts in groups
    ]
    for prompts, places in zip(groups, _shares(groups, asked, processes), strict=True):
        _add(work, prompts, places)
    return work


def _shares(
    groups: list[GroupPrompts], asked: list[list[int]], processes: Processes
) -> list[list[int]]:
    """The places of each group that this process answers, balanced by the length of their texts.

    Writing costs more than reading, so generations are dealt apart from the rest.
    """
    if processes.size == 1:
        return asked
    shares: list[list[int]] = [[] for _ in groups]
    for writing in (False, True):
        pieces = [
            (number, place, cost)
            for number, (group, places) in enumerate(zip(groups, asked, strict=True))
            if (group.task.type == GENERATION) is writing
            for place, cost in zip(places, group.costs(places), strict=True)
        ]
        for i in processes.share([cost for *_, cost in pieces]):
            shares[pieces[i][0]].append(pieces[i][1])
    return [sorted(places) for places in shares]


def _add(work: Workload, group: GroupPrompts, places: list[int]) -> None:
    task, pad_id = group.task, group.encoder.pad_id
    if task.type == GENERATION:
        work.rules[task] = rule_of(task)
    for question in group.questions(places):
        number = len(work.questions)
        work.questions.append(pending(task, question))
        if task.type != GENERATION:
            work.items += items_of(number, question, pad_id)
            continue
        context = question.options[0].context
        work.prompts.append(
            prompt_of(number, context, group.row_length, group.new_tokens, work.rules[task], pad_id)
        )
