"""Mixtures on the site: handed in by form and API, shown on the submission's page."""

from __future__ import annotations

import copy
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from crucible.entries.models import Submission, Upload
from crucible.intake.uploads import folder_of
from crucible.jobs import pipeline
from crucible.jobs.backends.base import JobState, JobStatus
from submissions.dataset import find_dataset

pytestmark = pytest.mark.django_db

LINE = b'{"text": "One."}\n'
MIXTURE = {
    "sources": [
        {"name": "web", "weight": 0.75, "shards": ["web-*"]},
        {"name": "books", "weight": 0.25, "shards": ["b.jsonl"]},
    ]
}
FIELDS = {"name": "mixed", "track": "mixing", "scale": "smoke", "description": "", "seed": ""}


def files(**others: bytes) -> list[SimpleUploadedFile]:
    contents = {"web-0.jsonl": LINE, "web-1.jsonl": LINE, "b.jsonl": LINE}
    contents["mixture.json"] = json.dumps(MIXTURE).encode()
    return [SimpleUploadedFile(name, content) for name, content in (contents | others).items()]


@pytest.fixture
def browser(alice, settings, tmp_path) -> Client:
    settings.DATASETS_DIR = tmp_path
    client = Client()
    client.force_login(alice)
    return client


def sources_of(submission: Submission) -> dict[str, list[str]]:
    dataset = find_dataset([folder_of(submission.upload)])
    return {source.name: [shard.name for shard in source.shards] for source in dataset.sources}


EXPECTED = {"books": ["b.jsonl"], "web": ["web-0.jsonl", "web-1.jsonl"]}


def test_a_mixture_by_form(browser):
    assert "mixture.json" in browser.get("/submissions/new/").text
    answer = browser.post("/submissions/new/", FIELDS | {"shards": files()})
    submission = Submission.objects.get()
    assert answer.url == f"/submissions/{submission.id}/"
    assert sources_of(submission) == EXPECTED


def test_a_mixture_by_api(api, alice, settings, tmp_path):
    settings.DATASETS_DIR = tmp_path
    _, upload = api(alice, "POST", "/uploads")
    for file in files():
        status, _ = api(alice, "PUT", f"/uploads/{upload['id']}/shards/{file.name}", file.read())
        assert status == 200
    body = {"name": "mixed", "track": "mixing", "scale": "smoke", "upload": upload["id"]}
    assert api(alice, "POST", "/submissions", body | {"track": "filtering"})[1]["code"] == (
        "mixture_invalid"
    )
    status, document = api(alice, "POST", "/submissions", body)
    assert status == 201
    assert sources_of(Submission.objects.get(id=document["id"])) == EXPECTED


def test_a_mixture_on_the_other_track_changes_nothing(browser):
    answer = browser.post("/submissions/new/", FIELDS | {"track": "filtering", "shards": files()})
    assert answer.status_code == 422
    assert "remove mixture.json, or choose the mixing track" in answer.text
    assert not Upload.objects.exists()


def test_a_mixture_alone_is_no_dataset(browser):
    answer = browser.post("/submissions/new/", FIELDS | {"shards": files()[-1:]})
    assert answer.status_code == 422
    assert "holds no shard" in answer.text


ESTIMATED = [
    {"name": "books", "weight": 0.25, "shards": 1, "documents": 1, "bytes": 17, "text_bytes": 4,
     "tokens_estimate": 12_345, "epochs_estimate": 1.875},
    {"name": "web", "weight": 0.75, "shards": 2, "documents": 2, "bytes": 34, "text_bytes": 8,
     "tokens_estimate": 0, "epochs_estimate": None},
]  # fmt: skip
COUNTED = [{"name": "books", "weight": 0.25, "documents": 1, "tokens": 13_579, "unique_tokens": 9,
            "sequences": 3, "epochs": 2.125}]  # fmt: skip


def test_the_page_shows_sources_and_weights(browser, alice, backend, make_submission, succeed):
    figures: dict[str, list[object]] = {"validate": ESTIMATED}

    def outcome(key: str) -> JobStatus:
        stage = key.split("-")[1]
        if stage not in figures:
            return JobStatus(JobState.RUNNING)
        done = copy.deepcopy(succeed(key))
        assert done.document is not None
        done.document["figures"]["sources"] = figures[stage]
        return done

    backend.outcome = outcome
    submission = make_submission(alice, track="mixing")

    def page() -> str:
        for _ in range(5):
            pipeline.submission_advance(submission_id=submission.id)
        return str(browser.get(f"/submissions/{submission.id}/").text)

    shown = page()
    for text in ("Mixture", "books", "0.25", "12\u202f345", "1.875", "estimates until"):
        assert text in shown
    figures["tokenize"] = COUNTED
    shown = page()
    for text in ("13\u202f579", "2.125"):
        assert text in shown
    assert "estimates until" not in shown


def test_a_dataset_without_one_shows_none(browser, alice, publish):
    assert "Mixture" not in browser.get(f"/submissions/{publish(alice).id}/").text
