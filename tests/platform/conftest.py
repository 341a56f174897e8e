"""Users, submissions and a backend whose jobs do what the test says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from crucible.accounts.scopes import scopes_offered
from crucible.accounts.services import token_create
from crucible.entries.models import Submission
from crucible.intake import uploads
from crucible.intake.services import submission_create
from crucible.jobs import pipeline, queue
from crucible.jobs.backends.base import JobSpec, JobState, JobStatus
from crucible.pages import metrics, stages
from evaluation.suite import load_suite
from submissions.codec import to_json
from tests.profile_example import FILES, example_profile, write_example
from training_recipes.scales import load_scale

# What migrations put there: the roles among it.
KEPT = {"django_migrations", "django_content_type", "auth_permission", "auth_group",
        "auth_group_permissions"}  # fmt: skip
LINE = b'{"text": "A document."}\n'


class ScriptedBackend:
    """Knows jobs by key as a scheduler does; `outcome` decides what a key's status is."""

    name = "local"

    def __init__(self) -> None:
        self.slots = 2
        self.launched: list[str] = []
        self.specs: dict[str, JobSpec] = {}
        self.cancelled: list[str] = []
        self.outcome: Callable[[str], JobStatus] = lambda key: JobStatus(JobState.RUNNING)

    def submit(self, key: str, spec: JobSpec) -> None:
        if key not in self.launched:
            self.launched.append(key)
            self.specs[key] = spec

    def status(self, key: str) -> JobStatus:
        return self.outcome(key) if key in self.launched else JobStatus(JobState.UNKNOWN)

    def logs(self, key: str, limit: int) -> str:
        return f"log of {key}"[:limit]

    def cancel(self, key: str) -> bool:
        self.cancelled.append(key)
        return True


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ScriptedBackend:
    """Takes the place of the local backend."""
    scripted = ScriptedBackend()
    for module in (pipeline, queue, stages, metrics):
        monkeypatch.setattr(module, "backend_get", lambda name: scripted)
    return scripted


@pytest.fixture(autouse=True)
def hints(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Catches hints instead of sending them: no test here needs a broker."""
    sent: list[int] = []
    monkeypatch.setattr("crucible.hints.send_hint", sent.append)
    return sent


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password="a long passphrase")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob", password="a long passphrase")


@pytest.fixture
def staff(db: None) -> User:
    return User.objects.create_superuser("staff", password="a long passphrase")


@pytest.fixture
def make_submission(settings: Any, tmp_path: Any) -> Callable[..., Submission]:
    """Hands in a tiny upload; every field can be given."""
    settings.DATASETS_DIR = tmp_path / "datasets"
    settings.PROFILES_DIR, settings.WORK_DIR = tmp_path / "profiles", tmp_path / "work"

    def make(user: User, **fields: Any) -> Submission:
        upload = uploads.upload_create(user=user)
        uploads.shard_receive(upload=upload, name="a.jsonl", chunks=[LINE], size=len(LINE))
        values = {
            "name": "a dataset", "description": "", "track": "filtering", "scale": "smoke",
            "seed": None,
        } | fields  # fmt: skip
        return submission_create(user=user, upload_id=upload.id, **values)

    return make


@pytest.fixture
def api(client: Client) -> Callable[..., Any]:
    """Calls the API as a user; returns status and JSON."""

    def call(user: User | None, method: str, path: str, body: Any = None, **headers: str) -> Any:
        if user is not None:
            secret = token_create(user=user, label="test", scopes=scopes_offered(user))[1]
            headers["authorization"] = f"Bearer {secret}"
        raw = isinstance(body, bytes)
        response = client.generic(
            method, f"/api{path}",
            body if raw else (b"" if body is None else __import__("json").dumps(body).encode()),
            content_type="application/octet-stream" if raw else "application/json",
            headers=headers,
        )  # fmt: skip
        return response.status_code, response.json()

    return call


HASH = "ab" * 32
RECIPE, SUITE = load_scale("smoke").recipe_sha256, load_suite("smoke").hash
RESULTS: dict[str, dict[str, Any]] = {
    "validate": {"figures": {"documents": 1, "manifest_sha256": HASH}},
    "scan": {"figures": {}},
    "profile": {"figures": to_json(example_profile())},
    "tokenize": {
        "figures": {"tokenizer_sha256": HASH, "tokens": 6, "unique_tokens": 5, "epochs": 0.75}
    },
    "train": {
        "figures": {
            "engine": "composer", "recipe_sha256": RECIPE, "weights_sha256": "ef" * 32,
            "flops": 1e12, "loss": 3.25,
            "loss_curve": [[1, 8.0], [50, 5.0], [100, 3.25]],
        }
    },
    "evaluate": {"figures": {"suite_hash": SUITE, "engine": "llm-foundry"}},
    "score": {
        "figures": {
            "metric_version": "v2", "label": "SMOKE", "core": None, "core_stderr": None,
            "extended": None, "extended_stderr": None, "mmlu": None, "mmlu_stderr": None,
            "smoke": 0.125, "smoke_stderr": 0.02, "mean": None, "mean_stderr": None,
            "intervals": {}, "missing_tasks": [], "categories": {"language": 0.125},
            "tasks": {
                "smoke_copy": {
                    "score": 0.5, "n": 50, "stderr": 0.07, "baseline": 0.25, "centered": 1 / 3
                }
            },
        }
    },
}  # fmt: skip
OUTPUTS_OF = {
    "validate": ["dataset"], "scan": ["report"], "profile": ["sample", "sketch"],
    "tokenize": ["tokens"], "train": ["model"], "evaluate": ["results", "examples"],
    "score": ["score"],
}  # fmt: skip


def result_document(key: str) -> dict[str, Any]:
    """What the stage of this key would have written as result.json."""
    stage = key.split("-")[1]
    artifact = {"uri": f"file:///nowhere/{stage}", "sha256": HASH}
    return RESULTS[stage] | {
        "key": key, "stage": stage, "seconds": 2.0,
        "outputs": dict.fromkeys(OUTPUTS_OF[stage], artifact),
        "versions": {"python": "3.11", "commit": "c0ffee"},
        "hardware": {"cpu": "a processor", "cores": 2, "gpus": []},
    }  # fmt: skip


REPORT = {"index_hash": HASH, "documents": 1, "bytes": 22, "seconds": 0.1, "examples": [],
          "tasks": {}, "findings": []}  # fmt: skip


@pytest.fixture
def succeed(tmp_path: Path) -> Callable[[str], JobStatus]:
    """An outcome: every job has finished well, and the scan has found nothing."""
    report = tmp_path / "report.json"
    report.write_text(json.dumps(REPORT))
    made = tmp_path / "profile-made"
    write_example(made)

    def outcome(key: str) -> JobStatus:
        document = result_document(key)
        if document["stage"] == "scan":
            document["outputs"] = {"report": {"uri": report.as_uri(), "sha256": ""}}
        if document["stage"] == "profile":
            document["outputs"] = {
                name: {"uri": (made / file).as_uri(), "sha256": ""} for name, file in FILES.items()
            }
        return JobStatus(JobState.SUCCEEDED, document=document)

    return outcome


@pytest.fixture
def publish(
    backend: ScriptedBackend, make_submission: Any, succeed: Any
) -> Callable[..., Submission]:
    """A submission that has gone all the way."""

    def make(user: User, **fields: Any) -> Submission:
        backend.outcome = succeed
        submission = make_submission(user, **fields)
        for _ in range(10):
            pipeline.submission_advance(submission_id=submission.id)
        submission.refresh_from_db()
        assert submission.state == "published", submission.failure
        return submission

    return make


@pytest.fixture
def tokens_needed() -> int:
    return load_scale("smoke").tokens_needed


@pytest.fixture
def committed(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Real transactions, seen by every thread; all rows go afterwards."""
    with django_db_blocker.unblock():
        yield
        with connection.cursor() as cursor:
            tables = [name for name in connection.introspection.table_names() if name not in KEPT]
            for name in tables:  # the append-only ones refuse even this
                cursor.execute(f"alter table {name} disable trigger user")
            cursor.execute(f"truncate {', '.join(tables)} cascade")
            for name in tables:
                cursor.execute(f"alter table {name} enable trigger user")
