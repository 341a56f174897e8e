"""Pages: what each kind of visitor sees, the form, and what works without JavaScript."""

from __future__ import annotations

import re

import pytest
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import get_resolver

from crucible.entries.models import Submission, Upload
from crucible.jobs.pipeline import submission_advance
from submissions.failures import Failure

pytestmark = pytest.mark.django_db


@pytest.fixture
def as_user():
    def login(user):
        client = Client()
        if user is not None:
            client.force_login(user)
        return client

    return login


def test_the_first_board_is_the_one_without_a_name(client):
    response = client.get("/leaderboard/", follow=True)
    assert response.redirect_chain == [("/leaderboard/filtering/smoke/", 302)]
    assert "No submission is published" in response.text


def test_boards_that_are_not_kept_do_not_exist(client):
    assert client.get("/leaderboard/filtering/7b-2x/").status_code == 404
    assert client.get("/leaderboard/guessing/smoke/").status_code == 404


def test_a_published_submission_is_for_everybody_its_inside_is_not(
    as_user, alice, bob, staff, publish
):
    submission = publish(alice, name="<b>bold</b>", description="<script>alert(1)</script>")
    path = f"/submissions/{submission.id}/"
    for user, inside in ((None, False), (bob, False), (alice, True), (staff, True)):
        page = as_user(user).get(path)
        assert page.status_code == 200
        assert "12.5" in page.text
        assert "smoke_copy" in page.text
        assert "c0ffee" in page.text
        assert "ef" * 32 in page.text  # the trained weights
        assert "<script>alert" not in page.text
        assert "<b>bold" not in page.text
        assert ("History" in page.text) is inside
        expected = {True: 200, False: 302 if user is None else 404}[inside]
        assert as_user(user).get(f"{path}log/train/").status_code == expected
    board = as_user(None).get("/leaderboard/filtering/smoke/")
    assert "&lt;b&gt;bold" in board.text
    assert "SMOKE" in board.text
    assert "CORE</th>" not in board.text


def test_an_unpublished_one_is_its_owners_alone(as_user, alice, bob, make_submission):
    path = f"/submissions/{make_submission(alice).id}/"
    assert as_user(bob).get(path).status_code == 404
    assert as_user(None).get(path).status_code == 404
    assert as_user(bob).post(f"{path}cancel/").status_code == 404
    assert as_user(alice).get(path).status_code == 200
    assert as_user(alice).post(f"{path}cancel/").status_code == 302
    assert Submission.objects.get().state == "cancelling"


def test_it_is_live_with_javascript_and_without(as_user, alice, make_submission, backend):
    submission = make_submission(alice)
    submission_advance(submission_id=submission.id)
    path = f"/submissions/{submission.id}/"
    page = as_user(alice).get(path).text
    assert '<noscript><meta http-equiv="refresh"' in page
    assert f'hx-get="{path}" hx-trigger="every 2s"' in page
    part = as_user(alice).get(path, headers={"HX-Request": "true"}).text
    assert part.lstrip().startswith('<div id="progress"')
    assert "<html" not in part


def test_a_finished_one_stops_asking(as_user, alice, publish):
    page = as_user(alice).get(f"/submissions/{publish(alice).id}/").text
    assert "hx-trigger" not in page
    assert "http-equiv" not in page


def test_a_failure_says_what_where_and_what_to_do(as_user, alice, make_submission):
    failure = Failure("not_json", "this line is not JSON", shard="a.jsonl", line=3).as_dict()
    submission = make_submission(alice)
    Submission.objects.filter(id=submission.id).update(state="failed", failure=failure)
    page = as_user(alice).get(f"/submissions/{submission.id}/").text
    assert "<bdi>a.jsonl</bdi>, line 3: <bdi>this line is not JSON" in re.sub(r"\s+", " ", page)
    assert "crucible check" in page
    assert "not_json" in page


def shard(name="a.jsonl", content=b'{"text": "One."}\n'):
    return SimpleUploadedFile(name, content)


FIELDS = {"name": "by form", "track": "filtering", "scale": "smoke", "description": "", "seed": ""}


def test_submitting_by_form(as_user, alice, settings, tmp_path):
    settings.DATASETS_DIR = tmp_path
    client = as_user(alice)
    assert client.get("/submissions/new/").status_code == 200
    answer = client.post("/submissions/new/", FIELDS | {"shards": [shard(), shard("b.jsonl")]})
    submission = Submission.objects.get()
    assert answer.url == f"/submissions/{submission.id}/"
    assert sorted(s.name for s in submission.upload.shards.all()) == ["a.jsonl", "b.jsonl"]
    assert "by form" in client.get("/submissions/").text


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"track": "guessing"}, "Select a valid choice"),
        ({"scale": "7b-2x"}, "Select a valid choice"),
        ({"shards": []}, "required"),
        ({"shards": [shard("a b.jsonl")]}, "a file name has only letters"),
        ({"shards": [shard("empty.jsonl", b"")]}, "empty"),
        ({"seed": "-1"}, "greater than or equal to 0"),
    ],
)
def test_a_form_with_a_mistake_changes_nothing(
    as_user, alice, settings, tmp_path, fields, sentence
):
    settings.DATASETS_DIR = tmp_path
    data = FIELDS | {"shards": [shard()]} | fields
    answer = as_user(alice).post("/submissions/new/", data)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert not Submission.objects.exists()
    assert not Upload.objects.exists()
    assert list(tmp_path.iterdir()) == []


def test_account_page_shows_a_token_once(as_user, alice, bob):
    client = as_user(alice)
    fields = {"label": "laptop", "scopes": ["read"], "days": "30"}
    answer = client.post("/account/tokens/", fields)
    secret = re.search(r"crucible_[\w-]{40,}", answer.text)
    assert secret is not None
    assert "no-store" in answer.headers["Cache-Control"]
    assert not any(secret.group() in str(s.get_decoded()) for s in Session.objects.all())
    page = client.get("/account/").text
    assert secret.group() not in page
    assert "<td>read</td>" in page
    token = alice.api_tokens.get()
    as_user(bob).post(f"/account/tokens/{token.id}/revoke/")
    token.refresh_from_db()
    assert token.revoked_at is None
    client.post(f"/account/tokens/{token.id}/revoke/")
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_pages_for_people_need_a_login(client, alice):
    for path in ("/submissions/", "/submissions/new/", "/account/"):
        assert client.get(path).url == f"/login/?next={path}"
    page = client.post("/login/", {"login": "alice", "password": "wrong"})
    assert "username and/or password you specified are not correct" in page.text
    page = client.post(
        "/login/", {"login": "alice", "password": "a long passphrase", "next": "/account/"}
    )
    assert page.url == "/account/"


def test_nothing_is_loaded_from_elsewhere_and_the_browser_is_told_so(client):
    response = client.get("/leaderboard/filtering/smoke/")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', response.text)


def test_every_model_is_in_the_admin_and_its_pages_open(as_user, staff, alice, publish):
    publish(alice)
    client = as_user(staff)
    index = client.get("/admin/").text
    for path in ("accounts/apitoken", "entries/submission", "entries/upload", "entries/shard",
                 "entries/event", "jobs/attempt", "leaderboard/score", "auth/user", "jobs/lane",
                 "budgets/team", "budgets/allowance", "budgets/entry", "notifications/webhook",
                 "notifications/notice", "review/item", "review/scan", "review/holdrule",
                 "review/verdict", "review/appeal"):  # fmt: skip
        assert f"/admin/{path}/" in index
        assert client.get(f"/admin/{path}/").status_code == 200
    submission = Submission.objects.get()
    assert client.get(f"/admin/entries/submission/{submission.id}/change/").status_code == 200
    assert client.post(f"/admin/entries/submission/{submission.id}/delete/").status_code == 403
    assert as_user(alice).get("/admin/").status_code == 302


def test_health_asks_the_database(client):
    assert client.get("/health/").json() == {"ok": True}


def test_an_unknown_page_is_a_page_too(client):
    response = client.get("/nowhere/")
    assert response.status_code == 404
    assert "Not found" in response.text


def test_the_urlconf_has_no_page_that_nobody_thought_of():
    """A new address must come with a test of who may open it, here or in test_api."""
    names = {p.name for p in get_resolver().url_patterns if getattr(p, "name", None)}
    assert names == {
        "home", "docs", "guide", "boards", "leaderboard", "leaderboard_csv", "leaderboard_json",
        "leaderboard_feed", "baseline", "badge", "citation", "submissions",
        "submission_by_reference",
        "store_keys", "store_key_remove",
        "submission_new", "submission", "submission_cancel",
        "transfer", "next_runs", "data", "data_texts", "data_sample", "compare_data",
        "compare", "log", "account", "token_create", "token_revoke", "health", "invitation",
        "pipeline_health", "metrics", "budget", "mail", "webhook_create", "webhook_remove",
        "submission_retry", "submission_contamination", "findings", "appeal",
    }  # fmt: skip


def test_the_form_says_what_each_scale_costs(as_user, alice, settings):
    settings.CRUCIBLE_SCALES = ["smoke", "7b-2x"]
    page = as_user(alice).get("/submissions/new/").text
    assert "What a submission costs" in page
    assert "one core" in page  # smoke
    assert "7300 H100-hours" in page
    assert "1.1 TB" in page
