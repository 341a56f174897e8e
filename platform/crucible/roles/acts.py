"""Writes acts: one row, and one line in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.db import transaction

from crucible.roles.models import Act, ActKind

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)
A_COMMAND = "a command"


def act_record(
    *,
    actor: User | None,
    what: ActKind,
    about: str,
    on_whom: User | None = None,
    detail: str = "",
) -> None:
    """Records an act, in the transaction that does it; `actor` None: a command on the machine.

    `about` and `detail` name no user: a name that is forgotten could not be replaced there.
    """
    act = Act.objects.create(
        actor=actor, what=what, about=about[:120], on_whom=on_whom, detail=detail[:300]
    )
    who = actor.get_username() if actor else A_COMMAND
    whose = f" of {on_whom.get_username()}" if on_whom else ""
    line = f"act {act.pk} by {who}: {what.value}, {about}{whose}"
    line += f": {detail}" if detail else ""
    transaction.on_commit(lambda: logger.info("%s", line))
