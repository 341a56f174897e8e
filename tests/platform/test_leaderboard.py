"""Ranks: golden boards with ties and missing scores, whatever the order of the rows."""

from __future__ import annotations

import random
import re

import pytest

from crucible.boards.rows import competition_ranks, leaderboard_rows
from crucible.leaderboard.models import Score

RANK = re.compile(r'<td class="num">(.)</td>\s*<td class="num places">')


def test_competition_ranking():
    assert competition_ranks([0.9, 0.5, 0.5, 0.1, None, None]) == [1, 2, 2, 4, None, None]
    assert competition_ranks([]) == []
    assert competition_ranks([None]) == [None]
    assert competition_ranks([-0.1]) == [1]


@pytest.mark.django_db
def test_the_board_ranks_the_best_first_and_the_unscored_last(alice, publish, client):
    values = [0.1, None, -0.2, 0.3, 0.1, 0.0]
    names = "abcdef"
    pairs = list(zip(names, values, strict=True))
    random.Random(1).shuffle(pairs)
    for name, value in pairs:
        submission = publish(alice, name=name)
        Score.objects.filter(submission=submission).update(smoke=value)
    rows = leaderboard_rows(track="filtering", scale="smoke")
    board = [(row.rank, row.score.name) for row in rows]
    tied = sorted(board[1:3])
    assert [board[0], *tied, *board[3:]] == [
        (1, "d"), (2, "a"), (2, "e"), (4, "f"), (5, "c"), (None, "b"),
    ]  # fmt: skip
    page = client.get("/leaderboard/filtering/smoke/").text
    assert page.count("<svg") == 5  # the unscored one has no dot
    drawn = re.search(r'"interval" x1="([\d.]+)" x2="([\d.]+)".*?<circle cx="([\d.]+)"', page, re.S)
    low, high, at = map(float, drawn.groups())
    assert low < at < high
    assert RANK.findall(page) == list("12245–")


@pytest.mark.django_db
def test_scores_of_another_metric_version_or_board_stay_out(alice, publish):
    submission = publish(alice)
    Score.objects.filter(submission=submission).update(metric_version="v1")
    assert leaderboard_rows(track="filtering", scale="smoke") == []
    assert len(leaderboard_rows(track="filtering", scale="smoke", metric_version="v1")) == 1
    assert leaderboard_rows(track="mixing", scale="smoke", metric_version="v1") == []


@pytest.mark.django_db
@pytest.mark.parametrize("field", ["recipe_sha256", "suite_sha256"])
def test_what_another_recipe_or_suite_made_is_shown_but_not_ranked(alice, publish, field, client):
    old, new = publish(alice, name="old"), publish(alice, name="new")
    Score.objects.filter(submission=old).update(smoke=0.9, **{field: "cd" * 32})
    rows = leaderboard_rows(track="filtering", scale="smoke")
    assert [(row.rank, row.score.submission_id, row.score.comparable) for row in rows] == [
        (1, new.id, True), (None, old.id, False),
    ]  # fmt: skip
    assert "another version" in client.get("/leaderboard/filtering/smoke/").text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("epochs", "sentence"),
    [(1.3, "once or twice"), (2.0, "2 times"), (2.4, "2 or 3 times"), (4.0, "4 times")],
)
def test_a_dataset_that_was_read_several_times_says_so(alice, publish, client, epochs, sentence):
    submission = publish(alice)
    Score.objects.filter(submission=submission).update(epochs=epochs)
    page = client.get(f"/submissions/{submission.id}/").text
    assert f"every row was read {sentence}." in page
    board = client.get("/leaderboard/filtering/smoke/").text
    assert f"×{epochs:.2f}</small>" in board
    assert "× after a name" in board


@pytest.mark.django_db
@pytest.mark.parametrize("epochs", [None, 0.4, 1.0])
def test_one_that_was_read_once_at_most_bears_no_mark(alice, publish, client, epochs):
    submission = publish(alice)
    Score.objects.filter(submission=submission).update(epochs=epochs)
    assert "was read" not in client.get(f"/submissions/{submission.id}/").text
    assert "×" not in client.get("/leaderboard/filtering/smoke/").text


@pytest.mark.django_db
def test_a_score_carries_what_the_dataset_had(alice, publish):
    score = Score.objects.get(submission=publish(alice))
    assert (score.tokens, score.unique_tokens, score.epochs) == (6, 5, 0.75)


def test_a_long_board_has_pages(alice, publish, client, monkeypatch):
    monkeypatch.setattr("crucible.boards.texts.PAGE", 2)
    names = [f"number {n}" for n in range(5)]
    for place, name in enumerate(names):
        submission = publish(alice, name=name)
        Score.objects.filter(submission=submission).update(smoke=0.5 - place / 10)
    address = "/leaderboard/filtering/smoke/"
    for page, shown, ranks in ((1, names[:2], "12"), (2, names[2:4], "34"), (3, names[4:], "5")):
        text = client.get(f"{address}?page={page}").text
        assert [name for name in names if f">{name}<" in text] == shown
        assert RANK.findall(text) == list(ranks)
        assert f"page {page} of 3, 5 submissions" in text
    assert client.get(f"{address}?page=4").status_code == 404
    assert "page 1 of 3" in client.get(f"{address}?page=nonsense").text
