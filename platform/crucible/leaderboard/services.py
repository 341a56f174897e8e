"""Makes a score out of the stages' results, or refuses it."""

from __future__ import annotations

from typing import Any

from crucible.entries.models import Submission
from crucible.jobs.models import Stage
from crucible.jobs.selectors import results_of
from crucible.leaderboard.models import Score
from submissions.failures import Failure


def score_publish(*, submission: Submission) -> Score:
    """The score of a submission whose stages have all succeeded.

    Raises `Failure` (`internal_error`) naming what is missing: a score without its provenance is no
    score.
    """
    results = results_of(submission)
    try:
        fields = _fields(submission, results)
    except KeyError as missing:
        raise Failure("internal_error", f"the score lacks {missing}") from missing
    empty = sorted(name for name, value in fields.items() if value in ("", "unknown"))
    if empty:
        raise Failure("internal_error", f"the score lacks {', '.join(empty)}")
    return Score.objects.create(submission=submission, **fields)


def _fields(submission: Submission, results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    train, evaluate = results[Stage.TRAIN], results[Stage.EVALUATE]
    dataset = results[Stage.TOKENIZE]["figures"]
    score = results[Stage.SCORE]["figures"]
    measured = ["metric_version", "label", "core", "core_stderr", "extended", "extended_stderr",
                "mmlu", "smoke", "smoke_stderr", "categories", "tasks",
                "missing_tasks"]  # fmt: skip
    return {name: score[name] for name in measured} | {
        "suite_sha256": evaluate["figures"]["suite_hash"],
        "recipe_sha256": train["figures"]["recipe_sha256"],
        "manifest_sha256": results[Stage.VALIDATE]["figures"]["manifest_sha256"],
        "tokenizer_sha256": dataset["tokenizer_sha256"],
        "seed": submission.seed,
        "code_commit": train["versions"]["commit"],
        "training_engine": train["figures"]["engine"],
        "evaluation_engine": evaluate["figures"]["engine"],
        "hardware": train["hardware"],
        "versions": train["versions"],
        "seconds": sum(result["seconds"] for result in results.values()),
        "flops": train["figures"]["flops"],
        "loss": train["figures"]["loss"],
        "tokens": dataset["tokens"],
        "unique_tokens": dataset["unique_tokens"],
        "epochs": dataset["epochs"],
    }
