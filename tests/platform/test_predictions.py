"""What boards, comparisons and pages say about a larger scale, with the site's own pairs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import caches
from django.core.checks import run_checks

from crucible.boards.candidates import next_runs_page
from crucible.boards.outlook import outlook_of
from crucible.boards.predictions import board_calibration, own_pairs, site_calibration
from crucible.boards.rows import leaderboard_rows
from crucible.boards.spreads import board_spread
from crucible.budgets.services import price_of
from crucible.entries.models import Submission, Upload
from crucible.leaderboard.models import Baseline, Score
from crucible.pages.calibration_page import calibration_page
from crucible.review.models import Item, Scan
from crucible.review.services import verdict_give
from evaluation.run_spread import published_spread
from evaluation.suite import load_suite
from evaluation.transfer.calibration import calibrate
from submissions.failures import Failure
from training_recipes.scales import load_scale

pytestmark = pytest.mark.django_db
SMALL, LARGE = "1b-1x", "7b-1x"
BOARD = f"/leaderboard/filtering/{SMALL}/"


@pytest.fixture(autouse=True)
def scales(settings: Any) -> None:
    settings.CRUCIBLE_SCALES = ["smoke", "400m-1x", SMALL, LARGE]
    settings.CRUCIBLE_TARGET_SCALE = LARGE


@pytest.fixture
def entry(alice: User, publish: Any) -> Callable[..., Score]:
    """A published entry with this CORE at a scale; `data` names its dataset, else `name` does."""
    first: list[Score] = []

    def make(name: str, core: float, scale: str = SMALL, *, data: str = "", seed: int = 1) -> Score:
        if not first:
            first.append(publish(alice, name=name).scores.get())
            score = first[0]
        else:  # a copy: going through the pipeline takes a second
            score = Score.objects.get(id=first[0].id)
            submission = Submission.objects.get(id=score.submission_id)
            submission.id, submission.name = None, name
            submission.upload = Upload.objects.create(user=alice)
            submission.save()
            score.id, score.submission = None, submission
        Submission.objects.filter(id=score.submission_id).update(scale=scale)
        score.submission.refresh_from_db()
        score.label, score.smoke, score.smoke_stderr = "CORE", None, None
        score.core, score.core_stderr, score.seed = core, 0.006, seed
        score.manifest_sha256 = sha256((data or name).encode()).hexdigest()
        score.suite_sha256 = load_suite("full").hash
        score.recipe_sha256 = load_scale(scale).recipe_sha256
        score.save()
        return score

    return make


def rows_of(client: Any, query: str = "?column=predicted&sort=-predicted") -> list[dict[str, str]]:
    answer = client.get(f"{BOARD}board.csv{query}")
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_a_column_predicts_by_the_calibration_and_sorts(entry, client) -> None:
    entry("low", 0.25)
    entry("high", 0.28)
    entry("beyond", 0.35)
    line = calibrate(SMALL, LARGE, "official").line
    rows = rows_of(client)
    assert [row["name"] for row in rows] == ["high", "low", "beyond"]
    expected = line.predict(0.28)
    assert float(rows[0]["predicted"]) == pytest.approx(expected.value)
    assert float(rows[0]["predicted_low"]) == pytest.approx(expected.value - expected.half_width)
    assert rows[2]["predicted"] == ""
    assert rows[2]["no_prediction"] == "its score is outside the calibrated range 21.0 to 28.4"
    found = client.get(f"{BOARD}board.json?column=predicted").json()["rows"]
    assert found[0]["name"] == "beyond"
    assert found[0]["predicted"] is None
    text = client.get(f"{BOARD}?column=predicted").text
    assert "Predicted at 7b-1x (90 %)" in text
    assert "41.9 ± 3.1" in text
    assert f'href="/transfer/{SMALL}/{LARGE}/">What a score here tells' in client.get(BOARD).text
    assert "No prediction in 1 row of this page: its score is outside" in text
    assert [row["name"] for row in rows_of(client, "?column=predicted&sort=predicted")] == [
        "low", "high", "beyond",
    ]  # fmt: skip


def test_baselines_are_predicted_without_their_own_pair_and_not_under_another_recipe(
    client,
) -> None:
    pair = next(p for p in calibrate(SMALL, LARGE, "official").pairs if p.source > 0.27)
    for number, (name, deviations) in enumerate(((pair.dataset, []), ("x", ["learning rate 1"]))):
        Baseline.objects.create(
            origin="DCLM", reference=str(number), name=name, scale=SMALL, source="-",
            deviations=deviations, scores={"v2": {"core": pair.source}},
        )  # fmt: skip
    known, other = rows_of(client)
    calibration = calibrate(SMALL, LARGE, "official")
    without = calibration.without(frozenset({pair.dataset}))
    assert float(known["predicted"]) == pytest.approx(without.predict(pair.source).value)
    assert float(known["predicted"]) != pytest.approx(calibration.line.at(pair.source))
    assert float(known["measured"]) == pytest.approx(pair.target)
    assert (other["predicted"], other["no_prediction"]) == ("", "it was trained by another recipe")


def test_boards_without_a_calibration_have_no_such_column(client, settings) -> None:
    assert client.get(f"{BOARD}?column=predicted").status_code == 200
    for page in ("/leaderboard/filtering/smoke/", f"/leaderboard/filtering/{LARGE}/"):
        assert client.get(f"{page}?column=predicted").status_code == 404
        assert "Predicted at" not in client.get(page).text
    settings.CRUCIBLE_TARGET_SCALE = "7b-2x"  # two published pairs
    assert client.get(f"{BOARD}?column=predicted").status_code == 404
    settings.CRUCIBLE_TARGET_SCALE = ""
    assert client.get(f"{BOARD}?column=predicted").status_code == 404


def test_other_metric_versions_and_recipes_are_not_predicted(entry, client) -> None:
    score = entry("one", 0.25)
    Score.objects.filter(id=score.id).update(recipe_sha256="cd" * 32)
    assert rows_of(client)[0]["no_prediction"] == "it has another version of recipe or suite"
    Score.objects.filter(id=score.id).update(metric_version="v1")
    rows = rows_of(client, "?column=predicted&metric=v1")
    assert rows[0]["no_prediction"] == "lines are fitted under metric version v2"


def test_a_dataset_with_runs_at_both_scales_is_a_pair(entry, client, staff) -> None:
    entry("pool", 0.25, data="a")
    entry("pool again", 0.27, data="a", seed=2)
    entry("pool", 0.40, LARGE, data="a")
    entry("another", 0.26)
    (pair,) = own_pairs(SMALL, LARGE).values()
    assert (pair.source, pair.target) == (pytest.approx(0.26), pytest.approx(0.40))
    rows = {row["name"]: row for row in rows_of(client)}
    assert float(rows["pool"]["measured"]) == pytest.approx(0.40)
    assert rows["another"]["measured"] == ""
    # Its own pair does not predict it.
    plain = calibrate(SMALL, LARGE, "official").line
    assert float(rows["pool"]["predicted"]) == pytest.approx(plain.at(0.25))
    assert float(rows["another"]["predicted"]) != pytest.approx(plain.at(0.26))
    # A score that reviewers withheld is in no pair.
    task = next(task.label for task in load_suite("full").tasks if task.core)
    scan = Scan.objects.get()  # of the one that went through the pipeline
    item = Item.objects.create(scan=scan, task=task, severity="high", examples=3, holds=False)
    verdict_give(item_id=item.id, reviewer=staff, kind="exclude_task", reason="It is there.")
    (pair,) = own_pairs(SMALL, LARGE).values()
    assert pair.source == pytest.approx(0.27)


def test_enough_pairs_of_its_own_replace_the_published_ones(entry) -> None:
    for number in range(9):
        for scale, core in (("400m-1x", 0.1 + number / 100), ("3b-1x", 0.3 + number / 50)):
            entry(f"{number}", core, scale)
    found = site_calibration("400m-1x", "3b-1x")
    assert found.calibration.line.slope == pytest.approx(2.0)
    assert len(found.own) == len(found.calibration.datasets) == 9
    with pytest.raises(Failure) as raised:
        site_calibration(SMALL, "3b-1x")
    assert raised.value.code == "too_few_pairs"


def test_pairs_that_all_score_the_same_give_no_line_and_no_error(entry, client) -> None:
    for number in range(15):
        for scale in (SMALL, LARGE):
            entry(f"{number}", 0.25, scale)
    rows = rows_of(client)
    assert {row["no_prediction"] for row in rows} == {"its pairs give no line"}
    assert client.get(f"{BOARD}?column=predicted").status_code == 200


# -- a comparison ----------------------------------------------------------------------------------


@pytest.fixture
def compared(client: Any, monkeypatch: Any) -> Callable[..., str]:
    """The page that compares two scores, whose answers differ by so much ± 0.3 points."""
    from crucible.boards.comparison import Comparison
    from evaluation.statistics import Estimate

    def page(one: Score, other: Score) -> str:
        gap = one.core - other.core
        estimate = Estimate(gap, 0.003, (gap - 0.006, gap + 0.006), 0.001)
        found = Comparison({"core": estimate}, {}, set())
        monkeypatch.setattr("crucible.pages.compare.compare", lambda *scores: found)
        answer = client.get(f"/compare/?s={one.submission_id}&s={other.submission_id}")
        assert answer.status_code == 200
        return re.sub(r"<[^>]+>", "", " ".join(answer.text.split()))

    return page


def test_a_comparison_gives_the_chance_at_the_larger_scale(entry, compared) -> None:
    low, near, high = entry("low", 0.24), entry("near", 0.25), entry("high", 0.28)
    line = calibrate(SMALL, LARGE, "official").line
    text = compared(near, low)
    assert f"{line.chance(0.25, 0.24):.2f} that A is better at 7b-1x" in text
    assert "the two cannot be separated there" in text
    assert "0.71 that A is better" in text
    text = compared(low, high)
    assert f"{line.chance(0.24, 0.28):.2f} that A is better at 7b-1x: B is the better one" in text
    assert "15 datasets, 0 of this site" in text


def test_what_was_measured_stands_beside_the_chance(entry, compared) -> None:
    low, high = entry("low", 0.24), entry("high", 0.28)
    entry("low", 0.5, LARGE)  # far off the line: it must not tell of itself
    line = calibrate(SMALL, LARGE, "official").line
    text = compared(low, high)
    assert f"{line.chance(0.24, 0.28):.2f} that A is better at 7b-1x" in text
    assert "Measured there: A 50.0, B –" in text


def test_what_cannot_be_predicted_is_said_in_the_comparison(entry, compared, settings) -> None:
    one, beyond, small = entry("one", 0.25), entry("b", 0.4), entry("small", 0.12, "400m-1x")
    assert "No prediction: B scores 0.4000 at 1b-1x, outside the calibrated range" in compared(
        one, beyond
    )
    assert "No prediction: the two are of different scales" in compared(one, small)
    again = entry("one again", 0.26, data="one", seed=2)
    assert "No prediction: both are runs of one dataset" in compared(one, again)
    assert outlook_of(entry("x", 0.4, LARGE), entry("y", 0.4, LARGE)) is None
    settings.CRUCIBLE_TARGET_SCALE = "7b-2x"
    text = compared(one, beyond)
    assert "No prediction from 1b-1x to 7b-2x: 2 calibration pairs, 8 needed" in text


# -- errors that know the seed ---------------------------------------------------------------------


def test_the_spread_is_of_the_repeats_or_published_and_labelled(entry) -> None:
    suite = load_suite("full")
    entry("a", 0.25, data="a")
    found = board_spread("filtering", SMALL, suite)
    assert found.borrowed
    assert found.stdev == published_spread().stdev
    entry("a again", 0.27, data="a", seed=2)
    entry("copy", 0.4, data="a", seed=2)  # the same seed: no repeat
    entry("b", 0.20)
    found = board_spread("filtering", SMALL, suite)
    assert (found.borrowed, found.repeats) == (False, 1)
    assert found.stdev == pytest.approx(((2 * 0.01**2 + published_spread().stdev ** 2) / 2) ** 0.5)
    assert board_spread("mixing", SMALL, suite).borrowed
    assert board_spread("filtering", "smoke", load_suite("smoke")) is None


def test_ranks_leave_open_what_the_seed_would_change(entry, client) -> None:
    for name, core in (("a", 0.30), ("b", 0.24)):
        entry(name, core, data=name)
    assert [row.places.worst for row in leaderboard_rows(track="filtering", scale=SMALL)] == [1, 2]
    assert "published repeats, for want of repeats here" in client.get(BOARD).text
    for number in range(4):  # repeats that lie far apart
        entry(f"c{number}", 0.20 + number / 20, data="c", seed=number)
    rows = leaderboard_rows(track="filtering", scale=SMALL)
    assert rows[0].score.name == "c3"
    assert rows[0].places.worst == 6
    caches["boards"].clear()  # the scores here come without the revision of their board
    assert "3 repeats on this board" in client.get(BOARD).text


def test_the_page_says_how_much_is_questions_and_how_much_is_runs(entry, compared, client) -> None:
    one, other = entry("one", 0.258), entry("other", 0.25)
    text = compared(one, other)
    runs = 2**0.5 * published_spread().stdev
    share = runs**2 / (runs**2 + 0.003**2)
    assert f"± 0.30 from the questions and ± {100 * runs:.2f} from the runs" in text
    assert f"{100 * share:.0f} % of the variance is the runs" in text.replace("&#x27;", "'")
    assert "No evidence of a difference in CORE" in text  # the questions alone say p = 0.001
    assert "other questions of the same kind or another seed could" in text
    page = client.get(f"/submissions/{one.submission_id}/").text
    assert "CORE of this dataset, another seed allowed for" in page
    assert "DCLM's published repeats" in page.replace("&#x27;", "'")


# -- the page of a calibration ---------------------------------------------------------------------


def test_the_page_shows_pairs_errors_and_reliability(entry, client) -> None:
    entry("pool <a>", 0.25)
    entry("pool <a>", 0.40, LARGE)
    answer = client.get(f"/transfer/{SMALL}/{LARGE}/")
    assert answer.status_code == 200
    page = calibration_page(SMALL, LARGE, "official")
    assert len(page.rows) == 15 + 5 + 1
    assert sum(row.held_out is not None for row in page.rows) == 6
    assert answer.text.count("<circle") == len(page.rows) + len(page.reliability.marks)
    assert "pool &lt;a&gt;" in answer.text
    assert "pool <a>" not in answer.text
    published = client.get(f"/transfer/{SMALL}/{LARGE}/?recipe=published").text
    for figure in ("0.085", "0.147", "14 of 15", "0.83"):  # docs/transfer.md
        assert figure in published, figure
    assert "pool &lt;a&gt;" not in published
    frame = page.scatter.frame
    for mark in page.scatter.marks:
        assert frame.left <= mark.x <= frame.right
        assert frame.top <= mark.y <= frame.bottom
    for point in page.scatter.band.split():
        x, y = map(float, point.split(","))
        assert frame.left <= x <= frame.right
        assert frame.top <= y <= frame.bottom


def test_pages_of_scales_without_pairs_say_so(client) -> None:
    answer = client.get(f"/transfer/{SMALL}/7b-2x/")
    assert answer.status_code == 422
    assert "2 calibration pairs, 8 needed" in answer.text
    assert client.get(f"/transfer/{LARGE}/{SMALL}/").status_code == 404
    assert client.get(f"/transfer/{SMALL}/moon/").status_code == 404
    assert client.get(f"/transfer/{SMALL}/{LARGE}/?recipe=mine").status_code == 404
    assert client.get("/transfer/1B-1x/7B-1x/").status_code == 200
    assert client.post(f"/transfer/{SMALL}/{LARGE}/").status_code == 405


# -- the next runs ---------------------------------------------------------------------------------


def test_organisers_see_which_entries_to_run_next(entry, client, alice) -> None:
    for name, core in (("good", 0.28), ("middle", 0.26), ("poor", 0.22), ("beyond", 0.4)):
        entry(name, core)
    entry("done", 0.27)
    entry("done", 0.41, LARGE)
    price = price_of(LARGE)
    page = next_runs_page(SMALL, LARGE, 2 * price)
    assert (page.runs, page.left_out, page.done, page.best) == (2, 1, 1, pytest.approx(0.41))
    assert [one.row.score.name for one in page.candidates] == ["good", "middle", "poor"]
    first, second, third = (one.promotion for one in page.candidates)
    assert first.gain > second.gain > 0
    assert third is None
    assert next_runs_page(SMALL, LARGE, price / 2).runs == 0
    address = f"/transfer/{SMALL}/{LARGE}/next/"
    assert client.get(address).status_code == 302
    client.force_login(alice)
    assert client.get(address).status_code == 403
    alice.groups.set(Group.objects.filter(name="organiser"))
    assert "good" in client.get(f"{address}?hours={2 * price}").text
    for wrong in ("-1", "many", "nan", "1e99"):
        answer = client.get(f"{address}?hours={wrong}")
        assert answer.status_code == 422
        assert "Give a number of H100-hours" in answer.text


def test_a_target_that_does_not_exist_stops_the_start(settings) -> None:
    settings.CRUCIBLE_TARGET_SCALE = "9b"
    assert "crucible.E008" in {problem.id for problem in run_checks()}
    for right in ("", LARGE):
        settings.CRUCIBLE_TARGET_SCALE = right
        assert "crucible.E008" not in {problem.id for problem in run_checks()}


def test_a_board_without_a_target_has_no_calibration(settings) -> None:
    assert board_calibration(SMALL) is not None
    settings.CRUCIBLE_TARGET_SCALE = SMALL
    assert board_calibration(SMALL) is None
