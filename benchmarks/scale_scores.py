"""The scores of benchmarks/scale.py: a board of the full suite, with the answers behind it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from evaluation.examples import Example
from evaluation.records import write_records
from evaluation.suite import load_suite
from evaluation.suite_file import METRIC_VERSIONS
from submissions.hashing import file_sha256
from training_recipes.scales import load_scale

SCALE = "400m-1x"
HASH = "ab" * 32
QUESTIONS = 3_000  # a task: 159,000 in all, about as many as the real files hold
WITH_ANSWERS = 150  # of the best: a board finds places for its first hundred


@cache
def _answers_of_one() -> Any:
    """The records of a run as a table, of which others differ in what is right."""
    import pyarrow.parquet as pq
    from django.conf import settings

    suite = load_suite("full")
    examples = [
        Example(task.label, index, None, False, None, 0)
        for task in suite.tasks
        for index in range(QUESTIONS)
    ]
    path = settings.RECORDS_DIR / "template.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_records(path, examples, suite.hash)
    return pq.read_table(path)


def records(chance: float, seed: int) -> str:
    """Keeps the records of a run that was right with this chance; returns their hash."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from crucible.leaderboard.records import records_path

    table = _answers_of_one()
    right = np.random.default_rng(seed).random(len(table)) < chance
    place = table.schema.get_field_index("correct")
    table = table.set_column(place, table.schema.field("correct"), pa.array(right))
    made = records_path("").with_name(f"{seed}.parquet")
    pq.write_table(table, made, compression="zstd")
    sha256 = file_sha256(made)
    made.rename(records_path(sha256))
    return sha256


def scores(published: list[Any], cores: list[float]) -> None:
    """A score of each under every metric version, the best first: they are on the board then."""
    from crucible.leaderboard.models import Score

    recipe, suite = load_scale(SCALE).recipe_sha256, load_suite("full")
    tasks = {task.label: {"score": 0.5, "n": QUESTIONS, "stderr": 0.009, "baseline": 0.25,
                          "centered": 1 / 3, "interval": [0.48, 0.52], "chance_p": 0.0}
             for task in suite.tasks}  # fmt: skip
    made = []
    for place, (one, mean) in enumerate(zip(published, cores, strict=True)):
        kept = records(mean, one.id) if place < WITH_ANSWERS else ""
        made += [
            Score(
                submission=one, metric_version=version, label="CORE", core=mean,
                core_stderr=0.003, extended=mean - 0.1, extended_stderr=0.002, mmlu=mean - 0.2,
                mmlu_stderr=0.004, intervals={name: [mean - shift - 0.01, mean - shift + 0.01]
                for name, shift in (("core", 0.0), ("extended", 0.1), ("mmlu", 0.2))},
                categories={}, tasks=tasks, suite_sha256=suite.hash, recipe_sha256=recipe,
                manifest_sha256=HASH, tokenizer_sha256=HASH, seed=124, code_commit="c0ffee",
                training_engine="composer", evaluation_engine="native", records_sha256=kept,
                hardware={"cpu": "", "cores": 2, "gpus": []}, versions={}, seconds=10, flops=1e12,
                loss=3.0, tokens=10**6, unique_tokens=10**6, epochs=1.0,
            )
            for version in METRIC_VERSIONS
        ]  # fmt: skip
    Score.objects.bulk_create(made, batch_size=500)
