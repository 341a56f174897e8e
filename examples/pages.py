"""Makes HTML pages of texts, as the sites of a small web show them, and writes them as WARC.

The text of a page is real; what is around it is made: menus, side bars, scripts, banners, footers.
"""

from __future__ import annotations

import hashlib
import html
import io
import random
import re
from pathlib import Path
from typing import NamedTuple

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

WHEN = "2026-01-01T00:00:00Z"
TOPICS = ("Guide", "Reference", "Tutorial", "Changes", "Examples", "Downloads", "Forum", "About")
SCRIPT = (
    "window.dataLayer=window.dataLayer||[];function track(e){dataLayer.push({event:e,at:Date.now()"
    "})};document.addEventListener('scroll',function(){track('scroll')},{passive:true});"
)
STYLE = "body{font:16px/1.5 sans-serif;margin:0}nav ul{display:flex;gap:1em}.ad{float:right}"
BANNERS = (
    "We use cookies to improve your experience. Accept all | Reject | Settings",
    "Sign up for our newsletter and never miss an update! Enter your e-mail address below.",
    "You have 3 free articles left this month. Subscribe now for unlimited access.",
)
SPAM = ("cheap", "casino", "bonus", "loan", "pills", "free", "win", "click", "offer", "best")
INDENTED = re.compile(r"^(?: {4}|\t|>>> )", re.MULTILINE)


class Page(NamedTuple):
    """A page by its address."""

    url: str
    html: bytes


def page_of(source: str, text: str) -> Page:
    """The text as a page of the site of its source; the same bytes for the same text."""
    rng = random.Random(hashlib.blake2b(f"{source}\n{text}".encode()).digest())  # noqa: S311
    site, _, path = source.partition("/")
    host = f"{site.replace(' ', '-').replace('_', '-')}.example"
    title = html.escape(path.rpartition("/")[2] or path)
    main = "\n".join(_block(part) for part in re.split(r"\n\s*\n", text) if part.strip())
    side = "".join(f"<li><a href='/{n}'>{rng.choice(TOPICS)} {n}</a></li>" for n in range(12))
    banner = f"<div class='banner'>{rng.choice(BANNERS)}</div>" if rng.random() < 0.5 else ""
    share = "<div class='share'>Share: Mail Print Link</div>" if rng.random() < 0.5 else ""
    near = "".join(f"<li>Related: {rng.choice(TOPICS)} no. {rng.randrange(900)}</li>"
                   for _ in range(8))  # fmt: skip
    menu = "".join(f"<li><a href='/{one.lower()}'>{one}</a></li>" for one in TOPICS)
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>
<script>{SCRIPT * 6}</script></head><body>{banner}
<header><nav class="menu"><ul>{menu}</ul></nav></header>
<aside class="sidebar"><ul>{side}</ul></aside>
<main><h1>{title}</h1>
{main}
</main>{share}<div class="related"><ul>{near}</ul></div>
<footer>Copyright {rng.randrange(1999, 2026)} | Terms | Privacy | Imprint | Sitemap</footer>
<script>{SCRIPT * 4}</script></body></html>"""
    return Page(f"http://{host}/{path}", page.encode(errors="replace"))


def spam_page(rng: random.Random) -> Page:
    """Keywords, and links to other such pages."""
    words = [" ".join(rng.choices(SPAM, k=9)).capitalize() + "." for _ in range(30)]
    return page_of(f"{rng.choice(SPAM)}-{rng.choice(SPAM)}/{rng.random()}", "\n\n".join(words))


def _block(part: str) -> str:
    if INDENTED.search(part):
        return f"<pre>{html.escape(part)}</pre>"
    return f"<p>{html.escape(part.strip())}</p>"


def write_warc(path: Path, pages: list[Page]) -> None:
    """One file with a member a record, without time stamps or drawn names."""
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for page in pages:
            kind = [("Content-Type", "text/html; charset=utf-8")]
            mark = hashlib.blake2b(page.url.encode() + page.html, digest_size=16).hexdigest()
            record = writer.create_warc_record(
                page.url, "response", payload=io.BytesIO(page.html),
                http_headers=StatusAndHeaders("200 OK", kind, protocol="HTTP/1.1"),
                warc_headers_dict={"WARC-Date": WHEN, "WARC-Record-ID": f"<urn:uuid:{mark}>"},
            )  # fmt: skip
            writer.write_record(record)
