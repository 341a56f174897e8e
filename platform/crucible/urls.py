"""Every address of the site; docs/urls.md lists them."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path
from django.views.decorators.http import require_safe

from crucible.api.views import api
from crucible.pages import (
    account,
    board_exports,
    boards,
    budget,
    contamination,
    data,
    guides,
    monitoring,
    references,
    submissions,
    transfer,
)

admin.site.site_header = admin.site.site_title = "Crucible administration"
# The admin has no doors of its own, which would know no second factor and count no attempts.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.password_change = account.password_change  # type: ignore[method-assign,assignment]

urlpatterns = [
    path("", guides.home, name="home"),
    path("docs/", guides.docs, name="docs"),
    path("docs/<slug:name>/", guides.page, name="guide"),
    path("leaderboard/", boards.first, name="boards"),
    path("leaderboard/<str:track>/<str:scale>/", boards.leaderboard, name="leaderboard"),
    path(
        "leaderboard/<str:track>/<str:scale>/board.csv",
        board_exports.board_csv,
        name="leaderboard_csv",
    ),
    path(
        "leaderboard/<str:track>/<str:scale>/board.json",
        board_exports.board_json,
        name="leaderboard_json",
    ),
    path(
        "leaderboard/<str:track>/<str:scale>/feed.atom",
        require_safe(board_exports.BoardFeed()),
        name="leaderboard_feed",
    ),
    path("baselines/<int:baseline_id>/", board_exports.baseline, name="baseline"),
    path("submissions/<int:submission_id>/badge.svg", board_exports.badge, name="badge"),
    path("submissions/<int:submission_id>/cite.bib", board_exports.citation, name="citation"),
    path("compare/", boards.compare, name="compare"),
    path("compare/data/", data.compare, name="compare_data"),
    path("transfer/<str:source>/<str:target>/", transfer.transfer, name="transfer"),
    path("transfer/<str:source>/<str:target>/next/", transfer.next_runs, name="next_runs"),
    path("submissions/", submissions.submission_list, name="submissions"),
    path("submissions/new/", submissions.submission_new, name="submission_new"),
    path(
        "submissions/by-reference/",
        references.submission_by_reference,
        name="submission_by_reference",
    ),
    path("submissions/<int:submission_id>/", submissions.submission, name="submission"),
    path(
        "submissions/<int:submission_id>/cancel/",
        submissions.submission_cancel,
        name="submission_cancel",
    ),
    path(
        "submissions/<int:submission_id>/retry/",
        submissions.submission_retry,
        name="submission_retry",
    ),
    path("submissions/<int:submission_id>/log/<str:stage>/", submissions.log, name="log"),
    path(
        "submissions/<int:submission_id>/contamination/",
        contamination.contamination,
        name="submission_contamination",
    ),
    path(
        "submissions/<int:submission_id>/contamination/<int:item_id>/",
        contamination.finding_list,
        name="findings",
    ),
    path("submissions/<int:submission_id>/appeal/", contamination.appeal, name="appeal"),
    path("submissions/<int:submission_id>/data/", data.profile, name="data"),
    path("submissions/<int:submission_id>/data/texts/", data.texts, name="data_texts"),
    path("submissions/<int:submission_id>/data/sample/", data.sample_choose, name="data_sample"),
    path("account/", account.account, name="account"),
    path("account/tokens/", account.token_create, name="token_create"),
    path("account/tokens/<int:token_id>/revoke/", account.token_revoke, name="token_revoke"),
    path("account/mail/", account.mail_choose, name="mail"),
    path("account/webhooks/", account.webhook_create, name="webhook_create"),
    path(
        "account/webhooks/<uuid:webhook_id>/remove/",
        account.webhook_remove,
        name="webhook_remove",
    ),
    path("account/stores/", references.store_keys, name="store_keys"),
    path(
        "account/stores/<int:key_id>/remove/",
        references.store_key_remove,
        name="store_key_remove",
    ),
    path("budget/", budget.budget, name="budget"),
    path("invitation/<str:secret>/", account.invitation, name="invitation"),
    path("", include("allauth.urls")),  # login/, signup/, password/…, email/, 2fa/…
    path("health/", monitoring.health, name="health"),
    path("health/pipeline/", monitoring.pipeline_health, name="pipeline_health"),
    path("metrics", monitoring.metrics, name="metrics"),
    path("api/", api.urls),
    path("admin/", admin.site.urls),
]
