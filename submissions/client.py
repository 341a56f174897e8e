"""The HTTP API of a Crucible server, as Python calls: uploads, submissions, results.

Every error, in the connection or at the server, becomes a `Failure` with one sentence.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
import requests
from urllib3.exceptions import NewConnectionError

from submissions.codec import MisfitError, convert_or_misfit
from submissions.failures import FAILURES, Failure

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each further attempt
TIMEOUT = (10.0, 300.0)  # seconds to connect, and to wait for an answer (a server hashes a shard)
LONGEST_PAUSE = 60.0  # seconds, whatever a server asks for
BUSY = (429, 502, 503, 504)  # statuses after which the same request may succeed
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Document = dict[str, Any]


class _Token(requests.auth.AuthBase):
    """Sets the token itself, so that a line in ~/.netrc cannot replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _CountedFile:
    """A file's content as a request's body of known length that tells how far it was read."""

    def __init__(self, path: Path, tell: Callable[[int], None]) -> None:
        self._file = path.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size
        self._tell = tell

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._tell(self._file.tell())
        return data

    def close(self) -> None:
        self._file.close()


class Client:
    """One server, as one user. `pauses` are the seconds between attempts."""

    def __init__(self, server: str, token: str, pauses: Sequence[float] = PAUSES) -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Failure("server_unreachable", f"{server} is not an address such as https://host")
        self._server = server.rstrip("/")
        self._pauses = pauses
        self._session = requests.Session()
        self._session.auth = _Token(token)
        # A proxy for the outside world must not get requests to this machine.
        self._session.trust_env = parts.hostname not in LOOPBACK

    def create_upload(self, scale: str, size: int) -> Document:
        """A new, empty upload for so many bytes at this scale: {"id", "shards": []}."""
        return self._ask("POST", "/api/uploads", json={"scale": scale, "bytes": size})

    def upload(self, upload: str) -> Document:
        """What has arrived of an upload: {"id", "shards": [{"name", "bytes", "sha256"}]}."""
        return self._ask("GET", f"/api/uploads/{quote(upload, safe='')}")

    def put_shard(
        self, upload: str, name: str, path: Path, sha256: str, tell: Callable[[int], None]
    ) -> Document:
        """Streams one file up; the server refuses it when it arrives with another hash."""
        where = f"/api/uploads/{quote(upload, safe='')}/shards/{quote(name, safe='')}"
        return self._ask("PUT", where, file=path, sha256=sha256, tell=tell)

    def create_submission(self, **fields: Any) -> Document:
        """Submits an upload; fields: name, track, scale, description, upload and perhaps seed."""
        return self._ask("POST", "/api/submissions", json=fields)

    def submission(self, submission: str) -> Document:
        """The submission document."""
        return self._ask("GET", f"/api/submissions/{quote(submission, safe='')}")

    def my_submissions(self) -> Document:
        """{"submissions": [...]} of the token's user."""
        return self._ask("GET", "/api/submissions?mine=1")

    def cancel(self, submission: str) -> Document:
        """Cancels; the submission document afterwards."""
        return self._ask("POST", f"/api/submissions/{quote(submission, safe='')}/cancel")

    def results(self, submission: str) -> Document:
        """{"id", "state", "score", "tasks", "provenance", "scan"}."""
        return self._ask("GET", f"/api/submissions/{quote(submission, safe='')}/results")

    def leaderboard(self, track: str, scale: str) -> Document:
        """{"track", "scale", "metric_version", "rows": [...]}."""
        return self._ask(
            "GET", f"/api/leaderboard?track={quote(track, safe='')}&scale={quote(scale, safe='')}"
        )

    def _ask(
        self,
        method: str,
        where: str,
        *,
        json: Any = None,
        file: Path | None = None,
        sha256: str = "",
        tell: Callable[[int], None] = lambda _: None,
    ) -> Document:
        """One request, sent again while that is safe and may help."""
        for pause in (*self._pauses, None):
            body = _CountedFile(file, tell) if file else None
            headers = {"Accept": "application/json"}
            if body:
                headers |= {"X-Content-SHA256": sha256, "Content-Type": "application/octet-stream"}
            asked = 0.0
            try:
                answer = self._session.request(
                    method,
                    self._server + where,
                    json=json,
                    data=body,
                    headers=headers,
                    timeout=TIMEOUT,
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                if pause is None or not _may_repeat(method, error):
                    raise self._unreachable(error) from None
            else:
                if pause is None or answer.status_code not in BUSY:
                    return self._document(answer)
                asked = _asked_pause(answer)
            finally:
                if body:
                    body.close()
            time.sleep(max(pause, asked))
        raise AssertionError("the last attempt returns or raises")

    def _unreachable(self, error: Exception) -> Failure:
        reason = (
            "no answer in time"
            if isinstance(error, requests.Timeout)
            else ("the connection failed")
        )
        return Failure("server_unreachable", f"cannot reach {self._server}: {reason}")

    def _document(self, answer: requests.Response) -> Document:
        """The answer's JSON object, or the failure that it reports."""
        try:
            document = answer.json()
        except requests.JSONDecodeError:
            document = None
        known = isinstance(document, dict)
        if answer.ok and not answer.is_redirect and known:
            return document  # type: ignore[no-any-return]
        status = answer.status_code
        refusal = _refusal_in(document)
        if refusal.code in FAILURES:
            failure = Failure(
                refusal.code,
                refusal.message or "no reason given",
                shard=refusal.shard,
                line=refusal.line,
            )
            failure.next_step = refusal.next_step or failure.next_step
            raise failure
        if answer.is_redirect:
            said = f"{self._server} redirects to {answer.headers['Location']}: give that address"
            raise Failure("server_unreachable", said)
        if status in (401, 403):
            raise Failure("not_authorised", f"{self._server} does not accept the token")
        if status == 404 and known:
            raise Failure("not_found", "the server has no such object")
        if 400 <= status < 500 and known:
            raise Failure("refused", refusal.message or f"status {status}")
        said = f"{self._server} gives no answer of Crucible's (status {status})"
        raise Failure("server_unreachable", said)


def _asked_pause(answer: requests.Response) -> float:
    """Seconds that a server asks to wait before the next attempt, at most `LONGEST_PAUSE`."""
    asked = answer.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_PAUSE) if asked.isascii() and asked.isdecimal() else 0.0


class _Refusal(msgspec.Struct):
    """A server's answer to a request that it refuses."""

    code: str = ""
    message: str | None = None
    shard: str | None = None
    line: int | None = None
    next_step: str | None = None


def _refusal_in(document: Any) -> _Refusal:
    """The refusal in an answer; an empty one if the answer is not Crucible's."""
    try:
        return convert_or_misfit(_Refusal, document)
    except MisfitError:
        return _Refusal()


def _may_repeat(method: str, error: requests.RequestException) -> bool:
    """Whether a request can be sent again without doing its work twice."""
    if not isinstance(error, (requests.ConnectionError, requests.Timeout)):
        return False
    if method != "POST" or isinstance(error, requests.ConnectTimeout):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)  # refused: the server has seen nothing
