"""Submissions in the admin: to be read; their state changes through the pipeline alone."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from crucible.accounts.requests import UserRequest
from crucible.entries.models import Event, Shard, Submission, Upload
from crucible.entries.services import submission_cancel
from submissions.failures import Failure


class ReadOnly:
    """Nothing can be added, changed or deleted: history is not edited."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class EventInline(ReadOnly, admin.TabularInline):
    """The history below a submission."""

    model = Event
    extra = 0
    readonly_fields = (
        "sequence",
        "created_at",
        "kind",
        "from_state",
        "to_state",
        "actor",
        "detail",
    )
    fields = readonly_fields


class ShardInline(ReadOnly, admin.TabularInline):
    """The files of an upload."""

    model = Shard
    extra = 0


@admin.register(Submission)
class SubmissionAdmin(ReadOnly, admin.ModelAdmin):
    """Everything about a submission, with one action: cancel."""

    list_display = ["id", "name", "user", "track", "scale", "state", "waiting_for", "created_at"]
    list_filter = ["state", "track", "scale"]
    search_fields = ["name", "user__username"]
    inlines = [EventInline]
    actions = ["cancel"]

    @admin.action(description="Cancel the selected submissions")
    def cancel(self, request: UserRequest, queryset: QuerySet[Submission]) -> None:
        for submission in queryset:
            try:
                submission_cancel(submission_id=submission.id, actor=request.user)
            except Failure as failure:
                self.message_user(request, str(failure), messages.ERROR)


@admin.register(Upload)
class UploadAdmin(ReadOnly, admin.ModelAdmin):
    """What was handed in."""

    list_display = ["id", "user", "created_at", "closed_at"]
    inlines = [ShardInline]


@admin.register(Shard)
class ShardAdmin(ReadOnly, admin.ModelAdmin):
    """Single files, to find one by its hash."""

    list_display = ["name", "upload", "bytes", "sha256"]
    search_fields = ["name", "sha256"]


@admin.register(Event)
class EventAdmin(ReadOnly, admin.ModelAdmin):
    """The whole history, newest first."""

    list_display = ["created_at", "submission", "sequence", "kind", "actor"]
    list_filter = ["kind"]
    ordering = ["-id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("submission")
