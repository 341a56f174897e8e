"""A lock in the database: while a backup is made, nothing that it may have to read is removed.

The backup holds it alone for as long as it lasts. Who removes files shares it for a moment.
"""

from __future__ import annotations

import time

import psycopg

from crucible.backups.store import BackupError

BACKUP_LOCK = 4_201_179  # any number, the same in every process of an installation
PATIENCE = 60.0  # seconds for a removal that is under way
TRY_TO_SHARE = "select pg_try_advisory_lock_shared(%s)"
SHARE_NO_MORE = "select pg_advisory_unlock_shared(%s)"
TRY_TO_SHARE_IN_TRANSACTION = "select pg_try_advisory_xact_lock_shared(%s)"


def lock_removals(connection: psycopg.Connection) -> None:
    """Until the connection ends nothing is removed; raises `BackupError`."""
    end = time.monotonic() + PATIENCE
    while True:
        row = connection.execute("select pg_try_advisory_lock(%s)", [BACKUP_LOCK]).fetchone()
        if row and row[0]:
            return
        if time.monotonic() > end:
            raise BackupError(
                "another backup is being made, or files are being removed: try again later"
            )
        time.sleep(0.2)
