"""Megabytes per CPU second of each curation step, beside datatrove's same block where it has one.

    python -m benchmarks.curation --pool FOLDER [--peer PYTHON] [--documents 1500]

FOLDER is a pool of `examples/build_pool.py`. Ours run in this process, one step after another, each
over the same documents in memory; datatrove's blocks run in the peer's Python over the same texts.
Both are timed by the processor's clock after a first document, so no import counts. Megabytes are
those of the input of the step: HTML for extraction, text for the others.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time

import orjson

from submissions.curation.reading import read_input
from submissions.curation.recipe import load_steps
from submissions.curation.step import STEPS, Document, JointStep, Step, SweepStep
from submissions.shard_search import find_shards
from submissions.shards import CRAWL_FORMATS, LocalShard

# Step of ours, its options, and the same block of datatrove as an expression.
CASES: list[tuple[str, dict[str, object], str]] = [
    ("extract", {"engine": "resiliparse"}, ""),
    ("extract", {"engine": "wet"}, ""),
    ("extract", {"engine": "trafilatura"}, "extractors.Trafilatura()"),
    ("language", {}, ""),
    ("gopher-quality", {}, "filters.GopherQualityFilter()"),
    ("gopher-repetition", {}, "filters.GopherRepetitionFilter()"),
    ("c4", {}, "filters.C4QualityFilter(split_paragraph=True)"),
    ("refinedweb-lines", {}, ""),
    ("exact-duplicates", {}, ""),
    ("minhash-duplicates", {}, "dedup.MinhashDedupSignature(OUT)"),
    ("bloom-duplicates", {"expected": 2_000_000}, "dedup.SingleBloomFilter(OUT, BLOOM)"),
    ("sample", {"share": 0.5}, "filters.SamplerFilter(0.5)"),
]
PEER = """
import contextlib, json, sys
from time import process_time
from datatrove.data import Document
from datatrove.pipeline import dedup, extractors, filters
from datatrove.pipeline.dedup.bloom_filter import BloomFilterConfig
OUT = sys.argv[3]
BLOOM = BloomFilterConfig(m_bytes=2**22, expected_elements=2_000_000)
block = eval(sys.argv[2])
rows = [json.loads(line) for line in open(sys.argv[1])]
documents = [Document(text=row["text"], id=str(n), metadata={}) for n, row in enumerate(rows)]
def run(some):
    if hasattr(block, "extract"):  # its run() starts processes, which is not the work
        for one in some:
            block.extract(one.text)
        return
    with contextlib.redirect_stdout(sys.stderr):
        for _ in block.run(iter(some), 0, 1) or ():
            pass
run(documents[:1])
started = process_time()
run(documents[1:])
print(json.dumps(process_time() - started))
"""


def main() -> None:
    """Prints one row a step."""
    parser = argparse.ArgumentParser(description="Speed of the curation steps.")
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--peer", help="a Python that has datatrove")
    parser.add_argument("--documents", type=int, default=1500)
    arguments = parser.parse_args()
    load_steps()
    pages = pages_of(arguments.pool, arguments.documents)
    texts = extracted(pages)
    print(f"{len(pages)} pages, {sizes(pages) / 1e6:.1f} MB of HTML, {sizes(texts) / 1e6:.1f} MB")
    print("| step | MB per CPU s | datatrove's block | MB per CPU s | ratio |")
    print("|---|---|---|---|---|")
    for name, options, block in CASES:
        documents = pages if name == "extract" else texts
        step = STEPS[name](**options)
        ours = sizes(documents[1:]) / 1e6 / seconds_of(step, documents)
        shown = f"{name} {options['engine']}" if "engine" in options else name
        theirs = peer(arguments.peer, block, documents) if block and arguments.peer else None
        if theirs is None:
            print(
                f"| `{shown}` | {ours:.1f} | {block.partition('(')[0] or '–'} | – | – |", flush=True
            )
        else:
            rate = sizes(documents[1:]) / 1e6 / theirs
            print(f"| `{shown}` | {ours:.1f} | {block.partition('(')[0]} | {rate:.2f} | "
                  f"{ours / rate:.1f} |", flush=True)  # fmt: skip


def pages_of(pool: Path, most: int) -> list[Document]:
    """The first pages of the pool, evenly from its files."""
    shards = find_shards([pool], CRAWL_FORMATS)
    found = []
    for shard in shards:
        assert isinstance(shard, LocalShard)
        for number, document in enumerate(read_input(shard)):
            if number >= most // len(shards):
                break
            found.append(document)
    return found


def extracted(pages: list[Document]) -> list[Document]:
    """The text of the pages, as the other steps get it."""
    step, found = STEPS["extract"](), [copy.copy(page) for page in pages]
    return [one for one in found if step.apply(one) is None]


def sizes(documents: list[Document]) -> int:
    """Bytes of the pages or texts."""
    return sum(len(one.page) if one.page else len(one.text.encode()) for one in documents)


def seconds_of(step: Step, documents: list[Document]) -> float:
    """CPU seconds of the step on all but the first document."""
    copies = [Document(one.line, one.text, dict(one.fields), one.page, one.charset)
              for one in documents]  # fmt: skip
    run = _run_of(step)
    run(copies[:1])
    started = process_time()
    run(copies[1:])
    return process_time() - started


def _run_of(step: Step) -> Callable[[list[Document]], None]:
    if isinstance(step, JointStep):

        def joint(documents: list[Document]) -> None:
            step.decide([step.observe(documents)])

        return joint
    rule = step.sweep(0) if isinstance(step, SweepStep) else step.apply

    def alone(documents: list[Document]) -> None:
        for document in documents:
            rule(document)

    return alone


def peer(python: str, block: str, documents: list[Document]) -> float | None:
    """CPU seconds of datatrove's block; None where it cannot run, such as without a download."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "texts.jsonl")
        lines = [orjson.dumps({"text": one.page.decode(errors="replace") if one.page else one.text})
                 for one in documents]  # fmt: skip
        path.write_bytes(b"\n".join(lines))
        command = [python, "-c", PEER, str(path), block, folder]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"{block}: {done.stderr.strip().splitlines()[-1][:200]}")
        return None
    return float(json.loads(done.stdout))


if __name__ == "__main__":
    main()
