"""Takes datasets by reference: a manifest is all that comes to the site."""

from __future__ import annotations

import datetime
import re
import time
from urllib.parse import parse_qs, urlsplit

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from crucible.entries.models import Submission, Upload
from crucible.intake.models import Reference, StoreKey
from crucible.intake.places import folder_of
from crucible.intake.sealing import seal, unseal
from crucible.intake.store_rules import access_check, access_of, stores_open
from crucible.roles.permissions import Permission, require
from submissions.codec import decode, encode
from submissions.failures import Failure
from submissions.manifest import MANIFEST, Manifest, endpoint_of, read_manifest
from submissions.mixture import MIXTURE
from submissions.store_access import StoreAccess, StoreCredentials
from submissions.stores import TOLERATED, belongs

MOST_KEYS = 10  # of one user
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}")


def reference_of(submission: Submission) -> Reference | None:
    """What the submission's upload refers to; None for shards that were uploaded."""
    return Reference.objects.filter(upload=submission.upload_id).first()


def reference_create(*, upload: Upload, store_key: str) -> Reference | None:
    """Looks at the manifest in an upload, if there is one, before anything is spent on it.

    Raises `manifest_invalid` and whatever else is wrong with the manifest, `store_refused` where
    the site may not read what it names, and `refused` for other files beside it.
    """
    if not upload.shards.filter(name=MANIFEST).exists():
        if store_key:
            raise Failure("refused", f"leave the store key out: the upload holds no {MANIFEST}")
        return None
    others = upload.shards.exclude(name__in=(MANIFEST, MIXTURE)).values_list("name", flat=True)
    if others:
        said = f"remove {others[0]}: beside a manifest there may be a {MIXTURE} and no shard"
        raise Failure("refused", said)
    manifest = read_manifest(folder_of(upload) / MANIFEST)
    head = manifest.head
    if store_key:
        key = StoreKey.objects.filter(user=upload.user, name=store_key).first()
        if key is None:
            raise Failure("store_refused", f"you have no store key called {store_key}")
        if key.endpoint != head.endpoint:
            said = f"the store key {store_key} is of {key.endpoint}, the manifest of "
            raise Failure("store_refused", said + (head.endpoint or "a folder"))
    access_check(head, upload.user.get_username(), bool(store_key))
    if manifest.presigned:
        _check_presigned(manifest)
    return Reference.objects.create(
        upload=upload, key_name=store_key, base=head.base, endpoint=head.endpoint,
        shards=head.shards, bytes=head.bytes,
    )  # fmt: skip


def access_for(submission: Submission) -> StoreAccess | None:
    """What a job of the submission may read, keys opened; None if nothing is read by reference.

    Raises `store_refused` when its store key was removed.
    """
    reference = reference_of(submission)
    if reference is None:
        return None
    credentials = None
    if reference.key_name:
        key = StoreKey.objects.filter(user=submission.user, name=reference.key_name).first()
        if key is None or key.endpoint != reference.endpoint:
            said = f"the store key {reference.key_name} was removed"
            raise Failure("store_refused", said)
        pair = unseal(bytes(key.sealed), _belongs_to(key.user_id, key.endpoint))
        credentials = decode(StoreCredentials, pair, code="store_refused", where="the store key")
    username = submission.user.get_username()
    return access_of(reference.base, reference.endpoint, username, credentials)


@transaction.atomic
def store_key_create(
    *, user: User, name: str, endpoint: str, access_key_id: str, secret_access_key: str
) -> StoreKey:
    """Stores a key of an allowed store, sealed.

    Raises `refused`, `store_refused`, and `not_permitted` for who is no participant.
    """
    require(user, Permission.SUBMIT)
    name, access_key_id = name.strip(), access_key_id.strip()
    secret_access_key, at = secret_access_key.strip(), endpoint_of(endpoint.strip())
    if not NAME.fullmatch(name):
        raise Failure("refused", "a store key's name has 1 to 40 letters, digits, spaces or . _ -")
    if at not in stores_open():
        said = f"this site reads from {', '.join(stores_open()) or 'no store'}"
        raise Failure("store_refused", said)
    if not (access_key_id.isprintable() and secret_access_key.isprintable()) or not (
        0 < len(access_key_id) <= 256 and 0 < len(secret_access_key) <= 1024
    ):
        raise Failure("refused", "give the key's id and its secret, as the store shows them")
    User.objects.select_for_update().get(pk=user.pk)  # so that two requests count in turn
    if StoreKey.objects.filter(user=user, name=name).exists():
        raise Failure("refused", f"you have a store key called {name}: remove it first")
    if StoreKey.objects.filter(user=user).count() >= MOST_KEYS:
        raise Failure("refused", f"remove a store key first: {MOST_KEYS} are the most")
    pair = StoreCredentials(access_key_id=access_key_id, secret_access_key=secret_access_key)
    sealed = seal(encode(msgspec.to_builtins(pair)), _belongs_to(user.pk, at))
    return StoreKey.objects.create(user=user, name=name, endpoint=at, sealed=sealed)


def store_keys_of(user: User) -> QuerySet[StoreKey]:
    """A user's store keys by name, still sealed."""
    return StoreKey.objects.filter(user=user)


def store_key_remove(*, user: User, key_id: int) -> bool:
    """Removes one of the user's own store keys; jobs that need it fail from then on."""
    return bool(StoreKey.objects.filter(user=user, id=key_id).delete()[0])


def _belongs_to(user_id: int, endpoint: str) -> str:
    return f"{user_id} {endpoint}"


def _check_presigned(manifest: Manifest) -> None:
    """Raises `store_refused` for URLs of elsewhere, of the past, and of a clock that is ahead."""
    for entry in manifest.entries:
        if not belongs(entry.url, manifest.head.endpoint):
            said = f"its url does not lead to {manifest.head.endpoint}"
            raise Failure("store_refused", said, shard=entry.name)
        times = parse_qs(urlsplit(entry.url).query)
        try:
            signed = datetime.datetime.strptime(times["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(
                tzinfo=datetime.UTC
            )
            seconds = int(times["X-Amz-Expires"][0])
        except (KeyError, ValueError):
            said = "its url is not presigned with a time (X-Amz-Date, X-Amz-Expires)"
            raise Failure("store_refused", said, shard=entry.name) from None
        ahead = signed.timestamp() - time.time()
        if ahead > TOLERATED:
            said = (
                f"its url is signed {round(ahead / 60)} minutes in the future: set the clock of "
                "the machine that made the manifest"
            )
            raise Failure("store_refused", said, shard=entry.name)
        if ahead + seconds < 0:
            said = "its presigned url has expired: make the manifest again with --presign"
            raise Failure("store_refused", said, shard=entry.name)


def places_open() -> list[str]:
    """What participants may name: stores, and folders of the site's machine."""
    return [*stores_open(), *settings.CRUCIBLE_STORE_FOLDERS]
