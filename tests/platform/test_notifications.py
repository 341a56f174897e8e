"""Mail and webhooks: written with the move, signed, tried again, and sent to no inner address."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import socket
import threading
from collections import Counter
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from crucible.entries.models import Submission
from crucible.intake.services import submission_cancel
from crucible.jobs.backends.base import JobState, JobStatus
from crucible.notifications import sender
from crucible.notifications.models import Notice, Webhook
from crucible.notifications.post import Unreachable, may_be_reached, post
from crucible.notifications.sender import Outbox, send_forever
from crucible.notifications.services import mail_choose, webhook_create, webhook_key
from submissions.failures import Failure
from tests.platform.steps import advance, deliver

pytestmark = pytest.mark.django_db


class Receiver(BaseHTTPRequestHandler):
    """Answers as the server says and keeps what came."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, dict(self.headers), body))
        self.send_response(self.server.answer)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def receiver(settings):
    settings.CRUCIBLE_WEBHOOK_NETWORKS = ["127.0.0.0/8"]
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    server.answer, server.received = 204, []
    server.url = f"http://127.0.0.1:{server.server_port}/hook?a=1"
    thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def later(**delta):
    Notice.objects.update(due_at=timezone.now() - timedelta(seconds=1), **delta)


def test_every_move_reaches_the_webhook_signed(alice, bob, publish, receiver):
    hook = webhook_create(user=alice, url=receiver.url)
    webhook_create(user=bob, url=receiver.url)
    submission = publish(alice, name="mine")
    assert deliver() == 7
    assert deliver() == 0
    told = [json.loads(body) for _, _, body in receiver.received]
    assert {one["to"] for one in told} == {
        "validating", "tokenizing", "training", "evaluating", "scoring", "reviewing", "published",
    }  # fmt: skip
    assert {one["submission"] for one in told} == {submission.id}
    path, headers, body = receiver.received[0]
    assert path == "/hook?a=1"
    moment, signed = (part.split("=")[1] for part in headers["X-Crucible-Signature"].split(","))
    expected = hmac.new(webhook_key(hook).encode(), f"{moment}.".encode() + body, hashlib.sha256)
    assert signed == expected.hexdigest()
    assert headers["X-Crucible-Delivery"] == json.loads(body)["id"]
    assert webhook_key(hook) != webhook_key(Webhook.objects.get(user=bob))


def test_what_fails_is_tried_again_with_growing_pauses_and_then_given_up(
    alice, make_submission, backend, receiver
):
    webhook_create(user=alice, url=receiver.url)
    advance(make_submission(alice), 1)
    receiver.answer = 302  # a redirect is not followed
    pauses = []
    for tries in range(1, 8):
        assert deliver() == 0
        notice = Notice.objects.get()
        assert (notice.tries, notice.last_error) == (tries, "the answer was 302")
        pauses.append(round((notice.due_at - timezone.now()).total_seconds()))
        later()
    assert pauses[:6] == pytest.approx([10, 60, 300, 1800, 7200, 43200], abs=2)
    assert Notice.objects.get().state == "given up"
    assert deliver() == 0
    assert {path for path, _, _ in receiver.received} == {"/hook?a=1"}


def test_it_arrives_once_the_receiver_is_back(alice, make_submission, backend, receiver):
    webhook_create(user=alice, url=receiver.url)
    advance(make_submission(alice), 1)
    receiver.answer = 500
    deliver()
    assert deliver() == 0  # not before its pause is over
    receiver.answer = 200
    later()
    assert deliver() == 1
    notice = Notice.objects.get()
    assert (notice.state, notice.tries, notice.last_error) == ("sent", 2, "")


def test_a_removed_webhook_hears_nothing_more(alice, make_submission, backend, receiver):
    client = Client()
    client.force_login(alice)
    client.post("/account/webhooks/", {"url": receiver.url})
    hook = Webhook.objects.get()
    page = client.get("/account/").text
    assert webhook_key(hook) in page
    assert webhook_key(hook) not in client.get("/account/").text  # shown once
    advance(make_submission(alice), 1)
    assert "waiting" in client.get("/account/").text
    client.post(f"/account/webhooks/{hook.id}/remove/")
    later()
    assert deliver() == 0
    assert receiver.received == []
    assert receiver.url not in client.get("/account/").text


def test_nobody_removes_anothers_webhook(alice, bob):
    hook = webhook_create(user=alice, url="https://example.org/")
    client = Client()
    client.force_login(bob)
    client.post(f"/account/webhooks/{hook.id}/remove/")
    hook.refresh_from_db()
    assert hook.removed_at is None


@pytest.mark.parametrize(
    "url", ["ftp://example.org/", "https://", "file:///etc/passwd", "https://u:p@example.org/",
            "https://example.org:99999/", "javascript:alert(1)", "http://example.org/",
            "https://example.org/\u00e9", "https://example.org/a b", "https://example.org/\n"],
)  # fmt: skip
def test_what_is_no_address_is_refused(alice, url):
    with pytest.raises(Failure):
        webhook_create(user=alice, url=url)


def test_a_user_has_a_few_webhooks(alice):
    for number in range(5):
        webhook_create(user=alice, url=f"https://example.org/{number}")
    with pytest.raises(Failure, match="remove a webhook first"):
        webhook_create(user=alice, url="https://example.org/6")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "0.0.0.0", "224.0.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1",
     "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001::1",
     "192.0.0.9", "192.88.99.1", "192.175.48.1", "3fff::1", "5f00::1", "fec0::1",
     "2620:4f:8000::1"],
)  # fmt: skip
def test_inner_addresses_are_not_reached(address, settings):
    assert not may_be_reached(ipaddress.ip_address(address))
    settings.CRUCIBLE_WEBHOOK_NETWORKS = ["10.0.0.0/8"]
    assert may_be_reached(ipaddress.ip_address("10.0.0.1"))
    assert may_be_reached(ipaddress.ip_address("8.8.8.8"))
    assert may_be_reached(ipaddress.ip_address("2606:4700::1"))


def test_a_name_that_leads_inside_is_refused_before_any_connection(monkeypatch):
    def resolve(host, port, **options):
        return [(2, 1, 6, "", ("8.8.8.8", port)), (2, 1, 6, "", ("10.0.0.7", port))]

    def connect(*arguments, **options):
        raise AssertionError("connected")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    for url in ("https://rebind.example.org/", "https://[::1]/", "http://127.0.0.1/"):
        with pytest.raises(Unreachable, match="not public"):
            post(url, b"{}", {})


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch):
    asked = []

    def resolve(host, port, **options):
        asked.append(host)
        return [(2, 1, 6, "", ("8.8.8.8", port))]

    def connect(address, **options):
        asked.append(address)
        raise OSError("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(Unreachable, match="no answer"):
        post("https://example.org/hook", b"{}", {})
    assert asked == ["example.org", ("8.8.8.8", 443)]
    with pytest.raises(Unreachable, match="only https"):
        post("http://example.org/hook", b"{}", {})


def test_a_peer_that_never_finishes_its_answer_is_cut_off(settings, monkeypatch):
    monkeypatch.setattr("crucible.notifications.post.DEADLINE", 0.3)
    settings.CRUCIBLE_WEBHOOK_NETWORKS = ["127.0.0.0/8"]
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(Unreachable, match="no answer"),
    ):
        post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {})


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1/\u00e9", "https://127.0.0.1:99999/", "https://[/", "https://127.0.0.1/ x"],
)  # fmt: skip
def test_an_address_that_cannot_be_requested_is_one_receivers_trouble(
    url, alice, bob, make_submission, backend, receiver, monkeypatch
):
    monkeypatch.setattr("crucible.notifications.post._connect", lambda *_: socket.socket())
    Webhook.objects.create(user=alice, url=url)  # as older versions took it
    webhook_create(user=bob, url="https://example.org/")
    reached = []
    real = sender.post
    monkeypatch.setattr(
        sender, "post", lambda url, *rest: reached.append(url) if "org" in url else real(url, *rest)
    )
    for user in (alice, bob):
        advance(make_submission(user), 1)
    assert deliver() == 1
    assert reached == ["https://example.org/"]
    assert Notice.objects.get(sent_at=None).last_error == "the address is not valid"


def test_an_unforeseen_error_is_one_receivers_trouble(
    alice, bob, make_submission, backend, monkeypatch
):
    def fails(url, *rest):
        if "bad" in url:
            raise RuntimeError("unforeseen")

    monkeypatch.setattr(sender, "post", fails)
    webhook_create(user=alice, url="https://bad.example.org/")
    webhook_create(user=bob, url="https://example.org/")
    for user in (alice, bob):
        advance(make_submission(user), 1)
    assert deliver() == 1
    assert Notice.objects.get(sent_at=None).last_error == "unforeseen"


@pytest.fixture
def slow(monkeypatch):
    """Hosts with this name answer when the test ends; the others at once."""
    answer, asked = threading.Event(), Counter()

    def post(url, *rest):
        asked[url] += 1
        if "slow" in url:
            answer.wait(30)

    monkeypatch.setattr(sender, "post", post)
    yield asked
    answer.set()


def test_slow_hosts_of_one_user_delay_nobody_else(
    alice, bob, make_submission, publish, backend, slow
):
    for number in range(5):
        webhook_create(user=alice, url=f"https://slow{number}.example.org/")
    webhook_create(user=bob, url="https://example.org/")
    publish(alice)
    publish(bob)
    outbox = Outbox()
    while Notice.objects.filter(event__submission__user=bob, sent_at=None).exists():
        outbox.advance()
    assert slow["https://example.org/"] == 7
    assert sum(count for url, count in slow.items() if "slow" in url) == sender.PER_USER
    assert not Notice.objects.filter(event__submission__user=alice).exclude(sent_at=None).exists()
    assert not outbox.idle


def test_one_host_holds_few_deliveries_whoever_asks_for_them(
    django_user_model, make_submission, backend, slow
):
    for number in range(6):
        user = django_user_model.objects.create_user(f"user{number}")
        webhook_create(user=user, url=f"https://slow.example.org/{number}")
        webhook_create(user=user, url=f"https://example.org/{number}")
        advance(make_submission(user), 1)
    outbox = Outbox()
    while Notice.objects.filter(webhook__url__contains="//example", sent_at=None).exists():
        outbox.advance()
    assert sum(count for url, count in slow.items() if "slow" in url) == sender.PER_HOST


def test_no_error_ends_the_sender(monkeypatch):
    passes, beats = [], []

    def advance(self):
        passes.append(1)
        if len(passes) == 1:
            raise RuntimeError("unforeseen")
        return 1

    monkeypatch.setattr(Outbox, "advance", advance)
    monkeypatch.setattr(sender, "PERIOD", 0.01)
    send_forever(lambda: len(passes) >= 3, beats.append)
    assert len(passes) == 3
    assert len(beats) == 1


@pytest.fixture
def mailing(settings, alice):
    settings.EMAIL_HOST = "mail.example.org"
    alice.email = "alice@example.org"
    alice.save()


def fail(submission, backend):
    failure = Failure("dataset_too_small", "only 5 tokens").as_dict()
    backend.outcome = lambda key: JobStatus(JobState.FAILED, {}, failure)
    advance(submission)


def test_a_mail_says_how_it_ended_and_what_to_do(mailing, alice, make_submission, backend):
    submission = make_submission(alice, name="mine")
    # As a release stored it that did not refuse unseen characters.
    Submission.objects.filter(id=submission.id).update(name="mine\nBcc: x@example.org")
    fail(submission, backend)
    assert deliver() == 1
    (letter,) = mail.outbox
    assert letter.to == ["alice@example.org"]
    assert letter.subject == "mine Bcc: x@example.org: failed"
    assert "only 5 tokens" in letter.body
    assert "choose a smaller scale" in letter.body
    assert f"http://127.0.0.1:8000/submissions/{submission.id}/" in letter.body


def test_no_mail_about_what_one_did_oneself_or_to_whom_wants_none(
    mailing, alice, staff, make_submission, backend
):
    client = Client()
    client.force_login(alice)
    assert "alice@example.org" in client.get("/account/").text
    client.post("/account/mail/", {"wanted": "no"})
    fail(make_submission(alice), backend)
    deliver()
    assert mail.outbox == []
    mail_choose(user=alice, wanted=True)
    for actor in (alice, staff):
        submission = make_submission(alice)
        submission_cancel(submission_id=submission.id, actor=actor)
        advance(submission)
    deliver()
    assert [letter.subject for letter in mail.outbox] == ["a dataset: cancelled"]


def test_without_a_mail_server_none_is_put_into_the_outbox(alice, make_submission, backend):
    alice.email = "alice@example.org"
    alice.save()
    fail(make_submission(alice), backend)
    assert not Notice.objects.exists()
