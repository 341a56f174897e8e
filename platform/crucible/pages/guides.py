"""The documentation on the site, and the home page."""

from __future__ import annotations

from django.db.models import Count, Q, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from crucible.boards.texts import board_leaders
from crucible.entries.models import Submission
from crucible.guide import contents, page_of
from crucible.leaderboard.models import Score
from crucible.leaderboard.selectors import boards
from evaluation.metrics import DEFAULT_METRIC_VERSION
from submissions.states import State


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What this is, how to take part, the boards with their leaders, the numbers so far."""
    published = Q(state=State.PUBLISHED)
    numbers = Submission.objects.aggregate(
        submissions=Count("id"),
        published=Count("id", filter=published),
        users=Count("user", distinct=True),
    )
    trained = Score.objects.filter(
        submission__state=State.PUBLISHED, metric_version=DEFAULT_METRIC_VERSION
    ).aggregate(flops=Sum("flops"))
    leaders = [(track, scale, board_leaders(track, scale)) for track, scale in boards()]
    context = {"numbers": numbers | trained, "boards": leaders}
    return render(request, "guide/home.html", context)


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """The contents of the documentation."""
    return render(request, "guide/contents.html", {"sections": contents()})


@require_safe
def page(request: HttpRequest, name: str) -> HttpResponse:
    """One page of it."""
    found = page_of(name)
    if found is None:
        raise Http404
    return render(request, "guide/page.html", {"page": found})
