"""Ordinary documents of this machine, for what a search must not blame: prose about programs.

Nothing is downloaded and nothing kept in the repository: the documentation inside the standard
library and the installed packages is at hand wherever Crucible runs.
"""

from __future__ import annotations

import random
import re
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from submissions.shard_search import find_shards
from submissions.shards import read_documents

PROSE = (".md", ".rst", ".txt")
SHORTEST, LONGEST = 200, 6_000  # characters of a document
DOCSTRING = re.compile(r'"""(.*?)"""', re.DOTALL)
COMMENT = re.compile(r"(?:^[ \t]*#[^\n]*\n){4,}", re.MULTILINE)


def ordinary_documents(count: int, seed: int) -> list[str]:
    """At most `count` distinct documents, drawn with this seed."""
    paths = {Path(given) for given in sys.path if Path(given).name.endswith("-packages")}
    paths.add(Path(sysconfig.get_paths()["stdlib"]))
    files = sorted({
        path for folder in paths for path in folder.rglob("*")
        if path.suffix in (".py", *PROSE) or path.name == "METADATA"
    })  # fmt: skip
    random.Random(seed).shuffle(files)  # noqa: S311 - no secret
    found: dict[str, None] = {}
    for path in files:
        for text in _texts(path):
            found.setdefault(text)
        if len(found) >= count:
            break
    return list(found)[:count]


def _texts(path: Path) -> Iterator[str]:
    """The documents of one file, cut where a paragraph ends."""
    try:
        whole = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return
    if path.suffix == ".py":
        pieces = [match[1] for match in DOCSTRING.finditer(whole)]
        pieces += [re.sub(r"^[ \t]*# ?", "", m[0], flags=re.M) for m in COMMENT.finditer(whole)]
    else:
        pieces = [whole]
    for piece in pieces:
        text = piece.strip()
        while len(text) > LONGEST:
            place = text.rfind("\n\n", SHORTEST, LONGEST)
            place = place if place > 0 else LONGEST
            yield text[:place]
            text = text[place:].strip()
        if len(text) >= SHORTEST:
            yield text


def documents_of(paths: Sequence[str], count: int) -> list[str]:
    """The first documents of shards; raises what `find_shards` and `read_documents` raise."""
    texts: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for shard in find_shards(paths):
            with shard.fetched(Path(scratch)) as local:
                for document in read_documents(local):
                    if len(texts) == count:
                        return texts
                    texts.append(document.text)
    return texts
