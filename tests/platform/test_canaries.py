"""Planted secrets: none may be found in a log, a page, the API, a mail, a webhook or a job."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import time
from pathlib import Path

import pytest
from django.core import mail
from django.test import Client
from django.urls import get_resolver

from crucible import redaction
from crucible.accounts.services import token_create
from crucible.jobs.backends.base import JobState, JobStatus
from crucible.jobs.backends.local import LocalBackend
from crucible.jobs.models import Attempt
from crucible.jobs.pipeline import submission_advance
from crucible.logs import JsonLine, logged_about
from crucible.notifications.models import Notice
from crucible.notifications.sender import payload
from crucible.notifications.services import webhook_create
from crucible.redaction import redact
from submissions.failures import Failure
from submissions.states import Stage
from tests.platform.steps import deliver

pytestmark = pytest.mark.django_db
OWN = {  # what the installation has, by the name of the setting
    "DATABASE_URL": "postgresql://crucible:canary-database-pw@db/crucible",
    "CELERY_BROKER_URL": "amqp://worker:canary-broker-pw@mq//",
    "AWS_SECRET_ACCESS_KEY": "canary/aws+secret",
    "HF_TOKEN": "canary-without-a-shape",
    "CRUCIBLE_SMTP_URL": "smtps://post:canary%2Dmail-pw@mail",
    "CRUCIBLE_SECRET_KEY": "canary-secret-key",
}
SHAPED = [  # what anybody may print
    "crucible_" + "C" * 43,
    "AKIA" + "CANARY1234567890",
    "https://bucket.s3/a?X-Amz-Credential=canarycredential&X-Amz-Signature=canarysignature",
    "Authorization: Bearer canary.bearer.token",
    "redis://:canary-url-pw@cache:6379/0",
    "password = 'canary-plain-pw'",
    '"secret_key": "canary-json-secret"',
    "hf_" + "canary" * 5,
    "-----BEGIN RSA PRIVATE KEY-----\ncanarykey\n-----END RSA PRIVATE KEY-----",
]
CANARY = ["canary", "CANARY", "CCCCCC"]
STAGE = """
import os, sys
from submissions.failures import Failure
from submissions.job import run_stage

def stage(job):
    print("environment", dict(os.environ))
    for text in job.parameters["texts"]:
        print("the job says", text)
    job.progress(1, 2, "steps", " ".join(job.parameters["texts"]))
    raise Failure("internal_error", "it broke: " + " ".join(job.parameters["texts"]))

if __name__ == "__main__":
    sys.exit(run_stage(stage))
"""


@pytest.fixture
def planted(monkeypatch):
    """The secrets are in the environment, as on an installation."""
    for name, value in OWN.items():
        monkeypatch.setenv(name, value)
    redaction._own_secrets.cache_clear()
    yield [*SHAPED, *OWN.values(), "canary-mail-pw"]
    redaction._own_secrets.cache_clear()


def caught(text):
    """The canaries that a text holds."""
    return [line for line in text.splitlines() if any(word in line for word in CANARY)]


def test_every_canary_is_caught_and_ordinary_text_is_not(planted):
    for secret in planted:
        assert caught(secret)
        assert not caught(redact(f"before {secret} after"))
    for text in (
        "step 3 of 9, loss 2.5, tokens: 1234567, eta 3 min",
        "ValueError: the token 'hello' is no key of the vocabulary",
        "file:///srv/crucible/work/12/train, sha256 " + "ab" * 32,
        "https://crucible.example.org/submissions/12/?format=json",
    ):
        assert redact(text) == text


def test_a_log_line_is_json_about_its_submission_and_holds_no_secret(planted):
    try:
        raise ValueError(" ".join(planted))
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("a", logging.ERROR, "", 1, "%s", (" ".join(planted),), error)
    with logged_about(12, "12-train-a1"):
        line = JsonLine().format(record)
    assert not caught(line)
    document = json.loads(line)
    assert (document["submission"], document["attempt"]) == (12, "12-train-a1")
    assert "ValueError" in document["traceback"]
    assert json.loads(JsonLine().format(record))["submission"] is None


@pytest.fixture
def leaky(planted, tmp_path, monkeypatch, settings):
    """The real local backend, with a first stage that prints and reports every secret."""
    root = Path(__file__).parents[2]
    (tmp_path / "leaky_stage.py").write_text(STAGE)
    (tmp_path / "submissions").symlink_to(root / "submissions")
    monkeypatch.setattr("crucible.jobs.backends.directory.REPOSITORY", tmp_path)
    monkeypatch.setitem(__import__("crucible.jobs.stages").jobs.stages.MODULES, Stage.VALIDATE,
                        "leaky_stage")  # fmt: skip
    monkeypatch.setattr(
        "crucible.jobs.stages._parameters", lambda submission, stage: {"texts": planted}
    )
    settings.CRUCIBLE_STAGE_ATTEMPTS = 1
    backend = LocalBackend(tmp_path / "jobs", slots=1)
    for module in ("jobs.pipeline", "jobs.queue", "pages.stages"):
        monkeypatch.setattr(f"crucible.{module}.backend_get", lambda name: backend)
    return backend


@pytest.fixture
def site_log():
    """What the site's processes write, in the form that the settings give it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLine())
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


def test_a_job_that_prints_secrets_leaves_none_where_anybody_reads(
    leaky, alice, staff, make_submission, settings, site_log
):
    settings.EMAIL_HOST, alice.email = "mail.example.org", "alice@example.org"
    alice.save()
    webhook_create(user=alice, url="https://example.org/")
    submission = make_submission(alice)
    end = time.monotonic() + 20
    while not submission.is_over and time.monotonic() < end:
        submission_advance(submission_id=submission.id)
        submission.refresh_from_db()
        time.sleep(0.1)
    assert submission.state == "failed"
    attempt = Attempt.objects.get()
    printed = leaky.logs(attempt.key, 100_000)
    assert "canary-plain-pw" in printed  # it did print what it was told
    environment = next(line for line in printed.splitlines() if line.startswith("environment"))
    assert not caught(environment)
    assert not any(f"'{name}'" in environment for name in OWN)

    _, secret = token_create(user=alice, label="test")
    headers = {"authorization": f"Bearer {secret}"}
    texts = {
        "api": Client().get(f"/api/submissions/{submission.id}", headers=headers).text,
        "row": repr(Attempt.objects.values().get()) + repr(submission.__dict__),
        "events": repr(list(submission.events.values())),
        "webhooks": repr([payload(notice) for notice in Notice.objects.all()]),
        "logs": site_log.getvalue(),
    }
    for user in (alice, staff):
        client = Client()
        client.force_login(user)
        for path in ("", "log/validate/"):
            address = f"/submissions/{submission.id}/{path}"
            texts[f"{user} {address}"] = client.get(address).text
    texts["admin"] = client.get(f"/admin/jobs/attempt/{attempt.id}/change/").text
    Notice.objects.filter(webhook__isnull=False).delete()
    assert deliver() == 1
    texts["mail"] = str(mail.outbox[0].message())
    for place, text in texts.items():
        assert text, place
        assert not caught(text), place
    assert "the job says [redacted]" in texts[f"alice /submissions/{submission.id}/log/validate/"]


def test_no_page_tells_the_installations_own_secrets(planted, staff, alice, publish):
    submission = publish(alice)
    client = Client()
    client.force_login(staff)
    seen = 0
    for pattern in get_resolver().url_patterns:
        route = str(pattern.pattern)
        route = route.replace("<int:submission_id>", str(submission.id))
        route = route.replace("<str:track>", "filtering").replace("<str:scale>", "smoke")
        route = route.replace("<str:stage>", "train")
        if "<" in route:
            continue
        answer = client.get(f"/{route}", follow=True)
        if answer.status_code == 200:
            seen += 1
            assert not caught(answer.content.decode()), route
            assert os.environ["CRUCIBLE_SECRET_KEY"] not in answer.content.decode()
    assert seen > 10


def test_a_failure_is_cleaned_before_it_is_stored(planted, alice, make_submission, backend):
    failure = Failure("disk_full", "cannot write " + " ".join(planted)).as_dict()
    backend.outcome = lambda key: JobStatus(JobState.FAILED, {}, failure)
    submission = make_submission(alice)
    for _ in range(12):
        submission_advance(submission_id=submission.id)
    submission.refresh_from_db()
    assert submission.failure["message"].startswith("cannot write [redacted]")
    assert not caught(repr(list(Attempt.objects.values())) + repr(submission.failure))
