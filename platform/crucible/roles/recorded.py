"""The base of admin pages that change something: every change is an act."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from crucible.roles.acts import act_record
from crucible.roles.models import ActKind


class RecordedAdmin(admin.ModelAdmin):
    """Records what the admin's own log does, and where it cannot be removed.

    Only names of fields and tables, no values: they may name people.
    """

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        self.record(request, ActKind.ADDED, obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        self.record(request, ActKind.CHANGED, obj, _in_words(message))
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        for obj in queryset:
            self.record(request, ActKind.DELETED, obj)
        return super().log_deletions(request, queryset)

    def record(self, request: HttpRequest, what: ActKind, obj: Model, detail: str = "") -> None:
        """An act of the one who sent the request, on an object of this table."""
        act_record(
            actor=request.user,  # type: ignore[arg-type]  # the admin is behind a login
            what=what,
            about=f"{self.opts.verbose_name} {obj.pk}",
            on_whom=obj if isinstance(obj, User) else None,
            detail=detail,
        )


def _in_words(message: Any) -> str:
    """Fields and tables of the admin's message, which is a list of dictionaries or a text."""
    if not isinstance(message, list):
        return ""
    found = [
        " ".join([done, what.get("name", ""), ", ".join(what.get("fields", []))]).replace("  ", " ")
        for part in message
        for done, what in part.items()
    ]
    return "; ".join(line.strip() for line in found)
