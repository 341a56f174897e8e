"""The admin of reviewers: the queue of items, and the page that judges one after another."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from crucible.accounts.requests import UserRequest
from crucible.read_only import ReadOnly
from crucible.review.evidence import evidence_page
from crucible.review.forms import VerdictForm
from crucible.review.models import Appeal, HoldRule, Item, Scan, Verdict, VerdictKind
from crucible.review.selectors import (
    decided,
    decision_of,
    may_judge,
    next_in_queue,
    queue,
    queue_of,
)
from crucible.review.services import verdict_give
from crucible.roles.recorded import RecordedAdmin
from submissions.failures import Failure


class WaitingFilter(admin.SimpleListFilter):
    """Shows only open items by default: the list is the queue."""

    title = "waiting"
    parameter_name = "waiting"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "Judged"), ("all", "All")]

    def choices(self, changelist: Any) -> Any:
        name = self.parameter_name
        for value, title in ((None, "Waiting"), *self.lookup_choices):
            query = changelist.get_query_string({name: value}) if value else None
            yield {
                "selected": self.value() == value,
                "query_string": query or changelist.get_query_string(remove=[name]),
                "display": title,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Item]) -> QuerySet[Item]:
        if self.value() == "all":
            return queryset
        return queryset.filter(is_open=self.value() != "no")


@admin.register(Item)
class ItemAdmin(ReadOnly, admin.ModelAdmin):
    """Items, the oldest first. A row links to the page that judges it."""

    list_display = ["submission", "task", "severity", "examples", "holds", "in_force", "opened_at"]
    list_filter = [
        WaitingFilter,
        "severity",
        "holds",
        "scan__submission__track",
        "scan__submission__scale",
        "task",
    ]
    search_fields = ["task", "scan__submission__name"]
    list_select_related = ["scan__submission__appeal"]
    ordering = ["opened_at", "id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Item]:
        return super().get_queryset(request).prefetch_related("verdicts")

    @admin.display(ordering="scan__submission")
    def submission(self, item: Item) -> str:
        """Number and name."""
        return str(item.scan.submission)

    @admin.display(description="Verdict")
    def in_force(self, item: Item) -> str:
        """The verdict in force, or what the item waits for."""
        decision = decided(item)
        if decision.second_needed:
            return "waits for a second reviewer"
        return decision.kind or "–"

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return may_judge(request.user)

    def changelist_view(  # type: ignore[override]
        self, request: UserRequest, extra_context: Any = None
    ) -> HttpResponse:
        """The queue, with a link to the first item that this reviewer can judge."""
        first = queue_of(request.user).first() if may_judge(request.user) else None
        return super().changelist_view(request, {"first": first} | (extra_context or {}))

    def change_view(  # type: ignore[override]
        self, request: UserRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The evidence, the verdicts so far, and the form for the next verdict."""
        if not may_judge(request.user):
            raise PermissionDenied
        number = int(object_id) if object_id.isdecimal() and len(object_id) < 19 else 0
        found = Item.objects.select_related("scan__submission__user").filter(pk=number)
        item = found.first()
        if item is None:
            raise Http404
        form = VerdictForm(_filled_in(request))
        if request.method == "POST" and form.is_valid():
            try:
                verdict_give(item_id=item.id, reviewer=request.user, **form.cleaned_data)
            except Failure as failure:
                form.add_error(None, failure.message)
            else:
                return self._go_on(request, item)
        context = self.admin_site.each_context(request) | {
            "title": f"{item.task}, {item.severity}",
            "item": item,
            "form": form,
            "opts": self.opts,
            "decision": decision_of(item),
            "evidence": evidence_page(item, request.GET.get("page"), reader=request.user),
            "earlier": _earlier(request).exclude(kind=VerdictKind.DISQUALIFY).last(),
            "verdicts": item.verdicts.select_related("reviewer"),
            "waiting": queue().count(),
            "appeal": Appeal.objects.filter(submission__scan=item.scan_id).first(),
        }
        return TemplateResponse(request, "admin/review/item/judge.html", context)

    def _go_on(self, request: UserRequest, item: Item) -> HttpResponse:
        """Goes to the next item in the queue, or back to the empty queue."""
        messages.success(request, f"Judged: {item}.")
        following = next_in_queue(item, request.user)
        if following is None:
            return redirect("admin:review_item_changelist")
        return redirect(reverse("admin:review_item_change", args=[following.id]))


def _earlier(request: UserRequest) -> QuerySet[Verdict]:
    return Verdict.objects.filter(reviewer=request.user)


def _filled_in(request: UserRequest) -> dict[str, Any] | None:
    """The submitted form; with the button *Same as before*, the reviewer's last verdict."""
    again = request.POST.get("again", "")
    if not again.isdecimal():
        return request.POST.dict() or None
    verdict = _earlier(request).filter(id=int(again)).first()
    return {"kind": verdict.kind, "reason": verdict.reason} if verdict else {}


@admin.register(HoldRule)
class HoldRuleAdmin(RecordedAdmin):
    """Which findings hold a submission, for each track and scale."""

    list_display = ["__str__", "severity", "examples"]


@admin.register(Scan)
class ScanAdmin(ReadOnly, admin.ModelAdmin):
    """The results of scans."""

    list_display = ["submission", "created_at", "index_sha256"]


@admin.register(Verdict)
class VerdictAdmin(ReadOnly, admin.ModelAdmin):
    """Every verdict, the newest first; none can be changed."""

    list_display = ["created_at", "item", "kind", "reviewer", "reason"]
    list_filter = ["kind", "reviewer"]
    ordering = ["-id"]


@admin.register(Appeal)
class AppealAdmin(ReadOnly, admin.ModelAdmin):
    """Every appeal, the newest first."""

    list_display = ["created_at", "submission", "text"]
    ordering = ["-id"]
