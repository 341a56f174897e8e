"""Teams, allowances and the ledger in the admin; an organiser grants hours with a reason."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from crucible.accounts.requests import UserRequest
from crucible.budgets.models import Allowance, Entry, Membership, Team
from crucible.budgets.services import allowance_grant
from crucible.read_only import ReadOnly
from crucible.roles.acts import act_record
from crucible.roles.models import ActKind
from crucible.roles.recorded import RecordedAdmin
from submissions.failures import Failure


class MembershipInline(admin.TabularInline):
    """The members of a team."""

    model = Membership
    extra = 1
    autocomplete_fields = ["user"]


@admin.register(Team)
class TeamAdmin(RecordedAdmin):
    """Teams with their members; a team with an allowance cannot be deleted."""

    list_display = ["name", "created_at"]
    search_fields = ["name"]
    inlines = [MembershipInline]

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Who entered or left the team is an act on that user."""
        before = _members(form.instance)
        super().save_related(request, form, formsets, change)
        now = _members(form.instance)
        actor: UserRequest = request  # type: ignore[assignment]  # the admin is behind a login
        changes = ((ActKind.MEMBER_ADDED, now - before), (ActKind.MEMBER_REMOVED, before - now))
        for what, users in changes:
            for user in users:
                act_record(
                    actor=actor.user, what=what, about=f"team {form.instance.pk}", on_whom=user
                )


def _members(team: Team) -> set[User]:
    return set(User.objects.filter(membership__team=team))


class GrantForm(forms.ModelForm):
    """The limit of submissions at once, and hours to grant with their reason."""

    hours = forms.DecimalField(
        required=False,
        max_digits=12,
        decimal_places=2,
        initial=Decimal(0),
        label="H100-hours",
        help_text="Added to the available hours; a negative number takes hours back.",
    )
    reason = forms.CharField(required=False, max_length=200, help_text="The team reads it.")

    class Meta:
        model = Allowance
        fields = ["team", "scale", "concurrent"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "scale" in self.fields:
            choices = [(name, name) for name in settings.CRUCIBLE_SCALES]
            self.fields["scale"] = forms.ChoiceField(choices=choices)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        hours = data.get("hours") or Decimal(0)
        if hours and not (data.get("reason") or "").strip():
            raise ValidationError({"reason": "Give a reason: the team reads it in the ledger."})
        if self.instance.available + hours < 0:
            raise ValidationError(
                {"hours": f"Only {self.instance.available} H100-hours are available."}
            )
        return data


@admin.register(Allowance)
class AllowanceAdmin(RecordedAdmin):
    """Allowances of teams; only grants and submissions change the amounts."""

    form = GrantForm
    list_display = ["team", "scale", "concurrent", "available", "reserved", "spent"]
    list_filter = ["scale", "team"]
    list_select_related = ["team"]
    readonly_fields = ["available", "reserved", "spent"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*(["team", "scale"] if obj else []), "available", "reserved", "spent"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Allowance, form: Any, change: bool) -> None:
        actor: UserRequest = request  # type: ignore[assignment]  # the admin is behind a login
        try:
            saved = allowance_grant(
                team=obj.team,
                scale=obj.scale,
                concurrent=obj.concurrent,
                hours=form.cleaned_data.get("hours") or Decimal(0),
                reason=form.cleaned_data.get("reason") or "",
                actor=actor.user,
            )
        except Failure as failure:  # a submission reserved hours after the form's check
            self.message_user(request, failure.message, "ERROR")
            obj.pk = obj.pk or Allowance.objects.get(team=obj.team, scale=obj.scale).pk
        else:
            obj.pk = saved.pk


@admin.register(Entry)
class EntryAdmin(ReadOnly, admin.ModelAdmin):
    """The whole ledger, newest first."""

    list_display = [
        "created_at",
        "allowance",
        "kind",
        "available",
        "reserved",
        "spent",
        "submission",
        "reason",
        "actor",
    ]
    list_filter = ["kind", "allowance__team", "allowance__scale"]
    list_select_related = ["allowance__team", "submission"]
    ordering = ["-id"]
