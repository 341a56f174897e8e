"""Accounts in the admin: links to hand out, tokens to revoke, invitations.

No token is created here: its secret is for its user alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers

from crucible.accounts.invitations import DAYS, LONGEST_NOTE, invitation_create
from crucible.accounts.links import CONFIRM, SET_PASSWORD, invitation_link, link_hand_out
from crucible.accounts.models import ApiToken, Invitation
from crucible.accounts.requests import UserRequest
from crucible.accounts.services import token_revoke
from crucible.read_only import ReadOnly
from crucible.roles.admin import UserAdmin
from crucible.roles.permissions import Permission, may
from crucible.roles.recorded import RecordedAdmin
from submissions.failures import Failure
from submissions.names import checked_name

admin.site.unregister(User)
# allauth's own pages would change addresses and second factors without an act; links do it here.
admin.site.unregister([EmailAddress, Authenticator])


@dataclass(frozen=True)
class HandedLink:
    """A link for one person, or the reason why there is none."""

    to: str
    link: str = ""
    refusal: str = ""


def links_page(request: HttpRequest, title: str, made: list[HandedLink]) -> HttpResponse:
    """Shows links once: no browser keeps the page, and nothing of it is stored."""
    context = admin.site.each_context(request) | {"made": made, "title": title}
    response = TemplateResponse(request, "admin/accounts/links.html", context)
    add_never_cache_headers(response)
    return response


@admin.register(User)
class AccountAdmin(UserAdmin):
    """Accounts and their roles, with links for users whom no mail reaches."""

    actions = ["password_links", "confirmation_links"]

    def has_link_permission(self, request: HttpRequest) -> bool:
        """Asked by the admin for the actions below."""
        return may(request.user, Permission.LINK)

    @admin.action(description="Make links to set a password", permissions=["link"])
    def password_links(self, request: UserRequest, queryset: QuerySet[User]) -> HttpResponse:
        return self._links(request, queryset, SET_PASSWORD)

    @admin.action(description="Make links to confirm a mail address", permissions=["link"])
    def confirmation_links(self, request: UserRequest, queryset: QuerySet[User]) -> HttpResponse:
        return self._links(request, queryset, CONFIRM)

    def _links(self, request: UserRequest, queryset: QuerySet[User], what: str) -> HttpResponse:
        made = []
        for user in queryset.order_by("username"):
            name = user.get_username()
            try:
                link = link_hand_out(user=user, what=what, actor=request.user)
                made.append(HandedLink(name, link=link))
            except Failure as failure:
                made.append(HandedLink(name, refusal=failure.message))
        return links_page(request, f"Links {what}", made)


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnly, admin.ModelAdmin):
    """Read-only except for the action that revokes, which is what *change* means here."""

    list_display = [
        "user", "label", "prefix", "scopes", "created_at", "expires_at", "last_used_at",
        "revoked_at",
    ]  # fmt: skip
    list_filter = ["revoked_at"]
    search_fields = ["user__username", "label", "prefix"]
    readonly_fields = [field.name for field in ApiToken._meta.fields]
    exclude = ["digest", "minute", "requests"]
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


class InvitationForm(forms.ModelForm):
    """For whom a new invitation is."""

    def clean_note(self) -> str:
        note: str = self.cleaned_data["note"].strip()
        try:
            return checked_name(note, "the note", LONGEST_NOTE) if note else ""
        except Failure as failure:
            raise ValidationError(failure.message) from None


@admin.register(Invitation)
class InvitationAdmin(RecordedAdmin):
    """Which are open, and who came with which; deleting one withdraws it."""

    form = InvitationForm
    list_display = ["__str__", "made_by", "created_at", "expires_at", "used_by", "used_at"]
    list_select_related = ["made_by", "used_by"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return settings.CRUCIBLE_SIGN_UP != "closed" and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Invitation | None = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Invitation | None = None) -> Any:
        if obj is None:
            return ["note"]
        return ["note", "made_by", "created_at", "expires_at", "used_by", "used_at"]

    def save_model(self, request: Any, obj: Any, form: Any, change: bool) -> None:
        """Makes it as the command does; only the answer knows its secret."""
        made, secret = invitation_create(note=obj.note, made_by=request.user)
        obj.pk, obj.handed_out = made.pk, invitation_link(secret)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: Any = None
    ) -> HttpResponse:
        made = [HandedLink(obj.note, link=obj.handed_out)]
        return links_page(request, f"An invitation for one account, for {DAYS} days", made)
