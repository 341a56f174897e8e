"""Makes leaks to look for: questions of an index, altered in known ways, in ordinary documents.

Every case alters the same drawn questions. A question that others ask with the same words is
planted with its passage, without which nobody could tell whose it is.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.contamination.index import Index, read_examples

SAME_PLACE = "abcdefghijklmnopqrstuvwxyz"
FULL_WIDTH = {ord(c): ord(c) + 0xFEE0 for c in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
SYNONYMS = ("certain", "several", "perhaps", "nearby", "instead", "another", "quickly", "together")


@dataclass(frozen=True)
class Leak:
    """A drawn example: its number in the index, its task, and its texts."""

    example: int
    task: str
    text: dict[str, Any]
    alone: bool

    @property
    def asked(self) -> str:
        """The question, with its passage where it needs one."""
        if self.alone or not self.text["passage"]:
            return str(self.text["question"])
        return f"{self.text['passage']}\n{self.text['question']}"

    @property
    def answer(self) -> str:
        return str(self.text["answers"][0])


def draw_leaks(index: Index, count: int, seed: int) -> list[Leak]:
    """`count` checkable examples; each task is as likely as any other."""
    draw = random.Random(seed)
    of_task: dict[int, list[int]] = {}
    for example, task, _ in index.owners.tolist():
        if index.checkable[example]:
            of_task.setdefault(task, []).append(example)
    chosen = []
    for _ in range(count):
        task = draw.choice(sorted(of_task))
        chosen.append((draw.choice(of_task[task]), task))
    texts = read_examples(index, [example for example, _ in chosen])
    return [
        Leak(example, index.tasks[task]["label"], texts[example],
             bool(index.units.alone[example]) and _own_words(index, example))
        for example, task in chosen
    ]  # fmt: skip


def _own_words(index: Index, example: int) -> bool:
    first = index.units.first_word[example]
    return bool(index.units.covered[first : first + index.units.question[example]].any())


def question(leak: Leak, _draw: random.Random) -> str:
    return leak.asked


def question_and_answer(leak: Leak, _draw: random.Random) -> str:
    return f"{leak.asked}\nAnswer: {leak.answer}"


def everything(leak: Leak, _draw: random.Random) -> str:
    return f"{leak.text['passage']}\n\nQ: {leak.text['question']}\nA: {leak.answer}"


def reworded(leak: Leak, draw: random.Random) -> str:
    """One word in five is another."""
    words = f"{leak.asked} {leak.answer}".split()
    for place in draw.sample(range(len(words)), round(len(words) / 5)):
        words[place] = draw.choice(SYNONYMS)
    return " ".join(words)


def case_and_punctuation(leak: Leak, draw: random.Random) -> str:
    text = re.sub(r"[.,;:!?\"“”]", lambda _: draw.choice(["", " ", " - "]), leak.asked)
    text = re.sub(r" ", lambda _: draw.choice([" "] * 9 + [", ", " (", "; "]), text)
    return draw.choice([str.upper, str.lower, str.title])(f"{text} {leak.answer}")


def truncated(leak: Leak, _draw: random.Random) -> str:
    """The first half of question and answer."""
    words = f"{leak.asked} {leak.answer}".split()
    return " ".join(words[: (len(words) + 1) // 2])


def broken_and_quoted(leak: Leak, draw: random.Random) -> str:
    """A few words a line, each after a sign of quotation or of a list."""
    words, lines = f"{leak.asked} {leak.answer}".split(), []
    while words:
        size = draw.randint(3, 8)
        lines.append(draw.choice(["> ", ">> ", "| ", "* ", "  "]) + " ".join(words[:size]))
        words = words[size:]
    return "\n".join(lines)


def permuted_choices(leak: Leak, draw: random.Random) -> str:
    choices = list(leak.text["choices"])
    if len(choices) < 2 or leak.answer not in choices:
        choices = [leak.answer]
    draw.shuffle(choices)
    lettered = [f"({'abcdefghij'[k]}) {choice}" for k, choice in enumerate(choices)]
    return leak.asked + "\n" + "\n".join(lettered)


def unicode_variants(leak: Leak, draw: random.Random) -> str:
    """Full width, ligatures, no-break and zero-width spaces, soft hyphens, curly quotes."""
    text = f"{leak.asked} {leak.answer}".replace("'", "’").replace('"', "”").replace("fi", "ﬁ")
    text = text.translate(FULL_WIDTH) if draw.random() < 0.3 else text
    text = re.sub(r" ", lambda _: draw.choice([" "] * 4 + ["\u00a0", "\u2009"]), text)
    return re.sub(
        r"(?<=[a-z])(?=[a-z])", lambda _: draw.choice([""] * 12 + ["\u200b", "\u00ad"]), text
    )


def marked_up(leak: Leak, draw: random.Random) -> str:
    words = f"{leak.asked} {leak.answer}".split()
    tags = ("<b>{}</b>", '<a href="/wiki/{0}">{0}</a>', "**{}**", "<em>{}</em>&nbsp;", "{}<br/>")
    return " ".join(draw.choice(tags).format(w) if draw.random() < 0.2 else w for w in words)


def passage_only(leak: Leak, _draw: random.Random) -> str:
    return str(leak.text["passage"])


CASES: dict[str, Callable[[Leak, random.Random], str]] = {
    case.__name__: case
    for case in (question, question_and_answer, everything, case_and_punctuation, broken_and_quoted,
                 unicode_variants, marked_up, permuted_choices, truncated, reworded, passage_only)
}  # fmt: skip


def plant(text: str, carrier: str, draw: random.Random) -> str:
    """The text as a paragraph of its own, somewhere in an ordinary document."""
    places = [match.end() for match in re.finditer(r"\n\n", carrier)] or [len(carrier)]
    place = draw.choice(places)
    return f"{carrier[:place]}\n\n{text}\n\n{carrier[place:]}"


def planted(
    leaks: Sequence[Leak], case: str, carriers: Sequence[str], seed: int
) -> list[tuple[Leak, str]]:
    """(leak, document) of one case; only those that the case can alter."""
    draw = random.Random(f"{seed} {case}")
    chosen = [leak for leak in leaks if _fits(leak, case)]
    return [(leak, plant(CASES[case](leak, draw), draw.choice(carriers), draw)) for leak in chosen]


def _fits(leak: Leak, case: str) -> bool:
    if case == "permuted_choices":
        return len(leak.text["choices"]) > 1 and leak.answer in leak.text["choices"]
    return bool(leak.text["passage"]) if case == "passage_only" else True
