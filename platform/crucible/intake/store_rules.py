"""Which stores and folders jobs may read from, by the settings."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

import msgspec
from django.conf import settings

from submissions.codec import read
from submissions.failures import Failure
from submissions.manifest import ManifestHead, endpoint_of
from submissions.store_access import StoreAccess, StoreCredentials
from submissions.stores import folder_allowed


class OwnBucket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file of CRUCIBLE_STORE_BUCKET: a bucket with a prefix for each user."""

    base: Annotated[str, msgspec.Meta(pattern="^s3://[^/]+/(.*/)?$")]
    endpoint: str
    access_key_id: str
    secret_access_key: str

    def prefix_of(self, username: str) -> str:
        """Where a user's datasets lie."""
        return f"{self.base}{username}/"

    @property
    def credentials(self) -> StoreCredentials:
        return StoreCredentials(
            access_key_id=self.access_key_id, secret_access_key=self.secret_access_key
        )

    def __repr__(self) -> str:
        return f"OwnBucket({self.base!r})"


def own_bucket() -> OwnBucket | None:
    """The organiser's bucket; None where there is none. Raises `internal_error` for a bad file."""
    path = settings.CRUCIBLE_STORE_BUCKET
    if not path:
        return None
    return read(OwnBucket, Path(path), code="internal_error", where="CRUCIBLE_STORE_BUCKET")


def stores_open() -> list[str]:
    """The endpoints that participants may name, in the one way to write them."""
    return [endpoint_of(url) or url for url in settings.CRUCIBLE_STORES]


def by_reference_possible() -> bool:
    """Whether this site takes datasets by reference at all."""
    return bool(
        settings.CRUCIBLE_STORES
        or settings.CRUCIBLE_STORE_FOLDERS
        or settings.CRUCIBLE_STORE_BUCKET
    )


def access_check(head: ManifestHead, username: str, has_key: bool) -> None:
    """Raises `store_refused` where the site may not read what a manifest of that head names."""
    if not head.in_s3:
        folder_allowed(head.folder, tuple(settings.CRUCIBLE_STORE_FOLDERS))
        return
    own = own_bucket()
    if own is not None and not has_key and head.endpoint == endpoint_of(own.endpoint):
        if head.base.startswith(own.prefix_of(username)):
            return
        if head.base.startswith(own.base.rpartition("/")[0]):
            said = f"in the organiser's bucket your datasets lie below {own.prefix_of(username)}"
            raise Failure("store_refused", said)
    if head.endpoint not in stores_open():
        known = ", ".join(stores_open()) or "no store of yours"
        said = f"this site does not read from {head.endpoint}; it reads from {known}"
        raise Failure("store_refused", said)


def access_of(
    base: str, endpoint: str, username: str, credentials: StoreCredentials | None
) -> StoreAccess:
    """What a job may read: the one endpoint of its manifest, or the allowed folders."""
    if not endpoint:
        return StoreAccess(folders=tuple(settings.CRUCIBLE_STORE_FOLDERS))
    own = own_bucket()
    endpoints = {*stores_open()} & {endpoint}
    if own is not None and credentials is None and base.startswith(own.prefix_of(username)):
        endpoints |= {endpoint_of(own.endpoint)} & {endpoint}
        credentials = own.credentials if endpoints else None
    networks = tuple(settings.CRUCIBLE_STORE_NETWORKS)
    return StoreAccess(endpoints=tuple(endpoints), networks=networks, credentials=credentials)


def settings_problems() -> list[str]:
    """What is wrong with the settings, a sentence each."""
    found = [
        f"CRUCIBLE_STORES: {url} is no address such as https://s3.eu-central-1.amazonaws.com"
        for url in settings.CRUCIBLE_STORES
        if not endpoint_of(url)
    ]
    for network in settings.CRUCIBLE_STORE_NETWORKS:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            found.append(f"CRUCIBLE_STORE_NETWORKS: {network} is no network such as 10.0.0.0/8")
    home = settings.HOME.resolve()
    for name in settings.CRUCIBLE_STORE_FOLDERS:
        real = Path(name).resolve()
        if not Path(name).is_absolute() or not real.is_dir():
            found.append(f"CRUCIBLE_STORE_FOLDERS: {name} is no folder by its full path")
        elif home.is_relative_to(real) or real.is_relative_to(home):
            found.append(f"CRUCIBLE_STORE_FOLDERS: {name} shows what is in CRUCIBLE_HOME")
    try:
        own = own_bucket()
    except Failure as failure:
        found.append(failure.message)
    else:
        if own is not None and not endpoint_of(own.endpoint):
            found.append("CRUCIBLE_STORE_BUCKET: its endpoint is no address such as https://host")
    return found
