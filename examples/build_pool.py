"""Builds a toy pool of real text and real mess from what `make setup` has installed.

    python examples/build_pool.py OUT_DIR [--megabytes 55] [--reference FILE.jsonl]

The text comes from Python's standard library and from the packages in this environment: docstrings
and comments (documentation, for the most part), and what a crawl brings along as well: source code,
templates, scripts, translations, licences, tables, checksums, tracebacks, page furniture, copies
and near copies. Each text is a page of HTML (pages.py), and the pages lie in WARC files as a crawl
leaves them. The same installation gives the same bytes on every run.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import os
import random
import re
import sysconfig
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import orjson
from pages import page_of, spam_page, write_warc  # type: ignore[import-not-found]  # beside this

STDLIB = Path(sysconfig.get_paths()["stdlib"])
SITE = Path(sysconfig.get_paths()["purelib"])
# Named, so that what else happens to be installed (test tools, say) does not change the pool.
PACKAGES = (
    "PIL", "aiohttp", "boto3", "botocore", "bs4", "celery", "certifi", "composer", "databricks",
    "datasets", "django", "fastapi", "fsspec", "git", "google", "huggingface_hub", "jinja2",
    "kombu", "llmfoundry", "mcli", "mlflow", "mpmath", "networkx", "numpy", "opentelemetry",
    "pandas", "pip", "psycopg", "pyarrow", "pydantic", "requests", "setuptools", "streaming",
    "sympy", "torch", "torchmetrics", "tqdm", "transformers", "typer", "urllib3", "yaml",
)  # fmt: skip
# Share of the pool's bytes by kind of document. Copies are made of the documentation.
SHARES = {
    "docstrings": 0.57, "comments": 0.11, "readmes": 0.02, "topics": 0.01, "code": 0.08,
    "headers": 0.02, "web": 0.01, "translations": 0.03, "licences": 0.01, "data": 0.02,
    "tracebacks": 0.02, "copies": 0.06, "near copies": 0.04,
}  # fmt: skip
FILES = 8
SPAM = 0.06  # of the pages: keywords and nothing else
LONGEST = 100_000  # characters of one document; a longer file is cut, as crawls do
LONGEST_LIST = 5000  # of a list of check sums, so that there are tables besides them
SHORTEST = 200
LEAST_REFERENCE = 400

DOCSTRING = re.compile(r'^[ \t]*[rRuU]?"""(.*?)"""', re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"(?:^[ \t]*#(?: .*)?\n){3,}", re.MULTILINE)
LEFT_OUT = {"tests", "test", "testing", "idle_test", "lib2to3", "site-packages", "__pycache__"}

Documents = Iterator[tuple[str, str]]  # (source, text)
PAGE_TOPS = (
    "Home | Documentation | Download | Community | Search",
    "Skip to content\nSign in · Register · Help\nYou are here: Home > Reference > API",
    "We use cookies to improve your experience. Accept all | Reject | Settings",
)
PAGE_ENDS = (
    "© All rights reserved. | Terms | Privacy | Imprint",
    "Share this page: Mail · Print · Link\nWas this page helpful? Yes / No",
    "« Previous | Index | Next »\nPowered by a documentation generator.",
)


@functools.cache
def installed(stdlib: bool) -> tuple[Path, ...]:
    """Every file of the standard library, or of the named packages; tests left out, sorted."""
    found = []
    for root in [STDLIB] if stdlib else [SITE / package for package in PACKAGES]:
        for folder, subfolders, names in os.walk(root):
            subfolders[:] = [name for name in subfolders if name not in LEFT_OUT]
            found += [Path(folder, name) for name in names]
    return tuple(sorted(found))


def files(rng: random.Random, *suffixes: str, stdlib: bool = False) -> list[Path]:
    """Files of the named packages (and of the standard library) with these suffixes, shuffled."""
    everything = installed(stdlib=False) + (installed(stdlib=True) if stdlib else ())
    found = [path for path in everything if path.suffix in suffixes]
    rng.shuffle(found)
    return found


def descriptions(pattern: str) -> list[Path]:
    """Files in the metadata folders of the distributions that the named packages come from."""
    owners = metadata.packages_distributions()
    names = {name for package in PACKAGES for name in owners.get(package, ())}
    plain = {re.sub(r"[-_.]+", "_", name).lower() for name in names}
    return [
        path
        for folder in sorted(SITE.glob("*.dist-info"))
        if re.sub(r"[-_.]+", "_", folder.name.split("-")[0]).lower() in plain
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    ]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="ignore")[: 20 * LONGEST]


def source_of(path: Path) -> str:
    """Where a document comes from, without this machine's folders."""
    return path.relative_to(SITE if path.is_relative_to(SITE) else STDLIB).as_posix()


def docstrings(rng: random.Random) -> Documents:
    """A module's docstrings as one page, often with a site's furniture around it."""
    for path in files(rng, ".py", stdlib=True):
        page = [inspect.cleandoc(text) for text in DOCSTRING.findall(read(path)) if len(text) > 80]
        if page and rng.random() < 0.3:
            page = [rng.choice(PAGE_TOPS), *page, rng.choice(PAGE_ENDS)]
        yield source_of(path), "\n\n".join(page)


def comments(rng: random.Random) -> Documents:
    """A module's longer comments as one page."""
    for path in files(rng, ".py", stdlib=True):
        blocks = COMMENT.findall(read(path))
        lines = [re.sub(r"^[ \t]*# ?", "", block, flags=re.MULTILINE) for block in blocks]
        yield source_of(path), "\n".join(lines)


def readmes(_rng: random.Random) -> Documents:
    """The packages' descriptions, with their lists of versions and requirements."""
    for path in descriptions("METADATA"):
        yield source_of(path), read(path)


def topics(_rng: random.Random) -> Documents:
    """The language reference as `help()` prints it."""
    from pydoc_data.topics import topics as texts

    for name in sorted(texts):
        yield f"pydoc/{name}", texts[name]


def whole_files(*suffixes: str) -> Callable[[random.Random], Documents]:
    """Files as they lie there."""

    def documents(rng: random.Random) -> Documents:
        for path in files(rng, *suffixes):
            yield source_of(path), read(path)

    return documents


def licences(_rng: random.Random) -> Documents:
    """The licence texts of the packages: a few texts, over and over."""
    for path in descriptions("**/LICEN[CS]E*"):
        yield source_of(path), read(path)


def data(rng: random.Random) -> Documents:
    """Tables, checksums, certificates and configuration."""
    for path in descriptions("RECORD"):
        # Without the scripts in bin/, whose first lines, and so hashes, name this very folder.
        lines = [line for line in read(path).splitlines(True) if not line.startswith("../")]
        yield source_of(path), "".join(lines)[:LONGEST_LIST]
    for path in files(rng, ".json", ".csv", ".pem", ".yaml", ".toml", ".txt"):
        yield source_of(path), read(path)


def tracebacks(rng: random.Random) -> Documents:
    """Error reports as they are pasted into forums, over real lines of code."""
    for path in files(rng, ".py", stdlib=True):
        lines = read(path).splitlines()
        calls = [i for i, line in enumerate(lines) if line.endswith(")") and "def " not in line]
        report = ["Traceback (most recent call last):"]
        for i in sorted(rng.sample(calls, min(len(calls), 12))):
            where = f'  File "/usr/lib/python3/{source_of(path)}", line {i + 1}, in <module>'
            report += [where, f"    {lines[i].strip()}"]
        error = rng.choice(("KeyError: 0", "ValueError: bad value", "TypeError: 'NoneType'"))
        yield source_of(path), "\n".join([*report, error])


def near_copy(text: str, rng: random.Random) -> str:
    """The text as another site would show it: other furniture, some lines lost, digits changed."""
    kept = [line for line in text.splitlines() if rng.random() > 0.02]
    kept = [re.sub(r"\d", str(rng.randrange(10)), x) if rng.random() < 0.1 else x for x in kept]
    return "\n".join([rng.choice(PAGE_TOPS), *kept, rng.choice(PAGE_ENDS)])


KINDS: dict[str, Callable[[random.Random], Documents]] = {
    "docstrings": docstrings,
    "comments": comments,
    "readmes": readmes,
    "topics": topics,
    "code": whole_files(".py"),
    "headers": whole_files(".h", ".hpp", ".cuh"),
    "web": whole_files(".html", ".js", ".css"),
    "translations": whole_files(".po"),
    "licences": licences,
    "data": data,
    "tracebacks": tracebacks,
}


def build(megabytes: float) -> list[dict[str, str]]:
    """The pool's documents in their final order, about `megabytes` of text."""
    rng = random.Random(0)  # noqa: S311 (the same pool every time is the point)
    pool: list[dict[str, str]] = []
    for kind, documents in KINDS.items():
        left = SHARES[kind] * megabytes * 1e6
        for source, text in documents(rng):
            if len(text) >= SHORTEST:
                pool.append({"text": text[:LONGEST], "source": f"{kind}/{source}"})
                left -= len(pool[-1]["text"])
            if left <= 0:
                break
    originals = [d for d in pool if d["source"].startswith(("docstrings/", "comments/"))]
    for kind in ("copies", "near copies"):
        left = SHARES[kind] * megabytes * 1e6
        while left > 0:
            document = rng.choice(originals)
            text = document["text"] if kind == "copies" else near_copy(document["text"], rng)
            pool.append({"text": text, "source": f"{kind}/{document['source']}"})
            left -= len(text)
    rng.shuffle(pool)
    return pool


def reference() -> list[str]:
    """Prose that somebody wrote with care: Python's language reference and long module texts."""
    from pydoc_data.topics import topics as texts

    found = [texts[name] for name in sorted(texts)]
    for path in (path for path in installed(stdlib=True) if path.suffix == ".py"):
        first = DOCSTRING.match(read(path).lstrip())
        if first and len(first[1]) >= LEAST_REFERENCE:
            found.append(inspect.cleandoc(first[1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the toy pool.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--megabytes", type=float, default=55, help="of text (default: 55)")
    parser.add_argument("--reference", type=Path, help="also write examples of good prose")
    arguments = parser.parse_args()
    if arguments.out.exists():
        parser.error(f"{arguments.out} exists: name a new folder")
    if arguments.reference:
        lines = [orjson.dumps({"text": text}) + b"\n" for text in reference()]
        arguments.reference.write_bytes(b"".join(lines))
    pool = build(arguments.megabytes)
    partial = arguments.out.with_name(f".{arguments.out.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)  # noqa: S311 (the same pool every time is the point)
    total = size = count = 0
    for index in range(FILES):
        pages = []
        for document in pool[index::FILES]:
            total += len(document["text"].encode())
            pages.append(page_of(document["source"], document["text"]))
            if rng.random() < SPAM:
                pages.append(spam_page(rng))
        write_warc(partial / f"crawl-{index}.warc.gz", pages)
        count += len(pages)
        size += sum(len(page.html) for page in pages)
    partial.rename(arguments.out)  # whoever sees the folder sees all of it
    print(f"{count:,} pages, {size / 1e6:.1f} MB of HTML with {total / 1e6:.1f} MB of text")


if __name__ == "__main__":
    main()
