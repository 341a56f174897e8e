"""CPU seconds of tokenising and shuffling, beside the same stage by other means, in one run.

    python benchmarks/tokenise.py [--megabytes 20] [--tokenizer FOLDER] [--peer PYTHON]

Four kinds of text, each by: Crucible; Crucible with Hugging Face's `tokenizers` in the place of its
fast encoder; datatrove's document tokenizer with shuffling, when --peer names a Python that has
datatrove (`make bench` sees to it). Each is a process of its own whose CPU time, with all its
children's, is counted from start to end, imports included. The rows of the first two are compared.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import zstandard

ROOT = Path(__file__).resolve().parent.parent
TOKENIZER = ROOT / "training_recipes" / "tokenizers" / "smoke"
SHARDS = 4
DOCUMENT = 4_000  # characters of a made-up document
SEED = 7

OURS = """
import dataclasses, json, sys
from pathlib import Path
from training_recipes import encoder, scales, tokenize
if sys.argv[4] == "reference":
    encoder._fast_tokenizer = lambda path: None
scale = dataclasses.replace(scales.load_scale("400m-1x"), tokenizer=sys.argv[3])
summary = tokenize.tokenize_dataset([sys.argv[1]], Path(sys.argv[2]), scale)
print(json.dumps([summary.rows_sha256, summary.tokens]))
"""
DATATROVE = """
import logging, sys
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
if __name__ == "__main__":
    steps = [
        JsonlReader(sys.argv[1], compression="zstd"),
        DocumentTokenizer(
            sys.argv[2], tokenizer_name_or_path=sys.argv[3] + "/tokenizer.json",
            eos_token="<|endoftext|>", shuffle_documents=True, seed=7,
        ),
    ]
    LocalPipelineExecutor(steps, tasks=1, workers=1, logging_dir=sys.argv[2] + "-logs").run()
"""


@dataclass(frozen=True)
class Cost:
    """What one process and its children took; `peak` is the largest one's resident memory."""

    cpu: float  # seconds
    wall: float  # seconds
    peak: int  # bytes
    output: str


def measured(command: list[str]) -> Cost:
    """Runs a command to its end; raises when it fails."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{errors.read()[-3000:]}")
        cpu = usage.ru_utime + usage.ru_stime
        return Cost(cpu, time.monotonic() - started, usage.ru_maxrss * 1024, output.read())


def documentation(megabytes: float) -> Iterator[str]:
    """The example pool: docstrings, comments, and what a crawl brings along."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "pool"
        command = [sys.executable, str(ROOT / "examples" / "build_pool.py"), str(folder),
                   "--megabytes", str(int(megabytes) + 1)]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        for path in [*sorted(folder.glob("*.zst")), *sorted(folder.glob("*.jsonl"))]:
            opened = zstandard.open(path, "rb") if path.suffix == ".zst" else path.open("rb")
            with opened as file:
                for line in file.read().splitlines():
                    yield orjson.loads(line)["text"]


def code(_megabytes: float) -> Iterator[str]:
    """Python source of the standard library and of the installed packages."""
    paths = (Path(sysconfig.get_paths()[kind]) for kind in ("stdlib", "purelib"))
    for path in itertools.chain.from_iterable(sorted(folder.rglob("*.py")) for folder in paths):
        yield path.read_text(errors="replace")


def chinese(_megabytes: float) -> Iterator[str]:
    """Made up: 3,000 ideographs with the frequencies of Zipf's law, and full-width punctuation."""
    draw = random.Random(SEED)
    ideographs = [chr(number) for number in range(0x4E00, 0x4E00 + 3_000)]
    draw.shuffle(ideographs)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, 3_001)))
    while True:
        characters = draw.choices(ideographs, cum_weights=weights, k=DOCUMENT // 3)
        for position in range(0, len(characters), 17):
            characters[position] = draw.choice("，。、")
        yield "".join(characters)


def unique_words(_megabytes: float) -> Iterator[str]:
    """Made up: words of 8 to 24 random letters, hardly one of them twice; no cache can help."""
    draw = random.Random(SEED)
    letters = "abcdefghijklmnopqrstuvwxyz"
    while True:
        yield " ".join("".join(draw.choices(letters, k=draw.randint(8, 24))) for _ in range(250))


def write_corpus(texts: Callable[[float], Iterator[str]], folder: Path, megabytes: float) -> float:
    """Writes shards of that kind of text; returns the megabytes of text as UTF-8."""
    folder.mkdir()
    written = 0
    with _shards(folder) as write:
        for text in texts(megabytes):
            write(text)
            written += len(text.encode())
            if written >= megabytes * 1e6:
                break
    return written / 1e6


class _shards:  # noqa: N801 - read as a function
    """Deals texts to shards in turn."""

    def __init__(self, folder: Path) -> None:
        self.files = [
            zstandard.open(folder / f"part-{number}.jsonl.zst", "wb") for number in range(SHARDS)
        ]
        self.turn = itertools.cycle(self.files)

    def __enter__(self) -> Callable[[str], None]:
        return lambda text: next(self.turn).write(orjson.dumps({"text": text}) + b"\n")

    def __exit__(self, *_: object) -> None:
        for file in self.files:
            file.close()


def compare(corpus: Path, work: Path, tokenizer: Path, peer: str | None) -> dict[str, Cost]:
    """Every way of tokenising one corpus; raises when the rows of the first two differ."""
    costs = {}
    for name in ("fast", "reference"):
        output = str(work / f"{corpus.name}-{name}")
        arguments = [str(corpus), output, str(tokenizer), name]
        costs[name] = measured([sys.executable, "-c", OURS, *arguments])
    if costs["fast"].output != costs["reference"].output:
        raise RuntimeError(f"{corpus.name}: the rows of the two encoders differ")
    if peer:
        script = work / "peer.py"
        script.write_text(DATATROVE)
        arguments = [str(corpus), str(work / f"{corpus.name}-peer"), str(tokenizer)]
        costs["datatrove"] = measured([peer, str(script), *arguments])
    return costs


def main() -> None:
    """Prints a table, and all figures as one JSON line at the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=20, help="of text of each kind")
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER, metavar="FOLDER")
    parser.add_argument("--peer", metavar="PYTHON", help="with datatrove installed")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="crucible-bench-"))
    figures = {}
    print(f"{'text':<14} {'MB':>5}  {'way':<10} {'CPU s':>7} {'MB/CPU s':>9} {'peak MB':>8} ratio")
    try:
        for texts in (documentation, code, chinese, unique_words):
            corpus = work / texts.__name__
            megabytes = write_corpus(texts, corpus, arguments.megabytes)
            costs = compare(corpus, work, arguments.tokenizer.resolve(), arguments.peer)
            for way, cost in costs.items():
                print(
                    f"{corpus.name:<14} {megabytes:>5.1f}  {way:<10} {cost.cpu:>7.2f} "
                    f"{megabytes / cost.cpu:>9.1f} {cost.peak / 1e6:>8.0f} "
                    f"{cost.cpu / costs['fast'].cpu:>5.1f}",
                    flush=True,
                )
            figures[corpus.name] = {
                way: {"cpu_seconds": round(c.cpu, 3), "megabytes": round(megabytes, 3),
                      "peak_bytes": c.peak, "seconds": round(c.wall, 3)}
                for way, c in costs.items()
            }  # fmt: skip
    finally:
        shutil.rmtree(work)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
