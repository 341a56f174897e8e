"""The groups participant, reviewer and organiser, and who of the users there are belongs to them.

Everybody with an account becomes a participant, as before. A superuser stays the administrator. Staff
who hold the permission to judge become reviewers. Other staff get no group: what `is_staff` alone
let them do (see, cancel and retry everybody's submissions, read the gauges) nobody had given to them
by name, and a group would give more than they had. They keep the permissions that they hold, and the
administrator gives them a role (`manage.py role`).
"""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations
from django.db.models import Q

VIEWED = {  # tables that reviewers and organisers may read
    "entries": ["view_submission", "view_event", "view_upload", "view_shard"],
    "jobs": ["view_attempt"],
    "leaderboard": ["view_score", "view_baseline"],
    "review": ["view_scan", "view_verdict", "view_appeal", "view_holdrule"],
    "roles": ["view_act"],
}
PARTICIPANT = {"entries": ["add_submission"]}
REVIEWER = VIEWED | {"review": [*VIEWED["review"], "view_item", "add_verdict"]}
ORGANISER = VIEWED | {
    "entries": [
        *VIEWED["entries"],
        "cancel_submission", "retry_submission", "hold_submission", "prioritise_submission",
    ],
    "jobs": [
        "view_attempt", "read_metrics", "view_lane", "add_lane", "change_lane", "delete_lane",
    ],
    "review": [*VIEWED["review"], "add_holdrule", "change_holdrule", "delete_holdrule"],
    "budgets": [
        "view_team", "add_team", "change_team", "delete_team",
        "view_membership", "add_membership", "change_membership", "delete_membership",
        "view_allowance", "add_allowance", "change_allowance", "view_entry",
    ],
    "notifications": ["view_webhook", "view_notice"],
    "accounts": [
        "view_apitoken", "change_apitoken",
        "view_invitation", "add_invitation", "delete_invitation", "link_account",
    ],
    "auth": ["view_user"],
}  # fmt: skip
GROUPS = {"participant": PARTICIPANT, "reviewer": REVIEWER, "organiser": ORGANISER}


def make(apps: Any, schema_editor: Any) -> None:
    """Permissions are made after all migrations otherwise: too late for the groups."""
    for config in apps.get_app_configs():
        config.models_module = True
        create_permissions(config, verbosity=0, apps=apps)
        config.models_module = None
    group_model = apps.get_model("auth", "Group")
    permission_model = apps.get_model("auth", "Permission")
    for name, permissions in GROUPS.items():
        # Members of an older group of this name keep what it gave them, and get nothing more.
        group_model.objects.filter(name=name).update(name=f"{name} (older)")
        group = group_model.objects.create(name=name)
        for app, codenames in permissions.items():
            found = permission_model.objects.filter(
                content_type__app_label=app, codename__in=codenames
            )
            assert len(found) == len(codenames), (name, app)
            group.permissions.add(*found)
    users = apps.get_model("auth", "User").objects.exclude(
        username__regex=r"^forgotten-\d+$", is_active=False
    )
    judges = Q(user_permissions__codename="add_verdict") | Q(
        groups__permissions__codename="add_verdict"
    )
    judging = users.filter(judges, is_staff=True, is_superuser=False).distinct()
    group_model.objects.get(name="reviewer").user_set.add(*judging)
    group_model.objects.get(name="participant").user_set.add(*users)


class Migration(migrations.Migration):
    dependencies = [
        ("roles", "0002_acts_are_append_only"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("accounts", "0002_scopes_expiry_invitations"),
        ("entries", "0005_permissions_on_submissions"),
        ("budgets", "0002_the_ledger_is_append_only"),
        ("notifications", "0001_initial"),
        ("leaderboard", "0005_baselines"),
        ("review", "0002_verdicts_are_append_only"),
        ("jobs", "0004_permission_for_metrics"),
    ]
    # Backwards, the groups stay: users may belong to them.
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
