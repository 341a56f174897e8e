"""What the site knows beyond one figure: intervals, ties, comparisons, seeds, metric versions."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.cache import caches
from django.core.checks import run_checks
from django.core.management import call_command

from crucible.boards.comparison import compare, runs_with_other_seeds
from crucible.boards.places import _shared_errors, places_on_board
from crucible.boards.rows import leaderboard_rows, row_documents
from crucible.jobs import pipeline
from crucible.leaderboard import suites
from crucible.leaderboard.models import Score
from crucible.leaderboard.records import answers_of_records, records_keep, records_path
from crucible.leaderboard.services import rescore_all
from crucible.pages.submission_page import task_rows
from crucible.review.selectors import Marks
from evaluation.answers import read_answers, strata_of
from evaluation.examples import Example
from evaluation.option_bytes import option_bytes
from evaluation.records import write_records
from evaluation.rescore import results_of, score_with_records
from evaluation.statistics import ADDED, covariance, figures_of
from evaluation.suite import Suite, load_suite, rows_by_category, task_path
from submissions.codec import to_json
from submissions.failures import Failure
from submissions.hashing import file_sha256
from submissions.job import Artifact

pytestmark = pytest.mark.django_db
BOARD = {"track": "filtering", "scale": "smoke"}


def records_of(folder: Any, chance: float, seed: int) -> Any:
    """A parquet file of a model that is right with this chance, on questions hard for all alike."""
    suite = load_suite("smoke")
    hardness, own = np.random.default_rng(5), np.random.default_rng(seed)
    examples = []
    for task in suite.tasks:
        for category, rows in rows_by_category(task, task_path(suite, task, None)):
            shared = own.random(len(rows)) > 0.3
            level = np.where(shared, hardness.random(len(rows)), own.random(len(rows)))
            examples += [
                Example(task.label, index, category, bool(one < chance), None, 0)
                for index, one in zip(rows, level, strict=True)
            ]
    path = folder / f"{seed}-{chance}.parquet"
    write_records(path, examples, suite.hash)
    return path


@pytest.fixture
def publish_run(publish: Any, settings: Any, tmp_path: Any) -> Callable[..., Score]:
    """A published submission whose score comes from real records."""
    settings.RECORDS_DIR = tmp_path / "records"

    def make(user: Any, name: str, chance: float, seed: int = 0, data: str = "") -> Score:
        """`data` names the dataset; each run is of another one unless it is given."""
        submission = publish(user, name=name, seed=100 + seed)
        made = records_of(tmp_path, chance, seed)
        kept = records_keep(Artifact(made.as_uri(), file_sha256(made)))
        answers = read_answers(made)
        score = score_with_records(load_suite("smoke"), results_of(answers), answers, "v2")
        document = to_json(score)
        names = ("smoke", "smoke_stderr", "intervals", "tasks", "categories")
        Score.objects.filter(submission=submission).update(
            manifest_sha256=sha256((data or f"{user} {name}").encode()).hexdigest(),
            records_sha256=kept,
            **{name: document[name] for name in names},
        )
        return Score.objects.get(submission=submission, metric_version="v2")

    return make


def test_records_are_kept_by_their_hash_once(settings, tmp_path):
    settings.RECORDS_DIR = tmp_path / "kept"
    made = records_of(tmp_path, 0.5, 1)
    sha256 = file_sha256(made)
    for _ in range(2):
        assert records_keep(Artifact(made.as_uri(), sha256)) == sha256
    assert [path.name for path in settings.RECORDS_DIR.iterdir()] == [f"{sha256}.parquet"]
    assert file_sha256(records_path(sha256)) == sha256
    with pytest.raises(Failure) as raised:
        records_keep(Artifact(made.as_uri(), "0" * 64))
    assert raised.value.code == "artifact_corrupt"


def test_publishing_keeps_what_the_score_stage_made(
    alice, make_submission, backend, succeed, settings, tmp_path
):
    settings.RECORDS_DIR = tmp_path / "kept"
    made = records_of(tmp_path, 0.5, 1)

    def outcome(key: str) -> Any:
        status = succeed(key)
        if "-score-" in key:
            status.document["outputs"]["records"] = {
                "uri": made.as_uri(), "sha256": file_sha256(made)
            }  # fmt: skip
        return status

    backend.outcome = outcome
    submission = make_submission(alice)
    for _ in range(10):
        pipeline.submission_advance(submission_id=submission.id)
    score = Score.objects.get(submission=submission)
    assert score.records_sha256 == file_sha256(made)
    assert answers_of_records(score.records_sha256)["smoke_article"].correct.any()
    assert backend.specs[f"{submission.id}-score-a1"].document["inputs"].keys() == {
        "results", "examples"
    }  # fmt: skip


def test_the_board_says_which_places_are_open(alice, publish_run, client):
    for name, chance, seed in (("top", 0.61, 1), ("near", 0.6, 2), ("far", 0.3, 3)):
        publish_run(alice, name, chance, seed)
    rows = leaderboard_rows(**BOARD)
    places = [(row.score.name, row.places.best, row.places.worst) for row in rows]
    assert places[2] == ("far", 3, 3)
    assert {place[1:] for place in places[:2]} == {(1, 2)}
    assert row_documents(rows)[0]["places"] == [1, 2]
    page = client.get("/leaderboard/filtering/smoke/").text
    assert page.count('class="leading"') == 2
    assert re.search(r'class="num places">1–2<', page)
    assert re.search(r'class="num places">3<', page)


def test_pairs_are_told_apart_better_with_their_answers_than_without(alice, publish_run):
    """The second is right where the first is, but for a few: that its answers alone can show."""
    scores = [publish_run(alice, "a", 0.53, 1), publish_run(alice, "b", 0.5, 1)]
    assert [place.worst for place in places_on_board(load_suite("smoke"), "v2", scores)] == [1, 2]
    Score.objects.update(records_sha256="")
    blind = places_on_board(load_suite("smoke"), "v2", Score.objects.order_by("-smoke"))
    assert [(place.best, place.worst) for place in blind] == [(1, 2), (1, 2)]


def test_what_was_found_of_all_pairs_is_kept(alice, publish_run, monkeypatch):
    """A board that only lost a row reads no answers again; a new row is told from all others."""
    runs = [publish_run(alice, f"{n}", 0.5 + n / 10, n) for n in (3, 2, 1)]
    before = places_on_board(load_suite("smoke"), "v2", runs[1:])
    everybody = places_on_board(load_suite("smoke"), "v2", runs)
    with monkeypatch.context() as patched:
        patched.setattr("crucible.boards.places.answers_of_records", None)
        assert places_on_board(load_suite("smoke"), "v2", runs[1:]) == before
        assert places_on_board(load_suite("smoke"), "v2", runs) == everybody
    new = publish_run(alice, "new", 0.81, 4)
    places = places_on_board(load_suite("smoke"), "v2", [new, *runs])
    caches["boards"].clear()
    assert places_on_board(load_suite("smoke"), "v2", [new, *runs]) == places
    assert [place.worst for place in places] == [2, 2, 3, 4]


def test_the_kept_bits_say_what_the_answers_say(settings, tmp_path):
    """The covariance of CORE from bits is that from the answers, two tasks on one file included."""
    settings.RECORDS_DIR = tmp_path / "kept"
    suite, draw = load_suite("full"), np.random.default_rng(3)
    records = []
    for n in range(5):
        examples = [
            Example(task.label, index, "ab"[index % 2], bool(draw.random() < 0.4), None, 0)
            for task in suite.tasks
            for index in range(7 if n < 4 else 8)  # the last was asked something else
        ]
        made = tmp_path / f"{n}.parquet"
        write_records(made, examples, suite.hash)
        records.append(records_keep(Artifact(made.as_uri(), file_sha256(made))))
    records.insert(1, "ef" * 32)  # not kept
    rows, errors = _shared_errors(suite, records, "core", "v2")
    assert rows == [0, 2, 3, 4]
    answers = [answers_of_records(records[row]) for row in rows]
    strata = strata_of(suite, answers)
    assert any(len(stratum.labels) > 1 for stratum in strata)
    core = next(f for f in figures_of(suite, "v2", list(answers[0])) if f.name == "core")
    assert np.allclose(errors, covariance(strata, core, added=ADDED), rtol=1e-12, atol=0)


def test_a_score_without_an_error_has_no_place(alice, publish):
    publish(alice)
    Score.objects.update(smoke_stderr=None)
    (row,) = leaderboard_rows(**BOARD)
    assert row.places is None
    assert row.rank == 1


def test_two_submissions_are_compared_question_by_question(alice, bob, publish_run, client):
    one, other = publish_run(alice, "good <data>", 0.65, 1), publish_run(bob, "poor data", 0.4, 2)
    found = compare(one, other)
    smoke = found.figures["smoke"]
    assert smoke.value == pytest.approx(one.smoke - other.smoke)
    assert 0 < smoke.interval[0] < smoke.value < smoke.interval[1]
    assert smoke.p < 1e-6
    assert len(found.tasks) == 10
    page = client.get(f"/compare/?s={one.submission_id}&s={other.submission_id}")
    assert page.status_code == 200
    assert "good &lt;data&gt; is better in SMOKE" in page.text
    assert "&lt; 0.001" in page.text
    assert page.text.count("<svg") == 11
    swapped = client.get(f"/compare/?s={other.submission_id}&s={one.submission_id}").text
    assert "good &lt;data&gt; is better in SMOKE" in swapped


def test_what_cannot_be_told_apart_is_said_so(alice, publish_run, client):
    one, other = publish_run(alice, "one", 0.5, 1), publish_run(alice, "other", 0.5, 2)
    page = client.get(f"/compare/?s={one.submission_id}&s={other.submission_id}").text
    assert "No evidence of a difference in SMOKE" in page


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("s=1&s=2&s=3", "Choose only two submissions"),
        ("s=x&s=1", "Give the number of each submission"),
        ("s=999999&s=999998", "no published submission 999999"),
        ("s=9999999999999999999999&s=1", "Give the number of each submission"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(client, query, sentence):
    response = client.get(f"/compare/?{query}")
    assert response.status_code == 422
    assert sentence in response.text


def test_without_two_the_page_is_the_form(alice, publish_run, client):
    score = publish_run(alice, "one", 0.5, 1)
    for query in ("", f"?s={score.submission_id}"):
        response = client.get(f"/compare/{query}")
        assert response.status_code == 200
        assert "one · alice" in response.text
    assert client.post("/compare/").status_code == 405


def test_unpublished_submissions_cannot_be_compared(alice, publish_run, make_submission, client):
    score, hidden = publish_run(alice, "one", 0.5, 1), make_submission(alice, name="hidden name")
    client.force_login(alice)
    response = client.get(f"/compare/?s={score.submission_id}&s={hidden.id}")
    assert response.status_code == 422
    assert "hidden name" not in response.text


def test_other_questions_or_lost_answers_are_refused(alice, publish_run, client):
    one, other = publish_run(alice, "one", 0.5, 1), publish_run(alice, "other", 0.6, 2)
    address = f"/compare/?s={one.submission_id}&s={other.submission_id}"
    Score.objects.filter(id=other.id).update(suite_sha256="cd" * 32)
    assert "different questions" in client.get(address).text
    Score.objects.filter(id=other.id).update(suite_sha256=one.suite_sha256, records_sha256="")
    assert "answers of other were not kept" in client.get(address).text
    same = client.get(f"/compare/?s={one.submission_id}&s={one.submission_id}").text
    assert "two different submissions" in same


def test_a_mean_that_a_reviewer_withheld_is_not_compared(alice, publish_run, client, monkeypatch):
    one, other = publish_run(alice, "one", 0.5, 1), publish_run(alice, "other", 0.6, 2)
    marks = {other.submission_id: Marks(marked=(), excluded=("smoke_article",))}
    monkeypatch.setattr("crucible.pages.compare.marks_of", lambda numbers: marks)
    page = client.get(f"/compare/?s={one.submission_id}&s={other.submission_id}").text
    assert "Both submissions need a SMOKE to be compared." in page
    assert "Differences of the scores" not in page
    assert page.count("<svg") == 10


def test_runs_with_several_seeds_show_how_far_they_lie_apart(alice, bob, publish_run, client):
    runs = [publish_run(alice, f"run {seed}", 0.5, seed, "one") for seed in (1, 2, 3)]
    publish_run(bob, "another's", 0.9, 4)
    found = runs_with_other_seeds(runs[0])
    assert [score.seed for score in found.scores] == [101, 102, 103]
    values = [run.smoke for run in runs]
    assert found.spread.stdev == pytest.approx(np.std(values, ddof=1))
    page = client.get(f"/submissions/{runs[0].submission_id}/").text
    assert "3 runs of this dataset with different seeds" in page
    Score.objects.exclude(id=runs[0].id).update(manifest_sha256="cd" * 32)
    assert runs_with_other_seeds(runs[0]) is None


def test_the_page_of_a_score_shows_intervals_and_guessing(alice, publish_run, client):
    score = publish_run(alice, "one", 0.5, 1)
    page = client.get(f"/submissions/{score.submission_id}/").text
    low, high = score.interval
    assert f"95 % interval: {100 * low:.1f} to {100 * high:.1f}" in page
    rows = {row.label: row for row in task_rows(score)}
    # Right in half of the questions: well above guessing among four, not between two.
    assert rows["smoke_word_order"].beats_chance is True
    assert rows["smoke_article"].beats_chance is False
    assert "no evidence" in page
    assert score.records_sha256 in page


def test_an_organisers_own_suite_judges_every_scale_but_smoke(settings, tmp_path, client):
    path = tmp_path / "europe.json"
    settings.CRUCIBLE_SUITE, settings.CRUCIBLE_SCALES = str(path), ["smoke", "400m-1x"]
    path.write_text("{}")
    assert "crucible.E007" in {problem.id for problem in run_checks()}
    row = {"label": "capitals", "category": "knowledge", "type": "schema", "shots": 0, "file": "a",
           "sha1": "0" * 40, "baselines": {"v1": 50, "v2": 50}}  # fmt: skip
    suite = {"name": "europe", "max_seq_len": 64, "batch_size": 1, "tasks": [row]}
    path = tmp_path / "right.json"
    path.write_text(json.dumps(suite))
    settings.CRUCIBLE_SUITE = str(path)
    assert "crucible.E007" not in {problem.id for problem in run_checks()}
    assert suites.board_suite("400m-1x").name == "europe"
    assert suites.board_suite("smoke").name == "smoke"
    page = client.get("/leaderboard/filtering/400m-1x/").text
    assert "ranked by EUROPE, the mean over 1 task." in page


# -- metric versions -------------------------------------------------------------------------------


@pytest.fixture
def two_versions(monkeypatch: Any) -> Suite:
    """The smoke suite, as if metric version v1 had believed in another baseline."""
    smoke = load_suite("smoke")
    first = replace(smoke.tasks[0], baselines={"v1": 10.0, "v2": 25.0})
    suite = replace(smoke, tasks=(first, *smoke.tasks[1:]))
    monkeypatch.setattr(suites, "load_suite", lambda name: suite)
    return suite


def test_rescoring_needs_the_stored_answers_alone(alice, publish_run, two_versions, client):
    score = publish_run(alice, "one", 0.5, 1)
    Score.objects.exclude(id=score.id).delete()  # as if v1 had come later
    assert rescore_all() == (1, 0)
    assert rescore_all() == (0, 0)
    again = Score.objects.get(metric_version="v1")
    label = two_versions.tasks[0].label
    accuracy = score.tasks[label]["score"]
    assert again.tasks[label]["centered"] == pytest.approx((accuracy - 0.1) / 0.9)
    assert again.tasks[label]["score"] == accuracy
    moved = ((accuracy - 0.1) / 0.9 - (accuracy - 0.25) / 0.75) / 10
    assert again.smoke - score.smoke == pytest.approx(moved)
    assert again.interval[0] < again.smoke < again.interval[1]
    assert again.records_sha256 == score.records_sha256
    assert (again.created_at, again.loss, again.seed) == (score.created_at, score.loss, score.seed)

    # Each version has its board, the other's figure beside it, never in the same column.
    page = client.get("/leaderboard/filtering/smoke/").text
    assert "SMOKE v1" in page
    assert f"{100 * again.smoke:.1f}</td>" in page
    other = client.get("/leaderboard/filtering/smoke/?metric=v1").text
    assert "SMOKE v2" in other
    assert "Metric version v1." in other
    assert client.get("/leaderboard/filtering/smoke/?metric=v3").status_code == 404
    assert "SMOKE, metric version v1" in client.get(f"/submissions/{score.submission_id}/").text


def test_rescoring_old_scores_without_records(alice, publish, two_versions, capsys):
    score = Score.objects.get(submission=publish(alice), metric_version="v2")
    label = two_versions.tasks[0].label
    Score.objects.exclude(id=score.id).delete()
    Score.objects.update(tasks={label: next(iter(score.tasks.values()))})
    call_command("rescore")
    assert "1 scores added" in capsys.readouterr().out
    again = Score.objects.get(metric_version="v1")
    assert (again.intervals, again.records_sha256) == ({}, "")
    assert again.tasks[label]["centered"] == pytest.approx((0.5 - 0.1) / 0.9)


def test_a_suite_that_is_gone_cannot_be_scored_anew(alice, publish, capsys):
    publish(alice)
    Score.objects.update(suite_sha256="cd" * 32)
    call_command("rescore")
    shown = capsys.readouterr().out
    assert "0 scores added" in shown
    assert "1 submissions skipped" in shown


def test_publishing_scores_every_version_that_differs(alice, publish, two_versions):
    publish(alice)
    assert set(Score.objects.values_list("metric_version", flat=True)) == {"v1", "v2"}


def test_versions_that_are_the_same_are_one_score(alice, publish, client):
    publish(alice)
    assert Score.objects.count() == 1
    assert "Metric version</span>" not in client.get("/leaderboard/filtering/smoke/").text


# -- soft means ------------------------------------------------------------------------------------


def likely_records(folder: Path, chance: float) -> tuple[Path, float]:
    """Answers whose right option has this probability, the others share the rest; the soft mean."""
    suite, examples, means = load_suite("smoke"), [], []
    for task in suite.tasks:
        sizes = option_bytes(suite, task, None)
        chooses = task.type in ("multiple_choice", "schema")
        for category, rows in rows_by_category(task, task_path(suite, task, None)):
            for index in rows:
                wrong = len(sizes[index]) - 1
                options = [math.log(chance), *([math.log((1 - chance) / max(wrong, 1))] * wrong)]
                counts = [1] * len(options)
                examples.append(Example(task.label, index, category, True, 0, 0, options, counts))
        guess = float(np.mean([1 / len(row) for row in sizes])) if chooses else 0.0
        means.append((chance - guess) / (1 - guess))
    path = folder / f"likely-{chance}.parquet"
    write_records(path, examples, suite.hash)
    return path, float(np.mean(means))


def test_soft_means_stand_beside_the_score_and_rescore_adds_them(
    alice, publish_run, client, capsys, tmp_path
):
    score = publish_run(alice, "one", 0.5, 1)
    page = f"/submissions/{score.submission_id}/"
    assert "Soft SMOKE" not in client.get(page).text
    call_command("rescore")
    assert "soft means added to 0 scores" in capsys.readouterr().out  # no probabilities in it
    made, expected = likely_records(tmp_path, 0.6)
    kept = records_keep(Artifact(made.as_uri(), file_sha256(made)))
    Score.objects.filter(id=score.id).update(records_sha256=kept)
    call_command("rescore")
    assert "soft means added to 1 scores" in capsys.readouterr().out
    score.refresh_from_db()
    assert score.soft_value["value"] == pytest.approx(expected)
    text = client.get(page).text
    assert "Soft SMOKE" in text
    assert f"<dd>{100 * expected:.1f}" in text
    call_command("rescore")
    assert "soft means added to 0 scores" in capsys.readouterr().out
