"""The HTTP API as the `crucible` command uses it, and as somebody hostile would."""

from __future__ import annotations

import hashlib

import pytest
from django.test import Client

from crucible.accounts.models import ApiToken
from crucible.accounts.services import token_create, token_revoke
from crucible.entries.models import Submission
from crucible.intake.uploads import folder_of, shard_receive, upload_create
from submissions.failures import Failure

pytestmark = pytest.mark.django_db
SHARD = b'{"text": "One."}\n'


def put(api, user, upload, name, body=SHARD, **headers):
    return api(user, "PUT", f"/uploads/{upload}/shards/{name}", body, **headers)


@pytest.fixture(autouse=True)
def _datasets(settings, tmp_path):
    settings.DATASETS_DIR = tmp_path / "datasets"


def test_a_token_is_stored_as_a_hash_only_and_dies_when_revoked(alice):
    token, secret = token_create(user=alice, label="laptop")
    stored = {str(value) for value in ApiToken.objects.values().get().values()}
    assert not any(secret in value for value in stored)
    assert token.digest == hashlib.sha256(secret.encode()).hexdigest()
    headers = {"authorization": f"Bearer {secret}"}
    assert Client().get("/api/submissions", headers=headers).status_code == 200
    assert token_revoke(user=alice, token_id=token.id)
    assert Client().get("/api/submissions", headers=headers).status_code == 401


def test_a_token_of_a_closed_account_opens_nothing(alice):
    _, secret = token_create(user=alice, label="laptop")
    alice.is_active = False
    alice.save()
    response = Client().get("/api/submissions", headers={"authorization": f"Bearer {secret}"})
    assert response.status_code == 401


def test_strangers_are_told_what_to_do(api):
    for method, path in (("GET", "/submissions"), ("POST", "/uploads"), ("POST", "/submissions")):
        status, answer = api(None, method, path, {} if method == "POST" else None)
        assert (status, answer["code"]) == (401, "not_authorised")
        assert "CRUCIBLE_TOKEN" in answer["next_step"]


def test_upload_in_pieces_then_submit(api, alice):
    status, upload = api(alice, "POST", "/uploads")
    assert (status, upload["shards"]) == (201, [])
    sha256 = hashlib.sha256(SHARD).hexdigest()
    status, shard = put(api, alice, upload["id"], "a.jsonl", **{"X-Content-SHA256": sha256})
    assert (status, shard) == (200, {"name": "a.jsonl", "bytes": len(SHARD), "sha256": sha256})
    status, again = api(alice, "GET", f"/uploads/{upload['id']}")
    assert [s["sha256"] for s in again["shards"]] == [sha256]
    body = {"name": "mine", "track": "mixing", "scale": "smoke", "upload": upload["id"], "seed": 7}
    status, document = api(alice, "POST", "/submissions", body)
    assert status == 201
    assert (document["state"], document["seed"], document["user"]) == ("submitted", 7, "alice")
    assert document["url"] == f"http://testserver/submissions/{document['id']}/"
    assert [stage["state"] for stage in document["stages"]] == ["waiting"] * 7
    status, refused = api(alice, "POST", "/submissions", body)
    assert (status, refused["code"]) == (400, "refused")
    status, refused = put(api, alice, upload["id"], "late.jsonl")
    assert (status, refused["code"]) == (400, "refused")
    assert Submission.objects.count() == 1


def test_dclms_spelling_of_a_scale_is_understood_and_written_as_ours(api, client, alice, settings):
    settings.CRUCIBLE_SCALES = ["smoke", "cpu-300k"]
    status, upload = api(alice, "POST", "/uploads", {"scale": "CPU-300K"})
    assert status == 201
    assert put(api, alice, upload["id"], "a.jsonl")[0] == 200
    body = {"name": "mine", "track": "mixing", "scale": "CPU-300k", "upload": upload["id"]}
    status, document = api(alice, "POST", "/submissions", body)
    assert (status, document["scale"]) == (201, "cpu-300k")
    status, board = api(None, "GET", "/leaderboard?track=mixing&scale=CPU-300K")
    assert (status, board["scale"]) == (200, "cpu-300k")
    answer = client.get("/leaderboard/mixing/CPU-300k/")
    assert (answer.status_code, answer["Location"]) == (302, "/leaderboard/mixing/cpu-300k/")
    assert client.get("/leaderboard/mixing/1B-1x/").status_code == 404


def test_a_damaged_shard_leaves_nothing(api, alice):
    upload = upload_create(user=alice)
    status, answer = put(api, alice, upload.id, "a.jsonl", **{"X-Content-SHA256": "00" * 32})
    assert status == 400
    assert "send a.jsonl again" in answer["message"]
    assert list(folder_of(upload).iterdir()) == []
    assert not upload.shards.exists()


@pytest.mark.parametrize("name", ["..", ".hidden", "a%2Fb.jsonl", "%2e%2e", "a b.jsonl", "x" * 201])
def test_a_name_that_is_not_a_plain_file_name_writes_nothing(api, alice, name):
    upload = upload_create(user=alice)
    client = Client()
    _, secret = token_create(user=alice, label="test")
    response = client.put(
        f"/api/uploads/{upload.id}/shards/{name}", SHARD, content_type="application/octet-stream",
        headers={"authorization": f"Bearer {secret}"},
    )  # fmt: skip
    assert response.status_code in (400, 404, 405)
    assert list(folder_of(upload).iterdir()) == []


def test_a_dataset_beyond_the_limit_is_cut_off(api, alice, settings):
    settings.CRUCIBLE_MAX_UPLOAD = 2 * len(SHARD)
    upload = upload_create(user=alice)
    assert put(api, alice, upload.id, "a.jsonl")[0] == 200
    assert put(api, alice, upload.id, "a.jsonl")[0] == 200  # the same again replaces, not adds
    assert put(api, alice, upload.id, "b.jsonl", SHARD * 2)[0] == 400
    assert put(api, alice, upload.id, "b.jsonl")[0] == 200


def test_shards_that_arrive_at_once_do_not_exceed_the_limit_together(api, alice, settings):
    settings.CRUCIBLE_MAX_UPLOAD = 2 * len(SHARD)
    upload = upload_create(user=alice)

    def slow_body():
        yield SHARD[:5]
        for name in ("b.jsonl", "c.jsonl"):  # meanwhile, others fill the upload
            assert put(api, alice, upload.id, name)[0] == 200
        yield SHARD[5:]

    with pytest.raises(Failure, match="reduce the dataset"):
        shard_receive(upload=upload, name="a.jsonl", chunks=slow_body(), size=len(SHARD))
    assert {path.name for path in folder_of(upload).iterdir()} == {"b.jsonl", "c.jsonl"}


@pytest.mark.parametrize("body", [SHARD[:-1], SHARD + b"x", b""])
def test_a_shard_of_another_size_than_announced_leaves_nothing(alice, body):
    upload = upload_create(user=alice)
    with pytest.raises(Failure, match="announced with 17 bytes"):
        shard_receive(upload=upload, name="a.jsonl", chunks=[body], size=len(SHARD))
    assert list(folder_of(upload).iterdir()) == []


def test_a_size_beyond_the_limit_is_refused_before_a_byte_is_read(alice, settings):
    upload = upload_create(user=alice)

    def never():
        raise AssertionError("read")
        yield b""

    with pytest.raises(Failure, match="reduce the dataset"):
        shard_receive(upload=upload, name="a.jsonl", chunks=never(), size=10 * 1024**4)


def test_a_body_in_chunks_is_refused(api, alice, client):
    upload = upload_create(user=alice)
    _, secret = token_create(user=alice, label="test")
    answer = client.put(
        f"/api/uploads/{upload.id}/shards/a.jsonl", SHARD, content_type="application/octet-stream",
        headers={"authorization": f"Bearer {secret}"}, CONTENT_LENGTH="",
    )  # fmt: skip
    assert answer.status_code == 400
    assert "with its Content-Length" in answer.json()["message"]
    assert list(folder_of(upload).iterdir()) == []


def test_nobody_reaches_anothers_upload_or_unpublished_submission(
    api, alice, bob, staff, make_submission
):
    upload = upload_create(user=alice)
    assert api(bob, "GET", f"/uploads/{upload.id}")[0] == 404
    assert put(api, bob, upload.id, "a.jsonl")[0] == 404
    submission = make_submission(alice)
    path = f"/submissions/{submission.id}"
    for user in (bob, None):
        assert api(user, "GET", path)[0] == 404
        assert api(user, "GET", f"{path}/results")[0] == 404
    assert api(bob, "POST", f"{path}/cancel")[0] == 404
    assert api(bob, "GET", "/submissions")[1] == {"submissions": []}
    submission.refresh_from_db()
    assert submission.state == "submitted"
    assert api(staff, "GET", path)[0] == 200
    assert api(alice, "POST", f"{path}/cancel")[1]["state"] == "cancelling"


def test_results_and_board_of_a_published_submission_are_public(api, alice, publish):
    submission = publish(alice, name="a good one")
    status, results = api(None, "GET", f"/submissions/{submission.id}/results")
    assert status == 200
    assert results["score"]["smoke"] == 0.125
    assert results["tasks"]["smoke_copy"]["n"] == 50
    assert results["provenance"]["code_commit"] == "c0ffee"
    status, board = api(None, "GET", "/leaderboard?track=filtering&scale=smoke")
    (row,) = board["rows"]
    assert (row["rank"], row["name"], row["score"], row["core"]) == (1, "a good one", 0.125, None)
    assert api(None, "GET", "/leaderboard?track=mixing&scale=smoke")[1]["rows"] == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("track=x&scale=smoke", 400),
        ("track=mixing&scale=x", 400),
        ("track=mixing&scale=7b-1x", 404),
    ],
)
def test_boards_that_do_not_exist(api, db, query, status):
    assert api(None, "GET", f"/leaderboard?{query}")[0] == status


def test_a_request_of_the_wrong_shape_gets_a_sentence(api, alice):
    status, answer = api(alice, "POST", "/submissions", {"name": "x"})
    assert (status, answer["code"]) == (422, "refused")
    assert "track" in answer["message"]
