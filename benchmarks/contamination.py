"""Speed and false alarms of the search for leaked questions.

    python benchmarks/contamination.py --data FOLDER [--megabytes 100] [--seed N]
                                       [--text FOLDER ...] [--peer PYTHON] [--twice]

FOLDER holds task files of the full suite; the index is of all that are there. Speed is megabytes of
raw JSON lines for a second of CPU time of one process, from start to end with imports, reading
.jsonl.zst shards that hold the texts three times over: beside the floor (decompress and parse every
line, no more) and, with --peer, a Python that has datatrove with spacy, its n-gram filter on a part
of the same text. Ordinary text is the example pool, and the plain text below each --text folder.
With --twice the index holds each question a second time with its words in reverse order, which
makes more examples than all 53 tasks have. Recall is measured by `crucible contamination grade`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import zstandard

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from tokenise import Cost, documentation, measured  # noqa: E402

from evaluation.contamination.index import (  # noqa: E402
    Index,
    build_index,
    load_index,
    read_examples,
)
from evaluation.contamination.rules import SEVERITIES  # noqa: E402
from evaluation.suite import blob_sha1, load_suite  # noqa: E402

LONGEST = 100_000  # characters of a document
PEER_MEGABYTES = 4  # of the shard for the peer, which is slow
# Linux hands a child its parent's peak on, so a process tells its own.
CLI = """
import re, sys
from pathlib import Path
from submissions.cli import main
code = main(sys.argv[1:])
print(re.findall(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[0])
sys.exit(code)
"""
REPEATED = 3
FLOOR = """
import sys, orjson
from pathlib import Path
from submissions.documents import read_bytes
for shard in sys.argv[1:]:
    rest = b""
    for chunk in read_bytes(Path(shard), "shard", "zst"):
        *lines, rest = (rest + chunk).split(b"\\n")
        for line in lines:
            orjson.loads(line)["text"]
"""
DATATROVE = """
import json, sys
from pathlib import Path
import numpy as np
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.decont import n_grams
from datatrove.pipeline.readers import JsonlReader
shard, questions, folder = sys.argv[1:4]
config = n_grams.NGramsDecontConfig(find_query_ngrams=True)
if __name__ == "__main__":
    if len(sys.argv) == 5:  # the index: its constructor wants a library of tasks that is not needed
        indexer = object.__new__(n_grams.NGramsDecontIndexer)
        indexer.config, indexer.tokenizer = config, n_grams.load_word_tokenizer("eng")
        indexer.hash_func = n_grams.create_hash_func(config.hash_config)
        hashes = set()
        for line in list(open(questions))[::10]:  # a tenth: its speed does not depend on it
            one = json.loads(line)
            hashes |= set(indexer.compute_hashes(one["answers"][0], one["question"]))
        Path(folder).mkdir()
        np.array(sorted(hashes), np.uint64).tofile(folder + "/all.index.hashes")
    else:
        steps = [
            JsonlReader(str(Path(shard).parent), glob_pattern=Path(shard).name, compression="zstd"),
            n_grams.NGramsDecontFilter(folder, config, language="eng"),
        ]
        LocalPipelineExecutor(steps, tasks=1, workers=1, logging_dir=folder + "-logs").run()
"""


def plain_texts(folders: Sequence[Path]) -> Iterator[str]:
    """Every file below the folders that is UTF-8 text, gzipped or not, each text once."""
    seen = set()
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        try:
            if not path.is_file() or path.is_symlink():
                continue
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            text = data.decode()[:LONGEST]
        except (OSError, EOFError, UnicodeDecodeError, ValueError):
            continue
        if len(text) > 200 and "\0" not in text and hash(text) not in seen:
            seen.add(hash(text))
            yield text


def with_passages(texts: Sequence[str], index: Index, seed: int) -> list[str]:
    """One document in ten holds two passages, or questions, of the suite."""
    draw = random.Random(seed)
    examples = read_examples(index, range(len(index.units.question)))
    whole = [text for one in examples.values()
             if len(text := one["passage"] or one["question"]) > 300]  # fmt: skip
    return [
        "\n\n".join([text, *draw.choices(whole, k=2)]) if draw.random() < 0.1 else text
        for text in texts
    ]


def write_shard(path: Path, texts: Sequence[str]) -> float:
    """Writes a .jsonl.zst; returns the megabytes of its lines."""
    lines = b"".join(orjson.dumps({"text": text}) + b"\n" for text in texts)
    path.write_bytes(zstandard.ZstdCompressor(level=3).compress(lines))
    return len(lines) / 1e6


def copies(shard: Path) -> list[str]:
    """The shard under several names, so that starting a process weighs as in real work."""
    paths = [shard.with_name(f"copy-{number}-{shard.name}") for number in range(REPEATED)]
    for path in paths:
        shutil.copy(shard, path)
    return list(map(str, paths))


def scan(shards: Sequence[str], index: Path, report: Path, workers: int = 1) -> Cost:
    """One scan from start to end; its output ends with its own peak of resident memory in KiB."""
    arguments = ["--index", str(index), "--input", *shards, "--output", str(report)]
    return measured([sys.executable, "-c", CLI, "contamination", "scan", *arguments,
                     "--workers", str(workers)])  # fmt: skip


def speeds(
    texts: Sequence[str], index: Index, work: Path, seed: int, peer: str | None
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Costs by what was run, and the report on the ordinary shard."""
    shard, planted_shard = work / "ordinary.jsonl.zst", work / "planted.jsonl.zst"
    size = write_shard(shard, texts)
    planted_size = write_shard(planted_shard, with_passages(texts, index, seed))
    report = work / "report.json"
    scan([str(shard)], index.folder, report)  # also compiles, where that was not done before
    found = json.loads(report.read_text())
    plain, leaked = copies(shard), copies(planted_shard)
    size, planted_size = REPEATED * size, REPEATED * planted_size
    runs = {
        "floor": (size, measured([sys.executable, "-c", FLOOR, *plain])),
        "scan": (size, scan(plain, index.folder, work / "plain.json")),
        "scan, passages in 1 of 10": (
            planted_size,
            scan(leaked, index.folder, work / "leaked.json"),
        ),
        "the same on two workers": (
            planted_size,
            scan(leaked, index.folder, work / "leaked-2.json", 2),
        ),
    }
    if peer:
        part = work / "part.jsonl.zst"
        part_size = write_shard(
            part, texts[: int(len(texts) * REPEATED * PEER_MEGABYTES / size) + 1]
        )
        script = work / "peer.py"
        script.write_text(DATATROVE)
        command = [peer, str(script), str(part), str(index.folder / "examples.jsonl"),
                   str(work / "peer-index")]  # fmt: skip
        measured([*command, "build"])
        runs["datatrove's filter"] = (part_size, measured(command))
    costs = {}
    for name, (megabytes, cost) in runs.items():
        # Only of one process: a worker's own peak is not told.
        alone = name.startswith("scan")
        peak = int(cost.output.split()[-1]) * 1024 if alone else None
        costs[name] = {"megabytes": megabytes, "cpu": cost.cpu, "wall": cost.wall, "peak": peak}
        memory = f"{peak / 1e6:>7.0f} MB peak" if peak else ""
        print(f"{name:<28} {megabytes:>7.1f} MB {cost.cpu:>8.2f} CPU s {cost.wall:>8.2f} s "
              f"{megabytes / cost.cpu:>8.1f} MB/CPU s {memory}", flush=True)  # fmt: skip
    return costs, found


def false_alarms(report: dict[str, Any]) -> dict[str, Any]:
    """Documents of ordinary text by their gravest finding."""
    documents = report["documents"]
    figures = {"documents": documents, **report["flagged_documents"]}
    row = "  ".join(f"{name} {report['flagged_documents'][name]}" for name in SEVERITIES)
    print(f"ordinary text: {documents:,} documents  {row}")
    for finding in report["findings"]:
        if finding["severity"] in ("high", "medium"):
            start, end = finding["text_span"]
            said = " ".join(finding["text"][start:end].split())
            print(f"  {finding['severity']} {finding['task']} {finding['index']}: {said[:150]}")
    return figures


def backwards(value: Any) -> Any:
    """The value with the words of every string in it in reverse order."""
    if isinstance(value, dict):
        return {key: backwards(one) for key, one in value.items()}
    if isinstance(value, list):
        return [backwards(one) for one in value]
    return " ".join(reversed(value.split())) if isinstance(value, str) else value


def build_twice(data: Path, work: Path) -> Index:
    """The index of every task that is there, and of as many with all words backwards."""
    suite, tasks = load_suite("full"), []
    folder = work / "tasks"
    for task in suite.tasks:
        if not (data / task.file).exists():
            continue
        copy, other = folder / task.file, folder / "backwards" / task.file
        for path in (copy, other):
            path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data / task.file, copy)
        rows = map(orjson.loads, copy.read_bytes().splitlines())
        other.write_bytes(b"".join(orjson.dumps(backwards(row)) + b"\n" for row in rows))
        turned = replace(task, label=f"{task.label}_backwards", sha1=blob_sha1(other),
                         file=str(other.relative_to(folder)))  # fmt: skip
        tasks += [task, turned]
    index = build_index(replace(suite, tasks=tuple(tasks)), folder, work / "index")
    grams = len(index.units.first_posting) - 1
    print(f"index: {len(index.units.question):,} examples, {grams:,} n-grams", flush=True)
    return index


def build(data: Path, work: Path) -> Index:
    """The index, built by the command."""
    command = [sys.executable, "-c", CLI, "contamination", "index", "--data", str(data.resolve()),
               "--output", str(work / "index")]  # fmt: skip
    measured(command)  # compiles
    cost = measured(command)
    size = sum(path.stat().st_size for path in (work / "index").iterdir())
    index = load_index(work / "index")
    grams = len(index.units.first_posting) - 1
    print(f"index: {len(index.tasks)} tasks, {grams:,} n-grams, {size / 1e6:.0f} MB, "
          f"built in {cost.cpu:.1f} CPU s, {int(cost.output.split()[-1]) / 1e3:.0f} MB peak",
          flush=True)  # fmt: skip
    return index


def main() -> None:
    """Prints tables, and all figures as one JSON line at the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of task files")
    parser.add_argument("--megabytes", type=float, default=100, help="of the example pool")
    parser.add_argument("--text", type=Path, nargs="*", default=[], help="folders of plain text")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of what is planted")
    parser.add_argument("--peer", metavar="PYTHON", help="with datatrove and spacy installed")
    parser.add_argument("--twice", action="store_true", help="twice the questions in the index")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="crucible-bench-"))
    try:
        index = (build_twice if arguments.twice else build)(arguments.data, work)
        texts = [*documentation(arguments.megabytes), *plain_texts(arguments.text)]
        random.Random(arguments.seed).shuffle(texts)
        costs, report = speeds(texts, index, work, arguments.seed, arguments.peer)
        alarms = false_alarms(report)
    finally:
        shutil.rmtree(work)
    print(json.dumps({"seed": arguments.seed, "speed": costs, "ordinary": alarms}))  # fmt: skip


if __name__ == "__main__":
    main()
