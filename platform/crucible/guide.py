"""The pages of docs/ as HTML: one source for readers of the repository and of the site."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

from crucible.paths import REPOSITORY

DOCS = REPOSITORY / "docs"
# Who looks for what; every page of docs/ stands in one of these (a test holds it).
SECTIONS = {
    "Take part": ("participant", "profile", "curation", "mixtures", "mixture-lab", "recipes",
                  "scores", "transfer", "failures", "command-line", "glossary"),
    "How it is done": ("pipeline", "tokenise", "training", "evaluation", "contamination", "cost",
                       "benchmarks"),
    "Judge": ("reviewer",),
    "Run a site": ("organiser", "deploy", "backup", "settings", "budgets", "backends", "ray",
                   "monitoring", "security", "faults", "urls"),
}  # fmt: skip
_CODE = re.compile(r"^`([\w-]+)`$")


@dataclass(frozen=True)
class Heading:
    """A heading of the second level, with its anchor."""

    anchor: str
    title: str


@dataclass(frozen=True)
class Page:
    """A page of docs/: its title, its HTML and its headings."""

    name: str
    title: str
    html: SafeString
    headings: tuple[Heading, ...]


def page_names() -> list[str]:
    """Every page, decisions too, in the order of the contents."""
    named = [name for names in SECTIONS.values() for name in names]
    decisions = sorted(path.stem for path in (DOCS / "decisions").glob("*.md"))
    return named + decisions


def contents() -> dict[str, list[Page]]:
    """The pages by section."""
    found = {title: [page_of(name) for name in names] for title, names in SECTIONS.items()}
    return {
        title: [page for page in pages if page is not None] for title, pages in found.items()
    } | {
        "Decisions": [
            page
            for path in sorted((DOCS / "decisions").glob("*.md"))
            if (page := page_of(path.stem)) is not None
        ]
    }


def page_of(name: str) -> Page | None:
    """The page of this name; None if there is none. `name` is not trusted."""
    if name not in page_names():
        return None
    path = DOCS / f"{name}.md"
    path = path if path.exists() else DOCS / "decisions" / f"{name}.md"
    return _read(path, path.stat().st_mtime_ns)


def anchor_of(title: str) -> str:
    """As GitHub makes it, whose anchors the links of docs/ use."""
    kept = re.sub(r"[^\w\- ]", "", title.replace("`", "").lower())
    return kept.replace(" ", "-")


@cache
def _read(path: Path, _changed: int) -> Page:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", _table_open)
    parser.add_render_rule("table_close", _table_close)
    tokens = parser.parse(path.read_text())
    headings: list[tuple[str, Heading]] = []
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            title = tokens[number + 1].content.replace("`", "")
            heading = Heading(anchor_of(tokens[number + 1].content), title)
            token.attrSet("id", heading.anchor)
            headings.append((token.tag, heading))
        elif token.type == "tr_open":
            _name_row(tokens, number)
        elif token.type == "inline":
            for child in token.children or []:
                if child.type == "link_open":
                    _lead(child)
    html = parser.renderer.render(tokens, parser.options, {})
    title = next((heading.title for tag, heading in headings if tag == "h1"), path.stem)
    second = tuple(heading for tag, heading in headings if tag == "h2")
    # The text comes with the code, and the parser escapes every tag in it.
    return Page(path.stem, title, mark_safe(html), second)  # noqa: S308


def _table_open(*_: Any) -> str:
    return '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>\n'


def _table_close(*_: Any) -> str:
    return "</table></div>\n"


def _name_row(tokens: list[Token], number: int) -> None:
    """A row about one word of code gets it as its anchor: links lead to a failure's row."""
    cell = tokens[number + 2] if number + 2 < len(tokens) else None
    found = _CODE.match(cell.content) if cell is not None and cell.type == "inline" else None
    if found:
        tokens[number].attrSet("id", f"code-{found[1]}")


def _lead(link: Token) -> None:
    """A link to another page of docs/ leads to it on the site; to a file of the clone nowhere."""
    target = str(link.attrGet("href") or "")
    if "://" in target or target.startswith("#"):
        return
    path, _, anchor = target.partition("#")
    name = Path(path).stem
    if path.endswith(".md") and name in page_names():
        link.attrSet("href", f"/docs/{name}/" + (f"#{anchor}" if anchor else ""))
    else:
        link.attrSet("href", f"#{anchor}" if anchor else "#main")
        link.attrSet("title", f"in the clone: {target}")
