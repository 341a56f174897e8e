"""Every address of the site; docs/urls.md lists them."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from crucible.accounts import views as accounts
from crucible.api.views import api
from crucible.budgets import views as budgets
from crucible.entries import views as entries
from crucible.jobs import views as jobs
from crucible.leaderboard import views as leaderboard
from crucible.notifications import views as notifications
from crucible.review import views as review

admin.site.site_header = admin.site.site_title = "Crucible administration"

urlpatterns = [
    path("", leaderboard.home, name="home"),
    path("leaderboard/<str:track>/<str:scale>/", leaderboard.leaderboard, name="leaderboard"),
    path("compare/", leaderboard.compare, name="compare"),
    path("submissions/", entries.submissions, name="submissions"),
    path("submissions/new/", entries.submission_new, name="submission_new"),
    path("submissions/<int:submission_id>/", entries.submission, name="submission"),
    path(
        "submissions/<int:submission_id>/cancel/",
        entries.submission_cancel,
        name="submission_cancel",
    ),
    path(
        "submissions/<int:submission_id>/retry/",
        entries.submission_retry,
        name="submission_retry",
    ),
    path("submissions/<int:submission_id>/log/<str:stage>/", entries.log, name="log"),
    path(
        "submissions/<int:submission_id>/contamination/",
        review.contamination,
        name="submission_contamination",
    ),
    path(
        "submissions/<int:submission_id>/contamination/<int:item_id>/",
        review.finding_list,
        name="findings",
    ),
    path("submissions/<int:submission_id>/appeal/", review.appeal, name="appeal"),
    path("account/", accounts.account, name="account"),
    path("account/tokens/", accounts.token_create, name="token_create"),
    path("account/tokens/<int:token_id>/revoke/", accounts.token_revoke, name="token_revoke"),
    path("account/mail/", notifications.mail, name="mail"),
    path("account/webhooks/", notifications.webhook_create, name="webhook_create"),
    path(
        "account/webhooks/<uuid:webhook_id>/remove/",
        notifications.webhook_remove,
        name="webhook_remove",
    ),
    path("budget/", budgets.budget, name="budget"),
    path("login/", LoginView.as_view(template_name="accounts/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("health/", leaderboard.health, name="health"),
    path("health/pipeline/", jobs.health, name="pipeline_health"),
    path("metrics", jobs.metrics, name="metrics"),
    path("api/", api.urls),
    path("admin/", admin.site.urls),
]
