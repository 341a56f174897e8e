"""The kinds of documents that a search for leaked questions is graded on: leaks, and honest text.

A leak is a drawn example of an index, written in one of these ways and put into an ordinary
document. A question that others ask with the same words is planted with its passage, without which
nobody could tell whose it is. Honest text shares words with the tasks and is no leak.
"""

from __future__ import annotations

import csv
import html
import io
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.contamination.code import KEYWORDS
from evaluation.contamination.index import Index, read_examples

SAME_PLACE = "abcdefghijklmnopqrstuvwxyz"
FULL_WIDTH = {ord(c): ord(c) + 0xFEE0 for c in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
SYNONYMS = ("certain", "several", "perhaps", "nearby", "instead", "another", "quickly", "together")
OTHER_DIGITS = (
    0x0660,
    0x06F0,
    0x0966,
    0x09E6,
    0xFF10,
)  # Arabic, Persian, Devanagari, Bengali, wide
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
           "eleven", "twelve")  # fmt: skip
MISREAD = str.maketrans("oliesbgcurnh", "0118568eumnb")  # what a scanner of pages takes letters for
LONG_DOCUMENT = 60_000  # characters around an embedded leak
HALF_WORDS = 8  # words that half of a question must have: fewer are a phrase that anybody writes
REPLACED_WORDS = 10  # the same of a question of which a fifth is replaced
SHORT_FACT = 9  # words of a question that turns into an honest sentence in its own order
ASKING = re.compile(
    r"(?:what|which|who|where|when) (is|are|was|were) (?:the |a |an )?([^?]{3,}?)\?*$", re.I
)
LETTERS = re.compile(r"[^\W\d_]{4,}")
FROM_ONE_EXAM_TO_THE_NEXT = (
    "Read the following passage carefully and answer the questions that follow.",
    "Which of the following statements is supported by the passage above?",
    "Choose the best answer from the four choices given below and mark it on your answer sheet.",
    "Each question is followed by five answer choices; select the one that is most nearly correct.",
    "Which one of the following, if true, most seriously weakens the argument?",
    "Each of the following could be true except one of them.",
    "Solve the problem step by step and show how you found the answer.",
    "You will be given a statement; decide whether it is true or false and explain why.",
    "The numbers in parentheses are the points that each question is worth.",
    "All rights reserved. No part of this publication may be reproduced without permission.",
    "Answer all of the questions below in complete sentences, using your own words.",
    "What is the main idea of the passage? What can be inferred from the second paragraph?",
)


@dataclass(frozen=True)
class Leak:
    """A drawn example: its number in the index, its task's number, and its texts."""

    example: int
    task: int
    text: dict[str, Any]
    alone: bool
    template: int  # words at the beginning that it shares with many others

    @property
    def asked(self) -> str:
        """The question, with its passage where it needs one."""
        if self.alone or not self.text["passage"]:
            return str(self.text["question"])
        return f"{self.text['passage']}\n{self.text['question']}"

    @property
    def answer(self) -> str:
        return str(self.text["answers"][0])

    @property
    def both(self) -> str:
        return f"{self.asked}\nAnswer: {self.answer}"


def draw_leaks(index: Index, count: int, seed: int) -> list[Leak]:
    """`count` checkable examples; each task is as likely as any other."""
    draw = random.Random(seed)  # noqa: S311 - no secret
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
        Leak(example, task, texts[example],
             bool(index.units.alone[example]) and bool(_own_words(index, example).any()),
             int(np.argmax(_own_words(index, example))))
        for example, task in chosen
    ]  # fmt: skip


def _own_words(index: Index, example: int) -> npt.NDArray[np.bool_]:
    """Of each word of the question whether any n-gram of the index covers it."""
    first = index.units.first_word[example]
    covered: npt.NDArray[np.bool_] = (
        index.units.covered[first : first + index.units.question[example]] > 0
    )
    return covered if len(covered) else np.zeros(1, np.bool_)


def verbatim(leak: Leak, _draw: random.Random) -> str:
    return leak.asked


def question_and_answer(leak: Leak, _draw: random.Random) -> str:
    return leak.both


def case_and_punctuation(leak: Leak, draw: random.Random) -> str:
    text = re.sub(r"[.,;:!?\"“”]", lambda _: draw.choice(["", " ", " - "]), leak.asked)
    text = re.sub(r" ", lambda _: draw.choice([" "] * 9 + [", ", " (", "; "]), text)
    return draw.choice([str.upper, str.lower, str.title])(f"{text} {leak.answer}")


def wrapped_and_quoted(leak: Leak, draw: random.Random) -> str:
    """A few words a line, each after a sign of quotation or of a list."""
    words, lines = f"{leak.asked} {leak.answer}".split(), []
    while words:
        size = draw.randint(3, 8)
        lines.append(draw.choice(["> ", ">> ", "| ", "* ", "  "]) + " ".join(words[:size]))
        words = words[size:]
    return "\n".join(lines)


def unicode_variants(leak: Leak, draw: random.Random) -> str:
    """Full width, ligatures, no-break and zero-width spaces, soft hyphens, curly quotes."""
    text = f"{leak.asked} {leak.answer}".replace("'", "’").replace('"', "”").replace("fi", "ﬁ")
    text = text.translate(FULL_WIDTH) if draw.random() < 0.3 else text
    text = re.sub(r" ", lambda _: draw.choice([" "] * 4 + ["\u00a0", "\u2009"]), text)
    return re.sub(
        r"(?<=[a-z])(?=[a-z])", lambda _: draw.choice([""] * 12 + ["\u200b", "\u00ad"]), text
    )


def permuted_options(leak: Leak, draw: random.Random) -> str | None:
    choices = list(leak.text["choices"])
    if len(choices) < 2 or leak.answer not in choices:
        return None
    draw.shuffle(choices)
    lettered = [f"({SAME_PLACE[k % 26]}) {choice}" for k, choice in enumerate(choices)]
    return leak.asked + "\n" + "\n".join(lettered)


def first_half(leak: Leak, _draw: random.Random) -> str | None:
    """Of question and answer, behind what many questions begin with."""
    words = f"{leak.asked} {leak.answer}".split()
    template = leak.template if leak.alone else 0
    half = (len(words) - template + 1) // 2
    return " ".join(words[: template + half]) if half >= HALF_WORDS else None


def one_word_in_five(leak: Leak, draw: random.Random) -> str | None:
    words = f"{leak.asked} {leak.answer}".split()
    if len(leak.asked.split()) < REPLACED_WORDS:
        return None
    for place in draw.sample(range(len(words)), round(len(words) / 5)):
        words[place] = draw.choice(SYNONYMS)
    return " ".join(words)


def embedded(leak: Leak, _draw: random.Random) -> str:
    """Within a sentence of a long document: see `plant`."""
    return f"{leak.asked} {leak.answer}"


def markup_attribute(leak: Leak, draw: random.Random) -> str:
    asked, answer = (html.escape(" ".join(t.split())) for t in (leak.asked, leak.answer))
    return draw.choice([
        f'<row Id="{draw.randrange(10**6)}" Body="{asked}" Answer="{answer}" />',
        f'<row Id="7" Body="&lt;p&gt;{asked}&lt;/p&gt;" Answer="&lt;b&gt;{answer}&lt;/b&gt;" />',
        f'<img src="/q/{draw.randrange(999)}.png" alt="{asked}"><span title="{answer}"></span>',
        f"<meta name='description' content='{asked.replace(chr(39), '&#39;')} {answer}'>",
    ])  # fmt: skip


def tag_wrap(leak: Leak, draw: random.Random) -> str:
    return draw.choice([
        f"<question>{leak.asked}</question><answer>{leak.answer}</answer>",
        f'<div class="q"><p>{leak.asked}</p></div>\n<div class="a"><b>{leak.answer}</b></div>',
        f"<![CDATA[{leak.asked}]]> <!-- {leak.answer} -->",
        f"<{' '.join(leak.both.split())}>",
    ])  # fmt: skip


def markdown_table(leak: Leak, draw: random.Random) -> str:
    cells = [" ".join(text.replace("|", "\\|").split()) for text in (leak.asked, leak.answer)]
    return f"| no. | question | answer |\n|---|---|---|\n| {draw.randrange(99)} | " + " | ".join(
        f"**{cell}**" if draw.random() < 0.3 else cell for cell in cells
    ) + " |"  # fmt: skip


def json_row(leak: Leak, draw: random.Random) -> str:
    row = {"id": draw.randrange(10**6), "question": leak.asked, "answer": leak.answer}
    return json.dumps(row, ensure_ascii=False)


def csv_row(leak: Leak, draw: random.Random) -> str:
    file = io.StringIO()
    csv.writer(file).writerow([draw.randrange(10**6), leak.asked, leak.answer])
    return file.getvalue()


def entities(leak: Leak, draw: random.Random) -> str:
    def written(match: re.Match[str]) -> str:
        if draw.random() > 0.05:
            return match[0]
        return draw.choice([f"&#{ord(match[0])};", f"&#x{ord(match[0]):x};"])

    text = re.sub(r"\w", written, html.escape(leak.both)).replace("\n", "<br/>\n")
    return re.sub(r" ", lambda _: draw.choice([" "] * 6 + ["&nbsp;"]), text)


def literal_escapes(leak: Leak, draw: random.Random) -> str:
    """The source of a JSON string, some of whose letters are escaped as well."""
    text = json.dumps(
        {"q": re.sub(r" ", lambda _: draw.choice([" "] * 6 + ["\n", "\t"]), leak.both)}
    )
    return re.sub(
        r"(?<![\\\w])[a-z](?=[a-z])",
        lambda m: f"\\u{ord(m[0]):04x}" if draw.random() < 0.1 else m[0], text,
    )  # fmt: skip


def inline_tags(leak: Leak, draw: random.Random) -> str:
    words = f"{leak.asked} {leak.answer}".split()
    tags = ("<b>{}</b>", '<a href="/wiki/{0}">{0}</a>', "**{}**", "<em>{}</em>&nbsp;", "{}<br/>")
    return " ".join(draw.choice(tags).format(w) if draw.random() < 0.2 else w for w in words)


def ocr_noise(leak: Leak, draw: random.Random) -> str:
    """One character in a hundred is misread or lost."""
    return "".join(
        c if draw.random() > 0.01 else draw.choice([c.translate(MISREAD), "", draw.choice("aeiou")])
        for c in leak.both
    )


def translated_digits(leak: Leak, draw: random.Random) -> str | None:
    """Digits of other scripts, or numbers up to twelve in words."""
    if not re.search(r"\d", leak.asked):
        return None
    if draw.random() < 0.5:
        zero = draw.choice(OTHER_DIGITS)
        return re.sub(r"[0-9]", lambda m: chr(zero + int(m[0])), leak.both)
    return re.sub(
        r"(?<![\d.,])\d{1,2}(?![\d.,%])",
        lambda m: NUMBERS[int(m[0])] if int(m[0]) < len(NUMBERS) else m[0], leak.both,
    )  # fmt: skip


def answer_in_next_document(leak: Leak, _draw: random.Random) -> str:
    """The document that holds the question; the next one holds the answer."""
    return f"Question: {leak.asked}"


def renamed_code(leak: Leak, draw: random.Random) -> str | None:
    """Every name of a program is another."""
    names: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        if match[0] in KEYWORDS or match[0] in ("print", "len", "range"):
            return match[0]
        return names.setdefault(match[0], f"{draw.choice(SYNONYMS)}_{len(names)}")

    code = leak.text["code"]
    return re.sub(r"[A-Za-z_]\w*", renamed, code) if code else None


def passage_only(leak: Leak, _draw: random.Random) -> str | None:
    return str(leak.text["passage"]) or None


def honest_statement(leak: Leak, draw: random.Random) -> str | None:
    """The same fact as an author would tell it who never saw the question."""
    answer, question = leak.answer.strip(), " ".join(leak.text["question"].split())
    if not LETTERS.search(answer) or len(answer.split()) > 6 or not question.endswith("?"):
        return None
    if len(question.split()) <= SHORT_FACT and (found := ASKING.match(question)):
        return f"It is well known that the {found[2]} {found[1]} {answer}, as everybody says."
    words = list(dict.fromkeys(LETTERS.findall(question)))[:8]
    draw.shuffle(words)
    return f"About {answer} one reads much: {', '.join(words[:-1])} and also {words[-1]}." if (
        len(words) > 2) else None  # fmt: skip


def boilerplate(_leak: Leak, draw: random.Random) -> str:
    """What one exam after the other says."""
    return " ".join(draw.sample(FROM_ONE_EXAM_TO_THE_NEXT, 5))


Kind = Callable[[Leak, random.Random], str | None]
LEAKS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (verbatim, question_and_answer, case_and_punctuation, wrapped_and_quoted,
                 unicode_variants, permuted_options, first_half, one_word_in_five, embedded,
                 markup_attribute, tag_wrap, markdown_table, json_row, csv_row, entities,
                 literal_escapes, inline_tags, ocr_noise, translated_digits,
                 answer_in_next_document, renamed_code)
}  # fmt: skip
HONEST: dict[str, Kind] = {
    kind.__name__: kind for kind in (passage_only, honest_statement, boilerplate)
}


def plant(text: str, carrier: str, draw: random.Random) -> str:
    """The text as a paragraph of its own, somewhere in an ordinary document."""
    places = [match.end() for match in re.finditer(r"\n\n", carrier)] or [len(carrier)]
    place = draw.choice(places)
    return f"{carrier[:place]}\n\n{text}\n\n{carrier[place:]}"


def documents(
    leaks: Sequence[Leak], kind: str, carriers: Sequence[str], seed: int
) -> list[tuple[Leak, str]]:
    """(leak, document) of one kind; only of those leaks that can be written that way."""
    draw = random.Random(f"{seed} {kind}")  # noqa: S311 - no secret
    planted = []
    for leak in leaks:
        text = (LEAKS.get(kind) or HONEST[kind])(leak, draw)
        if text is None:
            continue
        if kind == "embedded":
            around: list[str] = []
            while sum(map(len, around)) < LONG_DOCUMENT:
                around.append(draw.choice(carriers))
            carrier = "\n\n".join(around)
            place = carrier.find(" ", draw.randrange(len(carrier) * 3 // 4)) + 1
            planted.append((leak, f"{carrier[:place]}{text} {carrier[place:]}"))
        else:
            planted.append((leak, plant(text, draw.choice(carriers), draw)))
    return planted
