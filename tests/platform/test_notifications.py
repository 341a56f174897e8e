"""Mail and webhooks: written with the move, signed, tried again, and sent to no inner address."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import socket
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from crucible.intake.services import submission_cancel
from crucible.jobs.backends.base import JobState, JobStatus
from crucible.notifications.models import Notice, Webhook
from crucible.notifications.post import Unreachable, may_be_reached, post
from crucible.notifications.sender import outbox_send_once
from crucible.notifications.services import mail_choose, webhook_create, webhook_key
from submissions.failures import Failure
from tests.platform.steps import advance

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
    assert outbox_send_once() == 7
    assert outbox_send_once() == 0
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
        assert outbox_send_once() == 0
        notice = Notice.objects.get()
        assert (notice.tries, notice.last_error) == (tries, "the answer was 302")
        pauses.append(round((notice.due_at - timezone.now()).total_seconds()))
        later()
    assert pauses[:6] == pytest.approx([10, 60, 300, 1800, 7200, 43200], abs=2)
    assert Notice.objects.get().state == "given up"
    assert outbox_send_once() == 0
    assert {path for path, _, _ in receiver.received} == {"/hook?a=1"}


def test_it_arrives_once_the_receiver_is_back(alice, make_submission, backend, receiver):
    webhook_create(user=alice, url=receiver.url)
    advance(make_submission(alice), 1)
    receiver.answer = 500
    outbox_send_once()
    assert outbox_send_once() == 0  # not before its pause is over
    receiver.answer = 200
    later()
    assert outbox_send_once() == 1
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
    assert outbox_send_once() == 0
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
            "https://example.org:99999/", "javascript:alert(1)"],
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
     "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001::1"],
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
    submission = make_submission(alice, name="mine\nBcc: x@example.org")
    fail(submission, backend)
    assert outbox_send_once() == 1
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
    outbox_send_once()
    assert mail.outbox == []
    mail_choose(user=alice, wanted=True)
    for actor in (alice, staff):
        submission = make_submission(alice)
        submission_cancel(submission_id=submission.id, actor=actor)
        advance(submission)
    outbox_send_once()
    assert [letter.subject for letter in mail.outbox] == ["a dataset: cancelled"]


def test_without_a_mail_server_none_is_put_into_the_outbox(alice, make_submission, backend):
    alice.email = "alice@example.org"
    alice.save()
    fail(make_submission(alice), backend)
    assert not Notice.objects.exists()
