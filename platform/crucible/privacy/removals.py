"""Who removes files asks here first: not while a backup is being made that may still read them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from django.db import connection

from crucible.backups.lock import (
    BACKUP_LOCK,
    SHARE_NO_MORE,
    TRY_TO_SHARE,
    TRY_TO_SHARE_IN_TRANSACTION,
)


@contextlib.contextmanager
def removals_allowed() -> Iterator[bool]:
    """Whether files may be removed now; no backup begins before the block ends."""
    allowed = _ask(TRY_TO_SHARE)
    try:
        yield allowed
    finally:
        if allowed:
            _ask(SHARE_NO_MORE)


def removals_allowed_in_transaction() -> bool:
    """The same until the transaction ends."""
    return _ask(TRY_TO_SHARE_IN_TRANSACTION)


def _ask(statement: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(statement, [BACKUP_LOCK])
        return bool(cursor.fetchone()[0])
