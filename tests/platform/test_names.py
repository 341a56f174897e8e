"""Names and texts that people write: nothing unseen, nothing that breaks a query, no lookalikes."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from crucible.accounts.services import token_create
from crucible.entries.models import Submission
from crucible.intake.services import lookalike_of, submission_hold
from crucible.jobs import pipeline, queue
from crucible.lookalikes import lookalike, skeleton
from submissions.failures import Failure
from submissions.names import checked_name, checked_text, visible

UNSEEN = [
    "\u202e",
    "\u200b",
    "\u2066",
    "\x1b",
    "\x07",
    "\0",
    "\ufeff",
    "\u00ad",
    "\u2028",
    "\u3164",
]
HOSTILE = ["a\0b", "\u202e\x1b[2J", "", "9" * 30, "9" * 5000, "NaN'; --<script>"]  # fmt: skip


@pytest.mark.parametrize("letter", UNSEEN)
def test_what_nobody_sees_is_refused_by_its_code(letter):
    with pytest.raises(Failure, match=f"U\\+{ord(letter):04X}"):
        checked_name(f"Al{letter}ice", "the name", 80)
    assert visible(f"Al{letter}ice") == f"Al<U+{ord(letter):04X}>ice"


@pytest.mark.parametrize("name", ["Zoë", "数据", "دادهها", "v2 (final) – 90 %", "naïve ☕"])
def test_honest_names_stay(name):
    assert checked_name(f" {name} ", "the name", 80) == name == visible(name)


def test_texts_keep_lines_and_joiners():
    text = "first\n\tsecond \u200cجدا"
    assert checked_text(text, "the text", 100) == text == visible(text)
    with pytest.raises(Failure, match="U\\+202E"):
        checked_text("a\u202eb", "the text", 100)


@pytest.mark.parametrize(
    ("one", "other"),
    [("paypal", "раураl"), ("Alice", "A1ice"), ("ALICE", "alice"), ("ａｌｉｃｅ", "alice"),
     ("modern", "rnodern"), ("Model O", "modelO"), ("0pen", "Open")],
)  # fmt: skip
def test_lookalikes_have_one_skeleton(one, other):
    assert skeleton(one) == skeleton(other)


def test_other_names_have_another():
    names = ["alice", "alicia", "bob", "model-1", "model-2", "data", "date"]
    assert len({skeleton(name) for name in names}) == len(names)
    assert lookalike("model-3", names) is None


@pytest.mark.django_db
class TestOnTheSite:
    @pytest.mark.parametrize("letter", ["\u202e", "\u200b", "\x1b", "\0"])
    def test_no_door_takes_an_unseen_name(self, letter, api, alice, make_submission):
        status, answer = api(alice, "POST", "/submissions",
                             {"name": f"a{letter}b", "track": "filtering", "scale": "smoke",
                              "upload": str(make_submission(alice).upload_id)})  # fmt: skip
        assert status in (400, 422)
        assert answer["code"] == "refused"
        with pytest.raises(Failure):
            token_create(user=alice, label=f"a{letter}b")
        with pytest.raises(Failure):
            submission_hold(
                submission_id=make_submission(alice).id, actor=alice, reason=f"a{letter}b"
            )
        with pytest.raises(CommandError):
            call_command("create_user", f"a{letter}b")
        client = Client()
        client.force_login(alice)
        form = {"label": f"a{letter}b", "scopes": ["read"], "days": "1"}
        page = client.post("/account/tokens/", form).text
        assert "nobody can see it" in page or "Null characters are not allowed" in page
        assert not alice.api_tokens.exclude(label="test").filter(label__contains="b").exists()

    def test_a_lookalike_is_told(self, alice, bob, make_submission):
        first = make_submission(alice)
        Submission.objects.filter(id=first.id).update(name="Clean Web")
        assert f"submission {first.id}" in lookalike_of(user=bob, name="C1ean wеb")
        assert lookalike_of(user=bob, name=f"{alice.username.upper()}") == "the user alice"
        assert lookalike_of(user=alice, name="Clean Web") is None

    def test_names_are_isolated(self, alice, make_submission):
        made = make_submission(alice)
        Submission.objects.filter(id=made.id).update(name="\u202eold")
        client = Client()
        client.force_login(alice)
        assert "<h1><bdi>" in client.get(f"/submissions/{made.id}/").content.decode()

    def test_numbers_and_ids_that_are_none(self, api, alice):
        for number in ("0", "-1", "9" * 19, "9" * 40, "9" * 5000, "1e9", "NaN", "%00", "é"):
            for path in (f"/submissions/{number}", f"/submissions/{number}/results",
                         f"/uploads/{number}"):  # fmt: skip
                assert 400 <= api(alice, "GET", path)[0] < 500, path
        base = {"name": "a", "track": "filtering", "scale": "smoke", "upload": "0" * 32}
        for seed in (2**31, 2**63, -1, 10**40, 1.5, "x", True):
            status, _ = api(alice, "POST", "/submissions", base | {"seed": seed})
            assert 400 <= status < 500
        for body in (b'{"name": "\\ud800"}', b'{"seed": NaN}', b'{"seed": 1e999}', b"[" * 9_000,
                     b"\xff", b"null", b'{"scale": "\\u0000"}'):  # fmt: skip
            for path in ("/submissions", "/uploads"):
                assert api(alice, "POST", path, body)[0] < 500, (path, body)

    def test_hostile_forms_and_addresses_break_no_page(self, alice, staff, make_submission):
        made = make_submission(alice)
        forms = {
            "/login/": ["login", "password", "next"],
            "/account/tokens/": ["label", "scopes", "days"],
            "/account/webhooks/": ["url"],
            "/account/mail/": ["wanted"],
            "/submissions/new/": ["name", "track", "scale", "description", "seed"],
            f"/submissions/{made.id}/appeal/": ["text"],
        }
        pages = [
            "/compare/?s={0}&s=1",
            "/leaderboard/{0}/{0}/",
            "/leaderboard/filtering/smoke/?page={0}",
            "/leaderboard/filtering/smoke/?metric={0}",
            f"/submissions/{made.id}/log/{{0}}/",
            "/submissions/{0}/",
            "/admin/entries/submission/{0}/change/",
            "/admin/review/item/{0}/change/",
            "/admin/entries/submission/?q={0}",
            "/admin/entries/submission/?id__exact={0}&o={0}",
            "/admin/auth/user/?q={0}&p={0}",
        ]
        for user in (alice, staff):
            client = Client(raise_request_exception=False)
            client.force_login(user)
            for value in HOSTILE:
                for path, fields in forms.items():
                    answer = client.post(path, dict.fromkeys(fields, value))
                    assert answer.status_code < 500, (path, value)
                for page in pages:
                    address = page.format(quote(value, safe=""))
                    assert client.get(address).status_code < 500, (address, user)

    def test_a_log_shows_what_cannot_be_seen(self, alice, make_submission, backend, monkeypatch):
        made = make_submission(alice)
        pipeline.submission_advance(submission_id=made.id)
        queue.slots_grant("local")
        pipeline.submission_advance(submission_id=made.id)
        monkeypatch.setattr(backend, "logs", lambda key, limit: "fine\n\x1b[2J\u202egnorw")
        client = Client()
        client.force_login(alice)
        page = client.get(f"/submissions/{made.id}/log/validate/").content.decode()
        assert "fine\n&lt;U+001B&gt;[2J&lt;U+202E&gt;gnorw" in page

    def test_more_than_a_scale_can_use_is_refused_before_the_upload(
        self, api, alice, settings, make_submission
    ):
        settings.CRUCIBLE_SCALES = ["smoke"]
        for size, status in ((10**6, 201), (10**12, 400)):
            answer = api(alice, "POST", "/uploads", {"scale": "smoke", "bytes": size})
            assert answer[0] == status
        assert answer[1]["code"] == "dataset_too_large"
        settings.CRUCIBLE_MAX_MULTIPLE = 0
        with pytest.raises(Failure, match="0 are the most"):
            make_submission(alice)
