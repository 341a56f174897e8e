"""Endpoints: uploads, submissions, the leaderboard. Thin: each calls one service or selector."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from ninja import Field, NinjaAPI, Schema
from ninja.errors import AuthenticationError, ValidationError
from pydantic import AfterValidator

from crucible.accounts import bearers
from crucible.accounts.requests import TokenRequest
from crucible.api.documents import submission_document, submission_documents
from crucible.api.tokens import PUBLIC, READ, SUBMIT
from crucible.boards.texts import board_document
from crucible.entries.models import Shard, Upload
from crucible.entries.selectors import may_look_inside, submission_get
from crucible.intake import services, uploads
from crucible.intake.transfers import transfers
from crucible.leaderboard.selectors import score_document
from crucible.review.selectors import scan_document
from evaluation.metrics import DEFAULT_METRIC_VERSION
from submissions.check import check_track
from submissions.failures import Failure
from training_recipes.scales import load_scale

CHUNK = 1 << 20
MOST_INTEGER = 2**63 - 1  # that the database stores
STATUS_OF = {"not_found": 404, "busy": 429} | bearers.STATUS_OF


api = NinjaAPI(
    title="Crucible",
    version="1",
    urls_namespace="api",
    auth=READ,  # where a route forgets to ask: it cannot change anything with that
    description="Submit datasets, follow submissions, read the leaderboard.",
)


@api.exception_handler(Failure)
def on_failure(request: HttpRequest, failure: Failure) -> HttpResponse:
    """A failure as JSON; its code or its fault decides the status."""
    by_fault = 400 if failure.fault == "participant" else 500
    status = STATUS_OF.get(failure.code, by_fault)
    response = api.create_response(request, failure.as_dict(), status=status)
    if status == 429:
        response["Retry-After"] = "60"
    return response


@api.exception_handler(ValidationError)
def on_invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """A malformed request, as a failure like all others."""
    first = error.errors[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    failure = Failure("refused", f"{where}: {first['msg']}")
    return api.create_response(request, failure.as_dict(), status=422)


@api.exception_handler(AuthenticationError)
def on_unauthenticated(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    """No token; what is wrong with one that is there, `bearer_user` says."""
    failure = Failure("not_authorised", "this needs an API token")
    return api.create_response(request, failure.as_dict(), status=401)


def _storable(text: str) -> str:
    """Refuses what the database cannot store."""
    if "\0" in text or (not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)):
        raise ValueError("holds a NUL character or half of a surrogate pair")
    return text


Text = Annotated[str, AfterValidator(_storable)]


class ShardOut(Schema):
    """A received shard."""

    name: str
    bytes: int
    sha256: str


class UploadOut(Schema):
    """An upload and what it holds so far."""

    id: UUID
    shards: list[ShardOut]


class UploadIn(Schema):
    """The scale of the dataset and its size: what is refused is refused before its upload."""

    scale: Text | None = None
    bytes: Annotated[int, Field(ge=0, le=MOST_INTEGER)] = 0


class SubmissionIn(Schema):
    """What `crucible submit` sends when its shards have arrived."""

    name: Text
    track: Text
    scale: Text
    upload: UUID
    description: Text = ""
    seed: int | None = Field(None, ge=0, lt=2**31)
    store_key: Text = ""


def _shown(request: HttpRequest, document: dict[str, Any]) -> dict[str, Any]:
    """The document with the full address of its page."""
    return document | {"url": _site(request) + document["url"]}


def _site(request: HttpRequest) -> str:
    return f"{request.scheme}://{request.get_host()}"


def _upload_out(upload: Upload) -> dict[str, Any]:
    return {"id": upload.id, "shards": list(upload.shards.all())}


@api.post("/uploads", response={201: UploadOut}, auth=SUBMIT)
def upload_create(
    request: TokenRequest, body: UploadIn | None = None
) -> tuple[int, dict[str, Any]]:
    """Opens an upload; with a scale, only if a submission there would be accepted now."""
    body = body or UploadIn()
    upload = uploads.upload_create(user=request.auth, scale=body.scale, size=body.bytes)
    return 201, _upload_out(upload)


@api.get("/uploads/{upload_id}", response=UploadOut, auth=SUBMIT)
def upload_get(request: TokenRequest, upload_id: UUID) -> dict[str, Any]:
    """The shards that have arrived, so that a client can resume a broken upload."""
    user = request.auth
    return _upload_out(uploads.upload_get(user=user, upload_id=upload_id))


@api.put("/uploads/{upload_id}/shards/{name}", response=ShardOut, auth=SUBMIT)
def shard_put(request: TokenRequest, upload_id: UUID, name: str) -> Shard:
    """Receives a shard as the raw body of `Content-Length`; checks `X-Content-SHA256` if given."""
    upload = uploads.upload_get(user=request.auth, upload_id=upload_id)
    length = request.headers.get("Content-Length", "")
    if not length.isdecimal():  # Django reads no body that comes in chunks
        raise Failure("refused", f"send {name} with its Content-Length, not in chunks")
    with transfers.one(request.auth, int(length)):
        return uploads.shard_receive(
            upload=upload,
            name=name,
            chunks=_body(request),
            size=int(length),
            sha256=request.headers.get("X-Content-SHA256"),
        )


@api.api_operation(["DELETE"], "/uploads/{upload_id}", response=dict, auth=SUBMIT)
def upload_delete(request: TokenRequest, upload_id: UUID) -> dict[str, Any]:
    """Removes an upload that no submission uses."""
    uploads.upload_remove(user=request.auth, upload_id=upload_id)
    return {"removed": upload_id}


def _body(request: HttpRequest) -> Iterator[bytes]:
    """The body in pieces, never whole in memory; it ends early where the client breaks off."""
    with contextlib.suppress(UnreadablePostError):
        while chunk := request.read(CHUNK):
            yield chunk


@api.post("/submissions", response={201: dict}, auth=SUBMIT)
def submission_create(request: TokenRequest, body: SubmissionIn) -> tuple[int, dict[str, Any]]:
    """Submits an upload."""
    fields = body.dict()
    upload_id = fields.pop("upload")
    submission = services.submission_create(
        user=request.auth,
        upload_id=upload_id,
        **fields,
    )
    like = services.lookalike_of(user=request.auth, name=submission.name)
    warnings = [f"the name looks like {like}: readers may confuse them"] if like else []
    return 201, _shown(request, submission_document(submission)) | {"warnings": warnings}


@api.get("/submissions", response=dict, auth=READ)
def submission_list(request: TokenRequest, mine: bool = True) -> dict[str, Any]:
    """The user's own submissions, the newest first; with `mine=0` all that the user may see."""
    found = submission_documents(request.auth, mine)
    return {"submissions": [_shown(request, document) for document in found]}


@api.get("/submissions/{submission_id}", response=dict, auth=PUBLIC)
def submission_show(request: TokenRequest, submission_id: int) -> dict[str, Any]:
    """A submission with its stages."""
    user = request.auth
    submission = submission_get(user=user, submission_id=submission_id)
    return _shown(request, submission_document(submission))


@api.post("/submissions/{submission_id}/cancel", response=dict, auth=SUBMIT)
def submission_cancel(request: TokenRequest, submission_id: int) -> dict[str, Any]:
    """Cancels a submission."""
    submission = services.submission_cancel(submission_id=submission_id, actor=request.auth)
    return _shown(request, submission_document(submission))


@api.post("/submissions/{submission_id}/retry", response=dict, auth=SUBMIT)
def submission_retry(request: TokenRequest, submission_id: int) -> dict[str, Any]:
    """Continues a submission from the stage in which the platform failed."""
    submission = services.submission_retry(submission_id=submission_id, actor=request.auth)
    return _shown(request, submission_document(submission))


@api.get("/submissions/{submission_id}/results", response=dict, auth=PUBLIC)
def submission_results(request: TokenRequest, submission_id: int) -> dict[str, Any]:
    """Score, tasks, provenance and scan; null where there is none yet."""
    user = request.auth
    submission = submission_get(user=user, submission_id=submission_id)
    score = submission.scores.filter(metric_version=DEFAULT_METRIC_VERSION).first()
    scan = scan_document(submission, inside=may_look_inside(user, submission))
    state = {"id": submission.id, "state": submission.state, "scan": scan}
    return state | score_document(score)


@api.get("/leaderboard", response=dict, auth=PUBLIC)
def leaderboard(request: HttpRequest, track: str, scale: str) -> HttpResponse:
    """One board, in the order and with the ranks of the page."""
    check_track(track)
    scale = load_scale(scale).name
    if scale not in settings.CRUCIBLE_SCALES:
        raise Failure("not_found", f"this site has no board for {scale}")
    text = board_document(track, scale)
    # Cached without scheme and host, which the request gives. A quote in a JSON string is escaped.
    text = text.replace('"url": "/', f'"url": "{_site(request)}/')
    return HttpResponse(text, content_type=api.get_content_type())
