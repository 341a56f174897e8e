"""Forgets a user: what identifies the person goes, what the competition rests on stays nameless.

Every model that points at a user has its decision in `DECISIONS`; a test finds one that has none.
"""

from __future__ import annotations

import re
from enum import StrEnum

from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone

from crucible.accounts.models import Invitation
from crucible.budgets.models import Entry
from crucible.entries.models import Event, Submission, Upload
from crucible.entries.moves import PLATFORM
from crucible.intake.uploads import upload_discard
from crucible.notifications.models import Notice
from crucible.privacy.removals import removals_allowed_in_transaction
from crucible.roles.acts import act_record
from crucible.roles.models import ActKind
from submissions.failures import Failure
from submissions.states import TERMINAL


class Decision(StrEnum):
    """What becomes of rows that point at a forgotten user."""

    DELETE = "delete"
    KEEP = "keep"  # with a user who has no name any more


# By model and field, in the words of Django's labels.
DECISIONS = {
    "accounts.apitoken.user": Decision.DELETE,
    "accounts.invitation.made_by": Decision.KEEP,
    "accounts.invitation.used_by": Decision.KEEP,  # its note may name the person, and is emptied
    "account.emailaddress.user": Decision.DELETE,
    "mfa.authenticator.user": Decision.DELETE,
    "notifications.webhook.user": Decision.DELETE,  # its notices go with it
    "notifications.mailchoice.user": Decision.DELETE,
    "budgets.membership.user": Decision.DELETE,
    "auth.user_groups.user": Decision.DELETE,
    "auth.user_user_permissions.user": Decision.DELETE,
    "entries.submission.user": Decision.KEEP,  # the score; its description is emptied
    "entries.upload.user": Decision.KEEP,  # those of submissions; others go with their files
    "intake.storekey.user": Decision.DELETE,
    "review.verdict.reviewer": Decision.KEEP,  # who judged twice must still be told apart
    "roles.act.actor": Decision.KEEP,  # what was done, by and on a nameless user
    "roles.act.on_whom": Decision.KEEP,
    "admin.logentry.user": Decision.KEEP,  # what was done, by a nameless user
}
if apps.is_installed("allauth.socialaccount"):
    DECISIONS["socialaccount.socialaccount.user"] = Decision.DELETE
# Tables whose rows no one may change, and that hold names of users as text.
NAMED_IN = (Event, Entry)


@transaction.atomic
def user_forget(*, username: str) -> str:
    """Anonymises the user for good; returns the name that takes the place of the old one.

    Raises `Failure`: `not_found`, or `refused` while submissions of theirs are under way or a
    backup is being made.
    """
    if not removals_allowed_in_transaction():
        raise Failure("refused", "a backup is being made: forget the user when it has ended")
    user = User.objects.select_for_update().filter(username=username).first()
    if user is None:
        raise Failure("not_found", f"there is no user {username!r}")
    under_way = Submission.objects.filter(user=user).exclude(state__in=TERMINAL).count()
    if under_way:
        raise Failure(
            "refused", f"{under_way} submissions of {username!r} are under way: cancel them first"
        )
    name = f"forgotten-{user.pk}"
    _rename_in_history(username, name)
    _end_sessions(user)
    for label, model, field in _relations():
        if DECISIONS[label] == Decision.DELETE:
            model._base_manager.filter(**{field: user}).delete()
    Submission.objects.filter(user=user).update(description="")
    Invitation.objects.filter(used_by=user).update(note="")
    Notice.objects.filter(
        event__submission__user=user, webhook=None, sent_at=None, gave_up_at=None
    ).update(gave_up_at=timezone.now(), last_error="the user is forgotten")
    _rename_in_admin(username, name)
    user.username, user.first_name, user.last_name, user.email = name, "", "", ""
    user.is_active = user.is_staff = user.is_superuser = False
    user.last_login = None
    user.set_unusable_password()
    user.save()
    act_record(actor=None, what=ActKind.FORGOTTEN, about=f"user {user.pk}", on_whom=user)
    transaction.on_commit(caches["boards"].clear)  # what is kept of boards names the old one
    for upload in Upload.objects.filter(user=user, closed_at=None):
        upload_discard(upload)  # last, because files do not come back when a transaction fails
    return name


def relations_to_users() -> set[str]:
    """The label of each field, in any installed app, that points at a user."""
    return {label for label, *_ in _relations()}


def _relations() -> list[tuple[str, type[Model], str]]:
    found = []
    for relation in User._meta.get_fields(include_hidden=True):
        if relation.auto_created and (relation.one_to_many or relation.one_to_one):
            field = relation.field  # type: ignore[union-attr]
            found.append((f"{field.model._meta.label_lower}.{field.name}", field.model, field.name))
    return found


def _end_sessions(user: User) -> None:
    """Sessions do not point at their user: each has to be opened."""
    for session in Session.objects.iterator():
        if session.get_decoded().get(SESSION_KEY) == str(user.pk):
            session.delete()


def _rename_in_history(before: str, after: str) -> None:
    """The one change that append-only tables ever see.

    Their triggers are off inside this transaction alone: `alter table` locks the table until its
    end, so that nobody else writes meanwhile. A user with the platform's own name in events would
    rename those too, and is refused.
    """
    if before == PLATFORM:
        raise Failure("refused", f"{before!r} is what the platform calls itself in the history")
    with connection.cursor() as cursor:
        cursor.execute("set constraints all immediate")  # a table with open checks is not altered
        for model in NAMED_IN:
            table = connection.ops.quote_name(model._meta.db_table)
            cursor.execute(f"alter table {table} disable trigger user")
            cursor.execute(
                f"update {table} set actor = %s where actor = %s",  # noqa: S608
                [after, before],
            )
            cursor.execute(f"alter table {table} enable trigger user")
        cursor.execute("set constraints all deferred")


def _rename_in_admin(before: str, after: str) -> None:
    """What the admin's log calls its objects."""
    whole = re.compile(rf"(?<![\w@.+-]){re.escape(before)}(?![\w@.+-])")
    for entry in LogEntry.objects.filter(object_repr__contains=before):
        entry.object_repr = whole.sub(after, entry.object_repr)
        entry.save(update_fields=["object_repr"])
