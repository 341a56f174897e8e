"""Curates a pool with simple, published rules: keep English prose, once.

    python examples/curate.py POOL OUT_DIR

Per document: drop exact copies, take it apart into paragraphs, keep those that read like sentences
(C4's and Gopher's heuristics, on paragraphs), drop paragraphs that were seen before in nearly the
same words, and keep the rest if enough is left. Prints what was removed and why.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import zstandard

from submissions.shard_search import find_shards
from submissions.shards import read_documents

STOP_WORDS = frozenset(
    ("the", "be", "to", "of", "and", "that", "have", "with", "a", "in", "is", "it", "for", "on",
     "are", "as", "this", "by", "not", "or", "an", "from", "if", "can")
)  # fmt: skip
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
ROLE = re.compile(r":[a-z:]+:`~?([^`<]*?)(?: <[^`>]*>)?`")  # :class:`~a.B` of reStructuredText
# A bullet, a number or a parameter's name with its type, at the head of a list item.
ITEM = re.compile(r"^(?:[-*•]|\d+[.)]|:\w+ ?[^:]*:|[\w*.`]+ ?(?:\([^)]*\))? ?:)\s+")
MIN_PARAGRAPH, MIN_UNFINISHED, MIN_DOCUMENT = 8, 12, 30  # words
DOCUMENTS_A_SHARD = 2000


def paragraphs(text: str) -> Iterator[str]:
    """Lines of one indentation, joined as if never wrapped; a list item keeps its hanging lines."""
    lines: list[str] = []
    indent = 0
    for line in [*text.splitlines(), ""]:
        bare = line.strip()
        margin = len(line) - len(line.lstrip())
        hangs = len(lines) == 1 and margin > indent and ITEM.match(lines[0])
        if lines and ((margin != indent and not hangs) or not WORD.search(bare)):
            yield re.sub(r"\s+", " ", " ".join(lines))
            lines = []
        if WORD.search(bare):
            indent = margin
            lines.append(bare)


def clean(paragraph: str) -> str:
    """The paragraph without its bullet or parameter name and the marks of inline markup."""
    paragraph = ROLE.sub(r"\1", ITEM.sub("", paragraph))
    return re.sub(r"\*(\w+)\*", r"\1", re.sub(r"[`]|\*\*", "", paragraph)).strip()


def fault_of_paragraph(paragraph: str) -> str | None:
    """Why a paragraph is no prose, or None. The thresholds follow Gopher (2112.11446, table A1)."""
    words = WORD.findall(paragraph)
    if len(words) < MIN_PARAGRAPH:
        return "paragraph: too short"
    whole = paragraph[0].isupper() and paragraph.rstrip("\"')”’").endswith((".", "!", "?", ":"))
    if not whole and len(words) < MIN_UNFINISHED:
        return "paragraph: no whole sentence"
    if not 3 <= sum(map(len, words)) / len(words) <= 8:
        return "paragraph: mean word length"
    if sum(map(len, words)) + paragraph.count(" ") < 0.85 * len(paragraph):
        return "paragraph: too few letters"
    if len(re.findall(r"[{}\[\]<>=_|\\/*#@$%^~+]", paragraph)) > 0.025 * len(paragraph):
        return "paragraph: symbols"
    if sum(word.lower() in STOP_WORDS for word in words) < 0.2 * len(words):
        return "paragraph: too few English stop words"
    if len({word.lower() for word in words}) < 0.4 * len(words):
        return "paragraph: repeats itself"
    return None


def fingerprint(paragraph: str) -> bytes:
    """Equal for paragraphs that differ only in case, digits, spacing and punctuation."""
    words = " ".join(WORD.findall(paragraph.lower()))
    return hashlib.blake2b(words.encode(), digest_size=8).digest()


class Curator:
    """Remembers what was seen, and counts the bytes of what was removed by reason."""

    def __init__(self) -> None:
        self.removed: Counter[str] = Counter()
        self._documents: set[bytes] = set()
        self._paragraphs: set[bytes] = set()

    def curate(self, text: str) -> str | None:
        """The document with its good paragraphs only, or None when it is dropped."""
        whole = hashlib.blake2b(text.encode(), digest_size=8).digest()
        if whole in self._documents:
            self.removed["document: exact copy"] += len(text)
            return None
        self._documents.add(whole)
        kept = []
        for paragraph in map(clean, paragraphs(text)):
            mark = fingerprint(paragraph)
            fault = fault_of_paragraph(paragraph)
            if fault is None and mark in self._paragraphs:
                fault = "paragraph: seen before"
            if fault is None:
                self._paragraphs.add(mark)
                kept.append(paragraph)
            else:
                self.removed[fault] += len(paragraph)
        curated = "\n".join(kept)
        if len(WORD.findall(curated)) < MIN_DOCUMENT:
            self.removed["document: too little is left"] += len(curated)
            return None
        return curated


def write_shard(path: Path, texts: list[str]) -> None:
    lines = b"".join(orjson.dumps({"text": text}) + b"\n" for text in texts)
    path.write_bytes(zstandard.ZstdCompressor(level=9, write_checksum=True).compress(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description="Curate a pool.")
    parser.add_argument("pool", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    if arguments.out.exists():
        parser.error(f"{arguments.out} exists: name a new folder")
    curator = Curator()
    read = read_bytes = 0
    kept: list[str] = []
    for shard in find_shards([arguments.pool]):
        with shard.fetched(arguments.out.parent) as local:
            for document in read_documents(local):
                read += 1
                read_bytes += len(document.text)
                if (curated := curator.curate(document.text)) is not None:
                    kept.append(curated)
    partial = arguments.out.with_name(f".{arguments.out.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(kept), DOCUMENTS_A_SHARD):
        path = partial / f"curated-{start // DOCUMENTS_A_SHARD}.jsonl.zst"
        write_shard(path, kept[start : start + DOCUMENTS_A_SHARD])
    partial.rename(arguments.out)  # whoever sees the folder sees all of it
    for reason, count in curator.removed.most_common():
        print(f"{count / 1e6:8.2f} MB  {reason}")
    kept_size, read_size = sum(map(len, kept)) / 1e6, read_bytes / 1e6
    print(f"kept {len(kept):,} of {read:,} documents, {kept_size:.1f} of {read_size:.1f} MB")


if __name__ == "__main__":
    main()
