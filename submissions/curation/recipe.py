"""Reads a recipe file of curation: TOML with named steps in their order, each with its options.

    [[steps]]
    use = "language"
    keep = ["en"]

`use` is the step, `name` what reports call it (default: `use`), everything else its options.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from submissions.codec import MisfitError, convert, convert_or_misfit
from submissions.curation.step import STEPS, JointStep, Step, SweepStep
from submissions.failures import Failure

MOST_STEPS = 100
LONGEST_FILE = 2**20  # bytes
# By name, not by import, as the command line finds its subcommands: a later package has steps too.
STEP_MODULES = (
    "submissions.curation.steps.extract", "submissions.curation.steps.url_rules",
    "submissions.curation.steps.language", "submissions.curation.steps.gopher_quality",
    "submissions.curation.steps.gopher_repetition", "submissions.curation.steps.c4",
    "submissions.curation.steps.refinedweb_lines", "submissions.curation.steps.exact_duplicates",
    "submissions.curation.steps.bloom_duplicates", "submissions.curation.steps.minhash_duplicates",
    "submissions.curation.steps.fasttext", "submissions.curation.steps.perplexity",
    "submissions.curation.steps.sample", "submissions.curation.steps.mix",
    "evaluation.contamination.curation_steps",
)  # fmt: skip


class NamedStep(NamedTuple):
    """A step of a recipe file and what reports call it."""

    name: str
    step: Step


class Recipe(NamedTuple):
    """The steps in their order; `files` are the own steps' files that were loaded with it."""

    steps: tuple[NamedStep, ...]
    files: tuple[Path, ...]

    @property
    def identity(self) -> list[Any]:
        """What decides the output besides the input: steps, options and the files they name."""
        found = [[name, _identity_of(step)] for name, step in self.steps]
        return [found, [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.files]]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    steps: list[dict[str, Any]]


def load_recipe(path: Path, own: Sequence[Path] = ()) -> Recipe:
    """The recipe in a file; `own` are Python files with further steps, which are run.

    Raises `curation_invalid` with the step and the option.
    """
    load_steps(own)
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_FILE + 1)
        if len(data) > LONGEST_FILE:
            raise Failure("curation_invalid", f"{path.name} is larger than 1 MiB")
        content = tomllib.loads(data.decode())
    except OSError as error:
        said = f"{path}: {(error.strerror or 'it cannot be read').lower()}"
        raise Failure("curation_invalid", said) from None
    except UnicodeDecodeError:
        raise Failure("curation_invalid", f"{path.name} is not UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Failure("curation_invalid", f"{path.name} is not TOML: {error}") from None
    read = convert(_File, content, code="curation_invalid", where=path.name)
    if not 1 <= len(read.steps) <= MOST_STEPS:
        said = f"{path.name} has {len(read.steps)} steps and must have 1 to {MOST_STEPS}"
        raise Failure("curation_invalid", said)
    steps: list[NamedStep] = []
    for number, entry in enumerate(read.steps, start=1):
        steps.append(_step_of(entry, f"{path.name}: step {number}", path.parent))
        if steps[-1].name in [one.name for one in steps[:-1]]:
            said = f"{path.name}: step {number}: the name {steps[-1].name!r} is taken: give `name`"
            raise Failure("curation_invalid", said)
    return Recipe(tuple(steps), tuple(own))


def load_steps(own: Sequence[Path] = ()) -> None:
    """Enters all steps of Crucible, and those of Python files, which are run for that."""
    for module in STEP_MODULES:
        importlib.import_module(module)
    for path in own:
        name = f"own_steps_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
        if name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise Failure("curation_invalid", f"{path} is no file of Python code")
        module_of = importlib.util.module_from_spec(spec)
        sys.modules[name] = module_of
        try:
            spec.loader.exec_module(module_of)
        except Exception as error:
            del sys.modules[name]
            if isinstance(error, Failure):
                raise
            said = f"{path} cannot be loaded: {type(error).__name__}: {error}"
            raise Failure("curation_invalid", said) from None


def _step_of(entry: dict[str, Any], where: str, folder: Path) -> NamedStep:
    options = dict(entry)
    use, name = options.pop("use", None), options.pop("name", None)
    if not isinstance(use, str) or not isinstance(name, str | None):
        raise Failure("curation_invalid", f'{where} has no "use" or "name" that is a string')
    if use not in STEPS:
        near = difflib.get_close_matches(use, STEPS, 1, 0.5)
        there = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(STEPS))}"
        raise Failure("curation_invalid", f"{where}: there is no step {use!r}; {there}")
    where = f"{where} ({use})"
    try:
        made = convert_or_misfit(STEPS[use], options)
        made = _with_paths(made, folder)
        made.check()
    except MisfitError as misfit:
        said = misfit.said
        if unknown := set(options) - set(STEPS[use].__struct_fields__):
            own = ", ".join(STEPS[use].__struct_fields__) or "none"
            said = f"has the unknown option {min(unknown)!r}; its options are {own}"
        message = MisfitError(misfit.place, said, misfit.whole).message_for(where)
        raise Failure("curation_invalid", message) from None
    except ValueError as error:
        raise Failure("curation_invalid", f"{where}: {error}") from None
    return NamedStep(name or use, made)


def _with_paths(step: Step, folder: Path) -> Step:
    """The step with the files that it names as whole paths; ValueError for a missing one."""
    changed: dict[str, Any] = {}
    for field in step.paths:
        given = getattr(step, field)
        several = given if isinstance(given, list) else [given] if given else []
        whole = [str((folder / one).absolute()) for one in several]
        for one in whole:
            if not Path(one).exists():
                raise ValueError(f"{field}: there is no file or folder {one}")
        changed[field] = whole if isinstance(given, list) else whole[0] if whole else given
    return msgspec.structs.replace(step, **changed)


def _identity_of(step: Step) -> list[Any]:
    files = []
    for field in step.paths:
        given = getattr(step, field)
        for one in given if isinstance(given, list) else [given] if given else []:
            found = Path(one)
            inside = sorted(found.rglob("*")) if found.is_dir() else [found]
            files += [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in inside]
    return [type(step).__name__, json.loads(msgspec.json.encode(step)), files]


def stages_of(steps: Sequence[NamedStep]) -> list[list[NamedStep]]:
    """The steps in groups that run together: up to a joint step, which decides at their end.

    A sweep is a group of its own, since it reads shards in order.
    """
    stages: list[list[NamedStep]] = [[]]
    for one in steps:
        if isinstance(one.step, SweepStep) and stages[-1]:
            stages.append([])
        stages[-1].append(one)
        if isinstance(one.step, JointStep | SweepStep):
            stages.append([])
    return stages if stages[-1] or len(stages) == 1 else stages[:-1]
