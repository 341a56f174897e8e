"""Pages about the data: a dataset's profile, its sample of texts, and two datasets compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from crucible.accounts.requests import UserRequest, refusal_as_message
from crucible.entries.models import Submission
from crucible.entries.selectors import submission_get
from crucible.pages.submissions import submission_or_404
from crucible.plots import MAP_SIZE, BarPlot, Point, bar_plot, map_points
from crucible.profiles.models import DatasetProfile
from crucible.profiles.selectors import (
    figures_of,
    may_read_sample,
    profile_of_submission,
    sample_of,
    sketches_of,
)
from crucible.profiles.services import sample_open
from crucible.profiles.viewing import LENGTHS, QUALITIES, Wanted, compare_data, texts_page
from submissions.failures import Failure
from submissions.profile.results import Mean, Profile
from submissions.profile.rules import RULES

LANGUAGES = 10  # that are listed
KIND_NAMES = {"mail": "mail addresses", "phone": "telephone numbers", "ip": "internet addresses",
              "card": "payment cards", "iban": "bank accounts"}  # fmt: skip


@dataclass(frozen=True)
class PlotRow:
    """A figure of documents with its histogram."""

    name: str
    mean: Mean
    plot: BarPlot | None


def _find(request: HttpRequest, submission_id: int) -> tuple[Submission, DatasetProfile]:
    submission = submission_or_404(request, submission_id)
    profile = profile_of_submission(submission)
    if profile is None:
        raise Http404("the dataset has no profile yet")
    return submission, profile


@require_safe
def profile(request: HttpRequest, submission_id: int) -> HttpResponse:
    """The figures, for all who see the submission."""
    submission, found = _find(request, submission_id)
    figures = figures_of(found)
    sample = sample_of(found)
    context = {
        "submission": submission,
        "profile": figures,
        "plots": _plots(figures),
        "languages": list(figures.languages.items())[:LANGUAGES],
        "scripts": list(figures.scripts.items())[:LANGUAGES],
        "personal": [(KIND_NAMES.get(kind, kind), one) for kind, one in figures.personal.items()],
        "rules": [(RULES.get(name, name), one) for name, one in figures.rules.items()],
        "map_size": MAP_SIZE,
        "points": map_points([(p.x, p.y, p.topic, "") for p in sample.points]) if sample else [],
        "centres": _centres(figures),
        "may_read": may_read_sample(request.user, found),
        "mine": request.user == submission.user,
        "is_public": found.sample_is_public,
    }
    return render(request, "data/profile.html", context)


def _plots(figures: Profile) -> list[PlotRow]:
    rows = {
        "Characters of a document": (figures.lengths["characters"], "characters"),
        "Words of a document": (figures.lengths["words"], "words"),
        "Quality rules that a document keeps": (figures.quality, "of the rules"),
        "Compression": (figures.compression, "bytes a compressed byte"),
        "Repeated lines in a document": (figures.repetition["lines"], "of its characters"),
        "Repeated runs of five words in a document": (figures.repetition["runs"], "of its runs"),
        "Lines that are furniture of pages": (figures.boilerplate, "of its lines"),
    }
    return [PlotRow(name, mean, bar_plot(mean.histogram, unit)) for name, (mean, unit) in
            rows.items()]  # fmt: skip


def _centres(figures: Profile) -> list[Point]:
    return map_points(
        [(one.x, one.y, number, str(number + 1)) for number, one in enumerate(figures.topics)]
    )


@require_safe
def texts(request: HttpRequest, submission_id: int) -> HttpResponse:
    """The sample, for owner and staff, and for others where the owner opened it."""
    submission, found = _find(request, submission_id)
    sample = sample_of(found) if may_read_sample(request.user, found) else None
    if sample is None:
        raise Http404("there is no sample that you may read")
    figures = figures_of(found)
    wanted = Wanted.of(request.GET.dict())
    page = texts_page(sample, wanted)
    context = {
        "submission": submission,
        "wanted": wanted,
        "page": page,
        "total": len(sample.texts),
        "query": request.GET,
        "previous": page.page - 1 if page.page > 1 else None,
        "next": page.page + 1 if page.page < page.pages else None,
        "languages": sorted({text.language for text in sample.texts}),
        "topics": [(number, topic.name) for number, topic in enumerate(figures.topics)],
        "lengths": list(LENGTHS),
        "qualities": list(QUALITIES),
    }
    return render(request, "data/texts.html", context)


@login_required
@require_POST
def sample_choose(request: UserRequest, submission_id: int) -> HttpResponse:
    """The owner opens or closes the sample for the public."""
    submission, _ = _find(request, submission_id)
    with refusal_as_message(request):
        sample_open(
            submission=submission, user=request.user, public=request.POST.get("public") == "yes"
        )
    return redirect("data", submission_id)


@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    """Two datasets side by side, `?s=1&s=2`, of submissions that the visitor may see."""
    context: dict[str, Any] = {"page": None, "problem": None}
    numbers = [text for text in request.GET.getlist("s")[:3] if text]
    if not numbers:  # the page says where one chooses
        return render(request, "data/compare.html", context)
    try:
        found = [_profile_of(request, text) for text in numbers]
        if len(found) != 2 or found[0] == found[1]:
            raise Failure("refused", "choose two different submissions")
        context |= {"one": found[0].submission, "other": found[1].submission}
        context["page"] = compare_data(
            (figures_of(found[0]), figures_of(found[1])),
            (sketches_of(found[0]), sketches_of(found[1])),
            (_readable(request, found[0]), _readable(request, found[1])),
        )
    except Failure as failure:
        context["problem"] = failure.message
    status = 422 if context["problem"] else 200
    return render(request, "data/compare.html", context, status=status)


def _readable(request: HttpRequest, found: DatasetProfile) -> Any:
    return sample_of(found) if may_read_sample(request.user, found) else None


def _profile_of(request: HttpRequest, text: str) -> DatasetProfile:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Failure("not_found", "give the number of each submission")
    submission = submission_get(user=request.user, submission_id=int(text))
    found = profile_of_submission(submission)
    if found is None:
        raise Failure("not_found", f"the dataset of submission {submission.id} has no profile")
    return found
