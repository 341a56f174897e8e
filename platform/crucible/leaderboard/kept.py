"""What a board looks like: made once for all processes, kept until a row behind it changes."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from django.core.cache import caches
from django.db import connection

from crucible.entries.states import State
from crucible.leaderboard.suites import board_suite
from training_recipes.scales import load_scale

KEPT = 24 * 3600  # seconds; a board that nobody asks for any more is forgotten

# Every write of PostgreSQL gives a row a new place (ctid) and the number of its writer (xmin): the
# two name a row's version, whoever wrote it and however. Verdicts and appeals are append-only.
_VERSION = """
with board as (
    select id, user_id, concat_ws(' ', ctid, xmin) as version from entries_submission
    where track = %(track)s and scale = %(scale)s and state = %(state)s
)
select md5(string_agg(concat_ws(' ', c.id, c.ctid, c.xmin, s.version, u.username), ','
        order by c.id)),
    (select concat_ws(' ', count(v.id), max(v.id)) from board s
        join review_scan n on n.submission_id = s.id join review_item i on i.scan_id = n.id
        join review_verdict v on v.item_id = i.id),
    (select concat_ws(' ', count(a.id), max(a.id)) from board s
        join review_appeal a on a.submission_id = s.id)
from board s join leaderboard_score c on c.submission_id = s.id join auth_user u on u.id = s.user_id
"""


def board_version(track: str, scale: str) -> str:
    """Another text after every change that can be seen on a board: a few ms for 1,000 rows."""
    with connection.cursor() as cursor:
        cursor.execute(_VERSION, {"track": track, "scale": scale, "state": State.PUBLISHED.value})
        rows = cursor.fetchone()
    return " ".join(map(str, (*rows, load_scale(scale).recipe_sha256, board_suite(scale).hash)))


def kept(name: str, version: str, make: Callable[[], str]) -> str:
    """The text of this name and version, made by `make` where another or none is there.

    `version` must be older than what `make` reads: a change in between is then seen by whoever asks
    next. One text a name is kept, so that versions do not pile up.
    """
    boards = caches["boards"]
    found: tuple[str, bytes] | None = boards.get(name)
    if found is not None and found[0] == version:
        return zlib.decompress(found[1]).decode()
    text = make()
    boards.set(name, (version, zlib.compress(text.encode(), level=1)), KEPT)
    return text
