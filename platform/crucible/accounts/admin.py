"""Tokens in the admin: listed and revoked, never created (nobody would see the secret)."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from crucible.accounts.models import ApiToken
from crucible.accounts.requests import UserRequest
from crucible.accounts.services import token_revoke
from crucible.read_only import ReadOnly
from crucible.roles.permissions import Permission, may


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnly, admin.ModelAdmin):
    """Read-only except for the action that revokes, which is what *change* means here."""

    list_display = ["user", "label", "prefix", "created_at", "last_used_at", "revoked_at"]
    list_filter = ["revoked_at"]
    search_fields = ["user__username", "label", "prefix"]
    readonly_fields = [field.name for field in ApiToken._meta.fields]
    exclude = ["digest"]
    actions = ["revoke"]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Asked by the admin for the action below."""
        return may(request.user, Permission.REVOKE)

    @admin.action(description="Revoke the selected tokens", permissions=["revoke"])
    def revoke(self, request: UserRequest, queryset: QuerySet[ApiToken]) -> None:
        ended = sum(
            token_revoke(user=token.user, token_id=token.id, actor=request.user)
            for token in queryset
        )
        self.message_user(request, f"{ended} tokens revoked")
