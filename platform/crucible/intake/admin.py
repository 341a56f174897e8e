"""Submissions in the admin: read-only, with actions for organisers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet
from django.http import HttpRequest

from crucible.accounts.requests import UserRequest
from crucible.entries.models import Event, Shard, Submission, Upload
from crucible.intake.services import (
    submission_cancel,
    submission_hold,
    submission_prioritise,
    submission_retry,
)
from crucible.read_only import ReadOnly
from crucible.roles.permissions import Permission, may
from submissions.failures import Failure


class ReasonForm(ActionForm):
    """The field beside the choice of an action: why a submission is held."""

    reason = forms.CharField(required=False, max_length=200, label="Reason")


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
    """Everything about a submission, and the actions: hold, priority, retry, cancel."""

    list_display = [
        "id",
        "name",
        "user",
        "track",
        "scale",
        "state",
        "priority",
        "held_for",
        "waiting_for",
        "created_at",
    ]
    list_filter = ["state", "track", "scale", "priority"]
    list_select_related = ["user"]
    search_fields = ["name", "user__username"]
    inlines = [EventInline]
    action_form = ReasonForm
    actions = ["hold", "release", "raise_priority", "lower_priority", "retry", "cancel"]

    # The admin asks these for the actions below; the services ask again.
    def has_hold_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Permission.HOLD)

    def has_prioritise_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Permission.PRIORITISE)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Permission.RETRY)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Permission.CANCEL)

    @admin.action(description="Hold: start no further jobs (give a reason)", permissions=["hold"])
    def hold(self, request: UserRequest, queryset: QuerySet[Submission]) -> None:
        reason = request.POST.get("reason", "").strip()
        if not reason:
            self.message_user(request, "Give a reason: the participant reads it.", messages.ERROR)
            return
        self._each(request, queryset, partial(submission_hold, reason=reason))

    @admin.action(description="Release", permissions=["hold"])
    def release(self, request: UserRequest, queryset: QuerySet[Submission]) -> None:
        self._each(request, queryset, partial(submission_hold, reason=""))

    @admin.action(description="Raise the priority by one", permissions=["prioritise"])
    def raise_priority(self, request: UserRequest, queryset: QuerySet[Submission]) -> None:
        self._shift(request, queryset, 1)

    @admin.action(description="Lower the priority by one", permissions=["prioritise"])
    def lower_priority(self, request: UserRequest, queryset: QuerySet[Submission]) -> None:
        self._shift(request, queryset, -1)

    @admin.action(
        description="Retry from the stage in which the platform failed", permissions=["retry"]
    )
    def retry(self, request: UserRequest, queryset: QuerySet[Submission]) -> None:
        self._each(request, queryset, submission_retry)

    @admin.action(description="Cancel", permissions=["cancel"])
    def cancel(self, request: UserRequest, queryset: QuerySet[Submission]) -> None:
        self._each(request, queryset, submission_cancel)

    def _shift(self, request: UserRequest, queryset: QuerySet[Submission], by: int) -> None:
        for submission in queryset:
            submission_prioritise(
                submission_id=submission.id, actor=request.user, priority=submission.priority + by
            )

    def _each(
        self, request: UserRequest, queryset: QuerySet[Submission], service: Callable[..., Any]
    ) -> None:
        for submission in queryset:
            try:
                service(submission_id=submission.id, actor=request.user)
            except Failure as failure:
                self.message_user(request, str(failure), messages.ERROR)


@admin.register(Upload)
class UploadAdmin(ReadOnly, admin.ModelAdmin):
    """Uploads with their shards."""

    list_display = ["id", "user", "created_at", "closed_at"]
    inlines = [ShardInline]


@admin.register(Shard)
class ShardAdmin(ReadOnly, admin.ModelAdmin):
    """Single shards; the search finds one by its hash."""

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
