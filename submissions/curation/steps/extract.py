"""`extract`: the text of an HTML page.

`resiliparse` keeps the main content (DCLM's choice), `wet` all that is visible, as Common Crawl's
WET files do, `trafilatura` the main content by another library, twenty times slower.
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from submissions.curation.step import Document, Step, step

LARGEST = {"resiliparse": 10 * 2**20, "wet": 10 * 2**20, "trafilatura": 2 * 2**20}  # bytes
# Resiliparse takes time with the square of this depth: 3 seconds for 8,000 levels.
DEEPEST = 1_000
MOST_LOST = 0.01  # of the characters, that may be no character of the encoding
_NESTING = re.compile(r"<(/?)(?:div|article)\b", re.IGNORECASE)


@step("extract")
class Extract(Step, frozen=True):
    """Makes text of pages; documents that are text already stay as they are."""

    reads: ClassVar[str] = "page"

    engine: Literal["resiliparse", "wet", "trafilatura"] = "resiliparse"

    def apply(self, document: Document) -> str | None:
        """Drops what holds no text, and what no extractor should be given."""
        if document.fault:
            return document.fault
        if document.page is None:
            return None
        page, document.page = document.page, None
        if len(page) > LARGEST[self.engine]:
            return f"page larger than {LARGEST[self.engine] // 2**20} MiB"
        html = decoded(page, document.charset)
        if html.count("\ufffd") > MOST_LOST * len(html):
            return "page in no known encoding"
        if _depth(html) > DEEPEST:
            return f"page nested deeper than {DEEPEST:,} levels"
        text = (
            _trafilatura(html)
            if self.engine == "trafilatura"
            else _resiliparse(html, self.engine == "resiliparse")
        )
        document.text = text.encode(errors="replace").decode().replace("\0", "").strip()
        return None if document.text else "page without text"


def decoded(page: bytes, charset: str) -> str:
    """The page as text: UTF-8 where it is, else as the server or the page say, else as it looks.

    Declarations are often wrong, but what decodes as UTF-8 hardly ever is anything else.
    """
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    for encoding in ("utf-8-sig", charset):
        try:
            return page.decode(encoding)
        except (UnicodeError, LookupError):
            continue
        except ValueError:  # such as a name with a NUL
            continue
    guess = detect_encoding(page, from_html_meta=True) or "utf-8"
    return str(bytes_to_str(page, guess, "replace"))


def _resiliparse(html: str, main_content: bool) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(html, main_content=main_content))


def _trafilatura(html: str) -> str:
    import trafilatura

    return trafilatura.extract(html, include_comments=False, deduplicate=False) or ""


def _depth(html: str) -> int:
    """The deepest nesting of what makes the extractor slow."""
    depth = deepest = 0
    for closing in _NESTING.findall(html):
        depth = max(depth - 1, 0) if closing else depth + 1
        deepest = max(deepest, depth)
    return deepest
