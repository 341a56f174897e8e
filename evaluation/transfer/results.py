"""The score of a results file that a prediction starts from, and what must fit for it to count.

A prediction from another suite, metric version or recipe than the calibration's would be a number
without a meaning, so each is refused by name.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from evaluation.score import ResultsFile, read_results
from evaluation.suite import load_suite
from evaluation.transfer.checkout import METRIC_VERSION, core_of
from evaluation.transfer.line import Pair
from evaluation.transfer.published import published_run
from evaluation.transfer.runs import Run, recipe_of
from submissions.failures import Failure

MOST_PAIRS = 10_000
COLUMNS = ("dataset", "source", "target")


@dataclass(frozen=True)
class Measured:
    """CORE (v2, a share) of a results file; `published` where it is one of DCLM's own runs."""

    name: str
    core: float
    tokenizer: str | None
    published: Run | None


def read_measured(path: Path) -> Measured:
    """The score of a results.json or of an eval JSON of DCLM.

    Raises `results_invalid` where a task of CORE is missing, `not_comparable` for results of
    another suite, metric version or of a sample of the questions.
    """
    document, results = read_results(path)
    _check(path, document)
    suite = load_suite("full")
    core = core_of(suite, {label: result.score for label, result in results.items()})
    if core is None:
        missing = [task.label for task in suite.tasks if task.core and task.label not in results]
        raise Failure("results_invalid", f"{path.name} lacks tasks of CORE: {', '.join(missing)}")
    known = published_run(document.uuid or "") if document.eval_metrics else None
    return Measured(path.name, core, document.tokenizer_sha256, _same(known, core))


def scale_of(measured: list[Measured]) -> str | None:
    """The scale that the published runs among them have; raises `not_comparable` for two."""
    scales = {found.published.scale: found.name for found in measured if found.published}
    if len(scales) > 1:
        named = ", ".join(f"{name} ({scale})" for scale, name in scales.items())
        raise Failure("not_comparable", f"these results are of different scales: {named}")
    return next(iter(scales), None)


def check_recipes(measured: list[Measured], source: str) -> None:
    """Raises `not_comparable` where a published run is not at `source` under its recipe.

    Also where two results name different tokenizers. Other results carry no recipe: the user must
    know that they have the scale's frozen one.
    """
    wanted = recipe_of(source, "published")
    for found in measured:
        run = found.published
        if run is None:
            continue
        if run.scale != source:
            raise Failure("not_comparable", f"{found.name} is of {run.scale}, not of {source}")
        if run.recipe != wanted or run.altered:
            how = "an altered training" if run.altered else str(run.recipe)
            raise Failure(
                "not_comparable", f"{found.name} has another recipe ({how}) than {wanted}"
            )
    tokenizers = {found.tokenizer for found in measured if found.tokenizer}
    if len(tokenizers) > 1:
        raise Failure("not_comparable", "these results are of models with different tokenizers")


def read_pairs(path: Path) -> list[Pair]:
    """A site's own pairs: a CSV with the columns dataset, source, target (CORE as shares).

    Raises `results_invalid` with the line at fault.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise Failure("results_invalid", f"{path.name} must begin with {','.join(COLUMNS)}")
            pairs: list[Pair] = []
            for row in reader:
                if len(pairs) == MOST_PAIRS:
                    raise Failure("results_invalid", f"{path.name} has over {MOST_PAIRS} lines")
                pairs.append(_pair(path, reader.line_num, row))
            return pairs
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Failure("results_invalid", f"{path.name} cannot be read as CSV") from error


def _pair(path: Path, line: int, row: dict[str, str | None]) -> Pair:
    try:
        source, target = (float(row[name] or "") for name in ("source", "target"))
    except ValueError:
        source = target = math.nan
    if not row["dataset"] or not (-1 <= source <= 1 and -1 <= target <= 1):
        raise Failure(
            "results_invalid",
            f"{path.name}, line {line}: a name and two scores between -1 and 1 are needed",
        )
    return Pair(row["dataset"], source, target)


def _check(path: Path, document: ResultsFile) -> None:
    if document.limit is not None:
        raise Failure("not_comparable", f"{path.name} is of a sample of each task's questions")
    version = document.metric_version or METRIC_VERSION
    if version != METRIC_VERSION:
        raise Failure(
            "not_comparable",
            f"{path.name} is under metric version {version}; lines are fitted under "
            f"{METRIC_VERSION}",
        )
    name = document.suite_name
    if name not in ("core", "full"):
        raise Failure("not_comparable", f"{path.name} is of the suite {name}, which has no CORE")
    if document.suite_hash not in (None, load_suite(name).hash):
        raise Failure(
            "not_comparable", f"{path.name} belongs to another version of the suite {name}"
        )


def _same(run: Run | None, core: float) -> Run | None:
    """The run, or None where the file has its uuid but other values: then it is another run."""
    return run if run is not None and abs(run.core - core) < 1e-6 else None
