"""The chain of stages: what each runs, from which earlier results, with which parameters."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from crucible.entries.models import Submission
from crucible.intake.places import folder_of
from crucible.intake.references import reference_of
from crucible.jobs.backends.base import JobSpec
from crucible.jobs.models import Attempt, AttemptState
from crucible.leaderboard.suites import suite_name
from crucible.profiles.services import sketches_lay_out
from evaluation.metrics import DEFAULT_METRIC_VERSION
from submissions.codec import to_json
from submissions.manifest import MANIFEST
from submissions.states import Stage, State
from training_recipes.scales import load_scale

MODULES = {
    Stage.VALIDATE: "submissions.validate",
    Stage.SCAN: "evaluation.contamination.stage",
    Stage.PROFILE: "submissions.profile.stage",
    Stage.TOKENIZE: "training_recipes.tokenize",
    Stage.TRAIN: "training_recipes.train",
    Stage.EVALUATE: "evaluation.evaluate",
    Stage.SCORE: "evaluation.score",
}
STATE_OF = {
    Stage.VALIDATE: State.VALIDATING,
    Stage.TOKENIZE: State.TOKENIZING,
    Stage.TRAIN: State.TRAINING,
    Stage.EVALUATE: State.EVALUATING,
    Stage.SCORE: State.SCORING,
}
STAGE_OF = {state: stage for stage, state in STATE_OF.items()}
# Examples of every evaluation that LLM Foundry is asked too, about two a task of the full suite.
AUDITED = 100
# The stage whose artifacts a stage takes, and which.
INPUTS_OF = {
    Stage.SCAN: (Stage.VALIDATE, ["dataset"]),
    Stage.PROFILE: (Stage.VALIDATE, ["dataset"]),
    Stage.TOKENIZE: (Stage.VALIDATE, ["dataset"]),
    Stage.TRAIN: (Stage.TOKENIZE, ["tokens"]),
    Stage.EVALUATE: (Stage.TRAIN, ["model"]),
    Stage.SCORE: (Stage.EVALUATE, ["results", "examples"]),
}


def stage_after(stage: Stage | None) -> Stage | None:
    """The first stage of the chain for None, None after the last; the others are beside it."""
    order = list(STATE_OF)
    if stage is None:
        return order[0]
    position = order.index(stage) + 1
    return order[position] if position < len(order) else None


def _parameters(submission: Submission, stage: Stage) -> dict[str, Any]:
    scale = load_scale(submission.scale)
    if stage == Stage.VALIDATE:
        return {
            "track": submission.track, "scale": scale.name, "tokens": scale.tokens_needed,
            "bytes_per_token": scale.bytes_per_token, "max_epochs": scale.max_epochs,
            "tokenizer": scale.tokenizer, "multiple": settings.CRUCIBLE_MAX_MULTIPLE,
        }  # fmt: skip
    if stage == Stage.SCAN:
        return {"suite": suite_name(scale.name), "data": settings.CRUCIBLE_EVAL_DATA or None}
    if stage == Stage.PROFILE:
        return {"tokenizer": scale.tokenizer}
    if stage == Stage.TOKENIZE:
        multiple = settings.CRUCIBLE_MAX_MULTIPLE
        return {"scale": scale.name, "seed": submission.seed, "multiple": multiple}
    if stage == Stage.TRAIN:
        return {"scale": scale.name, "seed": submission.seed, "engine": "composer"}
    if stage == Stage.EVALUATE:
        data = settings.CRUCIBLE_EVAL_DATA or None
        return {
            "suite": suite_name(scale.name), "engine": "native", "audit": AUDITED, "data": data,
        }  # fmt: skip
    own = suite_name(scale.name) if suite_name(scale.name).endswith(".json") else None
    return {"metric_version": DEFAULT_METRIC_VERSION, "suite": own}


def _inputs(submission: Submission, stage: Stage) -> dict[str, Any]:
    if stage == Stage.VALIDATE:
        where = folder_of(submission.upload)
        if reference_of(submission) is not None:
            where /= MANIFEST
        return {"dataset": {"uri": where.as_uri(), "sha256": ""}}
    maker, names = INPUTS_OF[stage]
    made = Attempt.objects.get(submission=submission, stage=maker, state=AttemptState.SUCCEEDED)
    assert made.result_document is not None  # a constraint of the table
    inputs = {name: to_json(made.result_document.outputs[name]) for name in names}
    if stage == Stage.PROFILE:
        inputs |= to_json(sketches_lay_out(submission=submission))
    return inputs


def spec_of(attempt: Attempt) -> JobSpec:
    """The job.json of an attempt, with the module that runs it."""
    submission, stage = attempt.submission, Stage(attempt.stage)
    output = settings.WORK_DIR / str(submission.id) / stage.value
    document = {
        "key": attempt.key,
        "stage": stage.value,
        "inputs": _inputs(submission, stage),
        "parameters": _parameters(submission, stage),
        "hashes": {"recipe": load_scale(submission.scale).recipe_sha256},
        "output": output.as_uri(),
    }
    return JobSpec(MODULES[stage], document, submission.scale)
