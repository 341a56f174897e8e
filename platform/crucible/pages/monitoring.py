"""Health checks and gauges for Prometheus."""

from __future__ import annotations

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from crucible.accounts.bearers import STATUS_OF, bearer_user
from crucible.accounts.scopes import Scope
from crucible.jobs.backends.cage import cage_found
from crucible.pages.health import health_checks
from crucible.pages.metrics import CONTENT_TYPE, metrics_text
from crucible.roles.permissions import Permission, require
from submissions.failures import Failure


@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """200 while the site and its database answer; for `make up` and for monitoring."""
    with connection.cursor() as cursor:
        cursor.execute("select 1")
    return JsonResponse({"ok": True})


@require_safe
def pipeline_health(request: HttpRequest) -> HttpResponse:
    """200 while every check is within its limit, else 503; `?format=json` for programs."""
    checks = health_checks()
    ok = all(check.ok for check in checks)
    status, cage = 200 if ok else 503, cage_found(settings.CRUCIBLE_CAGE)
    if request.GET.get("format") == "json":
        shown = {
            check.name: {"ok": check.ok, "seconds": check.seconds, "limit": check.limit}
            for check in checks
        }
        document = {"ok": ok, "checks": shown, "cage": {"on": bool(cage.program), "is": cage.words}}
        return JsonResponse(document, status=status)
    context = {"ok": ok, "checks": checks, "cage": cage}
    return render(request, "monitoring/health.html", context, status=status)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Gauges for who has the permission, by API token (scope `organise`) or by login."""
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    try:
        user = bearer_user(request, secret, Scope.ORGANISE) if kind == "Bearer" else request.user
        if not user.is_authenticated:
            raise Failure("not_authorised", "send the API token of an organiser")
        require(user, Permission.READ_METRICS)
    except Failure as failure:
        return HttpResponse(
            f"{failure.message}\n",
            status=STATUS_OF[failure.code],
            content_type="text/plain; charset=utf-8",
        )
    return HttpResponse(metrics_text(), content_type=CONTENT_TYPE)
