"""Accounts in the admin: links to hand out; tokens and invitations, listed but never created.

Nobody would see the secret of a token that is created here.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers

from crucible.accounts.links import confirmation_link, password_link
from crucible.accounts.models import ApiToken, Invitation
from crucible.accounts.services import token_revoke
from submissions.failures import Failure


@dataclass(frozen=True)
class HandedLink:
    """A link for one user, or the reason why there is none."""

    user: User
    link: str = ""
    refusal: str = ""


admin.site.unregister(User)


@admin.register(User)
class AccountAdmin(UserAdmin):
    """Django's, with links for users whom no mail reaches."""

    actions = ["password_links", "confirmation_links"]

    @admin.action(description="Make links to set a password", permissions=["change"])
    def password_links(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse:
        return self._links(request, queryset, confirm=False)

    @admin.action(description="Make links to confirm a mail address", permissions=["change"])
    def confirmation_links(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse:
        return self._links(request, queryset, confirm=True)

    def _links(
        self, request: HttpRequest, queryset: QuerySet[User], *, confirm: bool
    ) -> HttpResponse:
        """The page with the links, which no browser keeps; each is in the admin's log."""
        make = confirmation_link if confirm else password_link
        what = "confirm the mail address" if confirm else "set a password"
        made = []
        for user in queryset.order_by("username"):
            # Whoever holds the link becomes this user.
            if (user.is_staff or user.is_superuser) and not request.user.is_superuser:
                made.append(HandedLink(user, refusal="only an administrator may do this"))
                continue
            try:
                made.append(HandedLink(user, link=make(user)))
            except Failure as failure:
                made.append(HandedLink(user, refusal=failure.message))
        handed = [one.user for one in made if one.link]
        if handed and request.user.id is not None:
            LogEntry.objects.log_actions(
                request.user.id, handed, CHANGE, f"Handed out a link to {what}"
            )
        context = self.admin_site.each_context(request) | {
            "made": made, "title": f"Links to {what}",
        }  # fmt: skip
        response = TemplateResponse(request, "admin/auth/user/links.html", context)
        add_never_cache_headers(response)
        return response


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):
    """Read-only except for the action that revokes."""

    list_display = [
        "user", "label", "prefix", "scopes", "created_at", "expires_at", "last_used_at",
        "revoked_at",
    ]  # fmt: skip
    list_filter = ["revoked_at"]
    search_fields = ["user__username", "label", "prefix"]
    readonly_fields = [field.name for field in ApiToken._meta.fields]
    exclude = ["digest", "minute", "requests"]
    actions = ["revoke"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.action(description="Revoke the selected tokens")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        ended = sum(token_revoke(user=token.user, token_id=token.id) for token in queryset)
        self.message_user(request, f"{ended} tokens revoked")


@admin.register(Invitation)
class InvitationAdmin(admin.ModelAdmin):
    """Which are open, and who came with which; deleting one withdraws it."""

    list_display = ["__str__", "made_by", "created_at", "expires_at", "used_by", "used_at"]
    readonly_fields = [field.name for field in Invitation._meta.fields]
    exclude = ["digest"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Invitation | None = None) -> bool:
        return False
