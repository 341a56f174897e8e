"""Accounts and groups, which the administrator alone changes, and the acts.

`crucible.accounts.admin` registers the page of accounts, with links to hand out.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.http import HttpRequest

from crucible.read_only import ReadOnly
from crucible.roles.models import Act, ActKind
from crucible.roles.recorded import RecordedAdmin
from crucible.roles.services import GROUPS, rights_changed, rights_of

admin.site.unregister(Group)


class ForTheAdministrator(RecordedAdmin):
    """Others may at most look: with these tables one can give oneself every permission."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_administrator(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return _is_administrator(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_administrator(request)


def _is_administrator(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)


class UserForm(UserChangeForm):
    """The roles of an account as boxes to tick."""

    class Meta(UserChangeForm.Meta):
        widgets = {"groups": forms.CheckboxSelectMultiple}
        labels = {
            "groups": "Roles",
            "is_superuser": "Administrator",
            "is_staff": "May enter this administration",
        }
        help_texts = {
            "groups": "What this person may do here; docs/security.md has the table.",
            "is_superuser": "May do everything, and give and take roles.",
            "is_staff": "Opens the door and shows nothing by itself. A reviewer, an organiser and"
            " the administrator may enter anyway.",
            "is_active": "Untick it to close the account: nothing of it is deleted.",
            "user_permissions": "Single permissions beside those of the roles; seldom needed.",
        }

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        others = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=self.instance.pk)
        stays = data.get("is_superuser") and data.get("is_active")
        if self.initial.get("is_superuser") and not stays and not others.exists():
            self.add_error(
                "is_superuser", "This is the only administrator: make another one first."
            )
        return data


class UserAdmin(ForTheAdministrator, DjangoUserAdmin):
    """Accounts. None is deleted: close it, or run `manage.py forget_user`."""

    form = UserForm
    list_display = ["username", "email", "roles", "is_active", "last_login"]
    list_filter = ["groups", "is_superuser", "is_staff", "is_active"]
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Roles", {"fields": ("groups", "is_superuser", "is_staff", "is_active")}),
        ("Person", {"fields": ("first_name", "last_name", "email", "last_login", "date_joined")}),
        ("Single permissions", {"fields": ("user_permissions",), "classes": ("collapse",)}),
    )
    readonly_fields = ["last_login", "date_joined"]
    filter_horizontal = ["user_permissions"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without the password's hash for who may only look."""
        if _is_administrator(request):
            return super().get_fieldsets(request, obj)
        return ((None, {"fields": ("username", "email", "groups", "is_active", "last_login")}),)

    @admin.display(description="Roles")
    def roles(self, user: User) -> str:
        """Groups, and whether the user is administrator."""
        names = sorted(group.name for group in user.groups.all())
        return ", ".join([*names, *(["administrator"] if user.is_superuser else [])])

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        form.rights_before = rights_of(User.objects.get(pk=obj.pk)) if change else set()
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Opens the admin's door for who got a role in it, and records what changed."""
        super().save_related(request, form, formsets, change)
        user, entered = form.instance, form.instance.is_staff
        rights_changed(user=user, before=form.rights_before, actor=request.user)  # type: ignore[arg-type]
        if user.is_staff and not entered:
            said = f"The role lets {user} enter this administration."
            self.message_user(request, said, messages.INFO)


@admin.register(Group)
class GroupAdmin(ForTheAdministrator, DjangoGroupAdmin):
    """Groups. Those that are roles keep their names, by which the site finds them."""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["name"] if obj and obj.name in GROUPS else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and not (obj and obj.name in GROUPS)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Which permissions the group got and lost."""
        group = form.instance
        before = set(group.permissions.all())
        super().save_related(request, form, formsets, change)
        now = set(group.permissions.all())
        for what, changed in ((ActKind.GIVEN, now - before), (ActKind.TAKEN, before - now)):
            for permission in changed:
                name = f"permission {permission.content_type.app_label}.{permission.codename}"
                self.record(request, what, group, name)


@admin.register(Act)
class ActAdmin(ReadOnly, admin.ModelAdmin):
    """Every act, the newest first; none can be changed."""

    list_display = ["created_at", "actor", "what", "about", "on_whom", "detail"]
    list_filter = ["what"]
    list_select_related = ["actor", "on_whom"]
    search_fields = ["actor__username", "on_whom__username", "about", "detail"]
    date_hierarchy = "created_at"
