"""Every address of the site; docs/urls.md lists them."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from crucible.accounts import views as accounts
from crucible.api.views import api
from crucible.entries import views as entries
from crucible.leaderboard import views as leaderboard

admin.site.site_header = admin.site.site_title = "Crucible administration"

urlpatterns = [
    path("", leaderboard.home, name="home"),
    path("leaderboard/<str:track>/<str:scale>/", leaderboard.leaderboard, name="leaderboard"),
    path("submissions/", entries.submissions, name="submissions"),
    path("submissions/new/", entries.submission_new, name="submission_new"),
    path("submissions/<int:submission_id>/", entries.submission, name="submission"),
    path(
        "submissions/<int:submission_id>/cancel/",
        entries.submission_cancel,
        name="submission_cancel",
    ),
    path("submissions/<int:submission_id>/log/<str:stage>/", entries.log, name="log"),
    path("account/", accounts.account, name="account"),
    path("account/tokens/", accounts.token_create, name="token_create"),
    path("account/tokens/<int:token_id>/revoke/", accounts.token_revoke, name="token_revoke"),
    path("login/", LoginView.as_view(template_name="accounts/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("health/", leaderboard.health, name="health"),
    path("api/", api.urls),
    path("admin/", admin.site.urls),
]
