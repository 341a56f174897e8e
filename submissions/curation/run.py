"""Runs a curation recipe over shards: stage after stage, each a task a shard (`crucible curate`).

Everything lies in a folder beside the output until all is done. A finished task is a file there,
named after what decides its content, so a second call of the same command goes on where the first
one was killed, and a bad shard costs no other one's work. Order and number of workers do not matter
to a single byte of the output.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from time import monotonic, thread_time
from typing import Any

import msgspec

from submissions.codec import to_json
from submissions.curation.counts import StepCounts, merged_sources
from submissions.curation.recipe import NamedStep, Recipe, load_recipe, stages_of
from submissions.curation.step import STEPS, JointStep, SweepStep
from submissions.curation.work import (
    DOCUMENTS,
    KEPT,
    ROWS,
    Part,
    PartCounts,
    StageTask,
    StepSpec,
    counts_of,
    run_task,
)
from submissions.executor import LocalProcesses, Placement
from submissions.failures import Failure
from submissions.files import written_atomically
from submissions.job import write_json_atomically
from submissions.progress import Progress, no_progress
from submissions.shard_search import find_shards
from submissions.shards import CRAWL_FORMATS, LocalShard, Shard

VERSION = 1  # of what the steps do: a change of results makes kept work useless
STATS, DROPPED = "stats.json", "dropped.log"  # names that a dataset may hold beside its shards
_Input = tuple[Shard, Path | None, bool]  # a shard, what was decided on it, whether it is empty
LIBRARIES = ("resiliparse", "trafilatura", "rensa", "rbloom", "fasttext-community", "kenlm-ex")


def curate(
    recipe_file: Path,
    inputs: Sequence[str | Path],
    output: Path,
    *,
    own: Sequence[Path] = (),
    placement: Placement | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Writes the folder `output`, which must be new, and returns the figures of every step.

    `own` are Python files with further steps. Raises `curation_invalid` for the recipe,
    `output_exists`, what `find_shards` raises, and once everything else is done the first failure
    of a shard; what was done is kept for the next call.
    """
    started = monotonic()
    if output.exists() and any(output.iterdir()):
        raise Failure("output_exists", f"{output} is not empty")
    recipe = load_recipe(recipe_file, [path.absolute() for path in own])
    shards = find_shards(inputs, CRAWL_FORMATS)
    _check_order(recipe, shards)
    run = _Run(recipe, shards, output.absolute(), placement or LocalProcesses(1), progress)
    counts, parts = run.stages()
    document = {
        "steps": [_step_document(name, one) for name, one in counts.items()],
        "documents": sum(part.documents for part in parts.values()),
        "bytes": sum(part.bytes for part in parts.values()),
        "shards": run.placed(parts),
        "sources": merged_sources(part.sources for part in parts.values()),
        "input": [{"name": shard.name, "bytes": shard.bytes} for shard in shards],
        "recipe": json.loads(msgspec.json.encode(recipe.identity)),
        "versions": _versions(),
        "seconds": round(monotonic() - started, 2),
    }
    run.finish(counts, document)
    return document


def _check_order(recipe: Recipe, shards: Sequence[Shard]) -> None:
    """Refuses a step that reads text where the input still is pages; WET files hold texts."""
    crawled = [shard.name for shard in shards if shard.format.startswith("warc")]
    pages = next((name for name in crawled if ".wet" not in name.lower()), None)
    if pages is None:
        return
    for name, step in recipe.steps:
        if step.reads == "page":
            return
        if step.reads == "text":
            said = f"step {name} reads text, but {pages} holds pages: put a step extract before it"
            raise Failure("curation_invalid", said)
    said = f"{pages} holds pages, and no step makes text of them: add a step extract"
    raise Failure("curation_invalid", said)


class _Run:
    """One run and its folder; `stages` returns the counts by step and by part."""

    def __init__(
        self,
        recipe: Recipe,
        shards: Sequence[Shard],
        output: Path,
        placement: Placement,
        progress: Progress,
    ) -> None:
        self.recipe, self.shards, self.output = recipe, shards, output
        self.placement, self.progress = placement, progress
        self.folder = output.with_name(f".{output.name}.partial")
        self.scratch = self.folder / "scratch"
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.last = self.folder  # of the last stage that was run
        self.stamps = [[shard.name, shard.identity, shard.stamp] for shard in shards]

    def stages(self) -> tuple[dict[str, StepCounts], dict[str, PartCounts]]:
        """Runs all stages."""
        counts = {name: StepCounts() for name, _ in self.recipe.steps}
        parts: list[_Input] = [(shard, None, False) for shard in self.shards]
        before, why = "", ""
        key = _hash([VERSION, _versions(), self.recipe.identity[1]])
        groups = stages_of(self.recipe.steps)
        if isinstance(groups[-1][-1].step, JointStep):
            groups.append([])  # reads what it decided
        done: list[tuple[Part, PartCounts]] = []
        for number, steps in enumerate(groups):
            identity = Recipe(tuple(steps), ()).identity
            alone = not number and not any(isinstance(one.step, SweepStep) for one in steps)
            ends = number == 0, number == len(groups) - 1
            key = _hash([key, identity, ends, "" if alone else self.stamps])
            where = self.folder / f"{number}-{key[:16]}"
            where.mkdir(exist_ok=True)
            ready = [NamedStep(name, step.prepared(where)) for name, step in steps]
            tasks = self._tasks(where, ready, parts, (before, why), ends)
            self._run(tasks, f"step {number + 1} of {len(groups)}: {_named(steps)}")
            done = [(part, counts_of(part)) for task in tasks for part in task.parts]
            for _, one in done:
                for name, figures in one.steps.items():
                    counts[name].merge(figures)
            before, why, joint = "", "", False
            last = ready[-1] if ready else None
            if last and isinstance(last.step, JointStep):
                before, why, joint = last.name, last.step.reason(), True
                files = [self._kept(part) for part, _ in done]
                counts[before].seconds += _decide(last.step, [part for part, _ in done], files)
            parts = [
                (
                    LocalShard(part.name, "jsonl.zst", _beside(part.target, DOCUMENTS)),
                    self._kept(part) if joint else None,
                    not one.documents,
                )
                for part, one in done
            ]
            self.last = where
            self._forget(number, where)
        return counts, {part.name: one for part, one in done}

    def _tasks(
        self,
        where: Path,
        steps: Sequence[NamedStep],
        parts: Sequence[_Input],
        decided: tuple[str, str],
        ends: tuple[bool, bool],
    ) -> list[StageTask]:
        specs = tuple(
            StepSpec(name, _use_of(type(step)), msgspec.json.encode(step)) for name, step in steps
        )
        made = [
            Part(shard, given.name, kept, where / _hash(stamp)[:32], empty)
            for (shard, kept, empty), given, stamp in zip(
                parts, self.shards, self.stamps, strict=True
            )
        ]
        sweeps = [step for _, step in steps if isinstance(step, SweepStep)]
        size = -(-len(made) // sweeps[0].groups) if sweeps else 1
        cut = [tuple(made[start : start + size]) for start in range(0, len(made), size)]
        own = self.recipe.files
        return [StageTask(one, specs, *decided, *ends, own, self.scratch) for one in cut]

    def _run(self, tasks: list[StageTask], message: str) -> None:
        """Runs the tasks, the largest first; the first failure by name is raised at the end."""
        done, failures = 0, []

        def tell() -> None:
            self.progress(done, len(tasks), "shards", message)

        ordered = sorted(tasks, key=lambda task: -sum(part.shard.bytes for part in task.parts))
        for _, failure in self.placement(run_task, ordered, tell):
            done += 1
            tell()
            if failure is not None:
                failures.append(Failure.of(failure))
        if failures:
            first, *others = sorted(failures, key=lambda one: (one.shard or "", one.line or 0))
            said = first.message
            if others:
                said += f" ({len(others)} more shards have failures)"
            said += "; the work on the others is kept"
            raise Failure(first.code, said, shard=first.shard, line=first.line)

    def _kept(self, part: Part) -> Path:
        """The file of a decision, which depends on all shards of the input."""
        return _beside(part.target, f".{_hash(self.stamps)[:8]}{KEPT}")

    def _forget(self, number: int, where: Path) -> None:
        """Removes the documents of the stage before, which were read to their end, and old work."""
        for folder in self.folder.glob("*-*"):
            stage = folder.name.partition("-")[0]
            if stage == str(number) and folder != where:
                shutil.rmtree(folder)

    def placed(self, parts: dict[str, PartCounts]) -> list[dict[str, Any]]:
        """Gives the shards that hold documents their final names; returns them."""
        names = _output_names([shard.name for shard in self.shards])
        final = self.folder / "final"
        shutil.rmtree(final, ignore_errors=True)
        found = []
        for name, stamp in zip(names, self.stamps, strict=True):
            one = parts[stamp[0]]
            if one.documents:
                target = final / name
                target.parent.mkdir(parents=True, exist_ok=True)
                source = self.last / f"{_hash(stamp)[:32]}{DOCUMENTS}"
                target.hardlink_to(source)
                found.append({"name": name, "documents": one.documents, "bytes": one.bytes})
        final.mkdir(exist_ok=True)
        return found

    def finish(self, counts: dict[str, StepCounts], document: dict[str, Any]) -> None:
        """Writes the report and the examples beside the shards and moves all to its place."""
        final = self.folder / "final"
        write_json_atomically(final / STATS, document)
        with (final / DROPPED).open("w", encoding="utf-8") as log:
            for name, one in counts.items():
                for reason, removed in sorted(one.reasons.items()):
                    for example in removed.examples:
                        line = {"step": name, "reason": reason, "shard": example.shard,
                                "line": example.line, "text": example.text}  # fmt: skip
                        log.write(json.dumps(line, ensure_ascii=False) + "\n")
        if self.output.exists():
            self.output.rmdir()  # empty: looked at before
        final.rename(self.output)
        shutil.rmtree(self.folder)


def _decide(step: JointStep, parts: list[Part], files: list[Path]) -> float:
    """Writes for each part which of its documents stay; returns the processor's seconds."""
    import numpy as np

    if all(file.exists() for file in files):
        return 0.0
    started = thread_time()
    rows = [np.load(_beside(part.target, ROWS), mmap_mode="r") for part in parts]
    filled = [number for number, one in enumerate(rows) if len(one)]
    kept = [np.zeros(0, bool) for _ in rows]
    for number, one in zip(filled, step.decide([rows[i] for i in filled]), strict=True):
        kept[number] = np.asarray(one, bool)
    for file, one in zip(files, kept, strict=True):
        with written_atomically(file, "wb", durable=False) as out:
            np.save(out, one, allow_pickle=False)
    return thread_time() - started


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


def _named(steps: Sequence[NamedStep]) -> str:
    return ", ".join(name for name, _ in steps) or "writing"


def _output_names(names: Sequence[str]) -> list[str]:
    """The inputs' names with the ending of the output; the whole name where two would be equal."""
    short = []
    for name in names:
        ending = next(end for end in sorted(CRAWL_FORMATS, key=len, reverse=True)
                      if name.lower().endswith(end))  # fmt: skip
        inside = name.partition("://")[2] or name
        parts = [part for part in Path(inside).parts if part not in ("/", "..")]
        short.append((str(Path(*parts)), str(Path(*parts))[: -len(ending)]))
    stems = [stem for _, stem in short]
    return [f"{stem if stems.count(stem) == 1 else whole}{DOCUMENTS}" for whole, stem in short]


def _step_document(name: str, one: StepCounts) -> dict[str, Any]:
    left = one.taken - one.dropped
    return {"name": name, "in": one.taken, "out": left, "dropped": one.dropped,
            "seconds": round(one.seconds, 3), "bytes_in": one.bytes_in,
            "bytes_out": one.bytes_out,
            "reasons": {reason: {"documents": removed.documents, "pieces": removed.pieces}
                        for reason, removed in sorted(one.reasons.items())}}  # fmt: skip


@functools.cache
def _versions() -> dict[str, str]:
    """Of the libraries that decide what a step does: another version keeps other text."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _use_of(kind: type) -> str:
    return next(name for name, one in STEPS.items() if one is kind)


def _hash(value: Any) -> str:
    text = json.dumps(to_json(value), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
