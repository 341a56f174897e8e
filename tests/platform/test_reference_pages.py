"""The pages of datasets by reference."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from crucible.entries.models import Submission, Upload
from crucible.intake.models import Reference, StoreKey
from tests.platform.test_by_reference import ONE, SECRET, STORE, manifest_of

pytestmark = pytest.mark.django_db
KEY = {"name": "lab", "endpoint": STORE, "access_key_id": "id", "secret_access_key": SECRET}


@pytest.fixture(autouse=True)
def store(settings, tmp_path):
    settings.CRUCIBLE_STORES = [STORE]
    settings.DATASETS_DIR = tmp_path / "datasets"


def fields(**changed):
    manifest = SimpleUploadedFile("any-name.jsonl", manifest_of(ONE))
    return {"name": "far", "track": "filtering", "scale": "smoke", "description": "",
            "manifest": manifest, "store_key": ""} | changed  # fmt: skip


def test_a_key_is_added_listed_without_its_secret_and_removed(client, alice, bob):
    client.force_login(alice)
    assert client.post("/account/stores/", KEY).status_code == 302
    page = client.get("/account/stores/").content.decode()
    assert "lab" in page
    assert STORE in page
    assert SECRET not in page
    again = client.post("/account/stores/", KEY)
    assert again.status_code == 422
    assert "remove it first" in again.content.decode()
    assert SECRET not in again.content.decode()
    elsewhere = client.post("/account/stores/", KEY | {"endpoint": "https://evil.example"})
    assert elsewhere.status_code == 422
    key = StoreKey.objects.get()
    client.force_login(bob)
    client.post(f"/account/stores/{key.id}/remove/")
    assert StoreKey.objects.exists()
    client.force_login(alice)
    client.post(f"/account/stores/{key.id}/remove/")
    assert not StoreKey.objects.exists()


def test_a_manifest_is_submitted_in_the_browser(client, alice):
    client.force_login(alice)
    client.post("/account/stores/", KEY)
    answer = client.post("/submissions/by-reference/", fields(store_key="lab"))
    submission = Submission.objects.get()
    assert answer.headers["Location"] == f"/submissions/{submission.id}/"
    assert Reference.objects.get(upload=submission.upload).key_name == "lab"
    broken = SimpleUploadedFile("m.jsonl", manifest_of(ONE).replace(b"a.jsonl", b"../a.jsonl"))
    answer = client.post("/submissions/by-reference/", fields(manifest=broken))
    assert answer.status_code == 422
    assert "must be a path below" in answer.content.decode()
    assert Upload.objects.count() == 1  # what was refused is not kept


def test_without_stores_there_is_no_such_page(client, alice, settings):
    client.force_login(alice)
    assert "submitted by reference" in client.get("/submissions/new/").content.decode()
    assert "Store keys" in client.get("/account/").content.decode()
    settings.CRUCIBLE_STORES = []
    assert client.get("/submissions/by-reference/").status_code == 404
    assert client.get("/account/stores/").status_code == 404
    assert "by reference" not in client.get("/submissions/new/").content.decode()
