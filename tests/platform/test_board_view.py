"""Boards as visitors turn them: sorted, filtered, other columns, baselines, taken away."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from crucible.leaderboard.models import Baseline, Score
from crucible.review.models import Item, Scan
from crucible.review.services import verdict_give
from evaluation.baselines import DATAPOINTS
from evaluation.suite import load_suite
from training_recipes.scales import load_scale

pytestmark = pytest.mark.django_db
PAGE = "/leaderboard/filtering/smoke/"
LARGE = "/leaderboard/filtering/1b-1x/"
NAME = re.compile(r'<th scope="row"><a href="[^"]+"><bdi>([^<]+)</bdi></a>')


@pytest.fixture
def three(alice, bob, publish) -> None:
    """Entries whose order by score, loss and name differ."""
    for name, user, smoke, loss in (
        ("beech", alice, 0.3, 3.0), ("Ash", bob, 0.2, 2.0), ("cedar", alice, 0.1, 2.5),
    ):  # fmt: skip
        submission = publish(user, name=name)
        Score.objects.filter(submission=submission).update(smoke=smoke, loss=loss)


def names(client: Any, query: str = "", page: str = PAGE) -> list[str]:
    answer = client.get(page + query)
    assert answer.status_code == 200
    return NAME.findall(answer.text)


def test_every_column_sorts_in_both_directions_and_says_so(three, client) -> None:
    assert names(client) == ["beech", "Ash", "cedar"]
    assert names(client, "?sort=-rank") == ["cedar", "Ash", "beech"]
    assert names(client, "?sort=name") == ["Ash", "beech", "cedar"]
    assert names(client, "?sort=loss") == ["Ash", "cedar", "beech"]
    assert names(client, "?sort=-loss") == ["beech", "cedar", "Ash"]
    text = client.get(PAGE + "?sort=-loss").text
    assert re.search(r'aria-sort="descending"><a href="\?sort=loss">Loss</a>', text)
    assert 'aria-sort="none"><a href="?">Rank</a>' in text


def test_unknown_values_come_last_in_both_directions(three, client) -> None:
    Score.objects.filter(submission__name="Ash").update(epochs=None)
    Score.objects.filter(submission__name="cedar").update(epochs=3.0)
    Score.objects.filter(submission__name="beech").update(epochs=2.0)
    assert names(client, "?sort=epochs") == ["beech", "cedar", "Ash"]
    assert names(client, "?sort=-epochs") == ["cedar", "beech", "Ash"]


def test_search_and_filters(three, client) -> None:
    assert names(client, "?q=ASH") == ["Ash"]
    assert names(client, "?q=alice+dar") == ["cedar"]
    assert names(client, "?user=Alice") == ["beech", "cedar"]
    assert names(client, "?show=baselines") == []
    assert "No row fits these filters" in client.get(PAGE + "?q=nothing").text
    assert names(client, "?contamination=marked") == []
    assert len(names(client, "?contamination=none")) == 3


def test_what_does_not_exist_is_not_found(alice, publish, client) -> None:
    publish(alice)
    for query in (
        "sort=password", "show=all", "column=tasks", "metric=v9", "contamination=some", "page=9",
    ):  # fmt: skip
        assert client.get(f"{PAGE}?{query}").status_code == 404, query


def test_columns_of_categories_and_tasks_hide_what_reviewers_excluded(three, staff, client) -> None:
    task = load_suite("smoke").tasks[0]
    for number, score in enumerate(Score.objects.order_by("submission__name")):
        score.tasks[task.label] = {"score": 0.25 + number / 8}
        score.save()
    query = f"?column=task:{task.label}&column=seed"
    text = client.get(PAGE + query).text
    assert ">25.0<" in text
    assert f">{task.label}</a>" in text
    assert ">EXTENDED<" not in text
    ordered = names(client, f"?sort=-task:{task.label}&column=task:{task.label}")
    assert ordered == ["cedar", "beech", "Ash"]
    scan = Scan.objects.get(submission__name="cedar")
    item = Item.objects.create(scan=scan, task=task.label, severity="high", examples=3, holds=False)
    verdict_give(item_id=item.id, reviewer=staff, kind="exclude_task", reason="It is there.")
    ordered = names(client, f"?sort=-task:{task.label}&column=task:{task.label}")
    assert ordered == ["beech", "Ash", "cedar"]


def test_what_is_taken_away_has_the_rows_of_the_page_in_its_order(three, client) -> None:
    query = "?sort=loss&column=loss&column=seed"
    answer = client.get(f"{PAGE}board.csv{query}")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["name"] for row in rows] == names(client, query)
    assert [row["loss"] for row in rows] == ["2.0", "2.5", "3.0"]
    assert [row["rank"] for row in rows] == ["2", "3", "1"]
    assert "attachment" in answer["Content-Disposition"]
    document = client.get(f"{PAGE}board.json{query}").json()
    assert [row["name"] for row in document["rows"]] == names(client, query)


def test_a_spreadsheet_takes_no_name_for_a_formula(alice, publish, client) -> None:
    publish(alice, name="=HYPERLINK(1)")
    text = client.get(f"{PAGE}board.csv").text
    assert "'=HYPERLINK(1)" in text
    assert "\r\n=HYPERLINK" not in text


def test_a_feed_a_badge_and_a_citation(alice, publish, client) -> None:
    submission = publish(alice, name="50% {wild} & <b>")
    Score.objects.filter(submission=submission).update(smoke=0.1234)
    feed = client.get(f"{PAGE}feed.atom")
    assert feed["Content-Type"].startswith("application/atom+xml")
    assert "50% {wild} &amp; &lt;b&gt;: SMOKE 12.3" in feed.text
    badge = client.get(f"/submissions/{submission.id}/badge.svg")
    assert badge["Content-Type"] == "image/svg+xml"
    assert "12.3" in badge.text
    text = client.get(f"/submissions/{submission.id}/cite.bib").text
    assert "title = {50\\% \\{wild\\} \\& <b> (smoke)}" in text
    assert f"/submissions/{submission.id}/" in text
    assert client.get("/submissions/99999/badge.svg").status_code == 404


# -- baselines -------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Two evals of one model each at 1b-1x, one of them with another learning rate."""
    scale = load_scale("1b-1x")
    for folder in ("evals", "models"):
        (tmp_path / "exp_data" / folder).mkdir(parents=True)
    for number, (name, lr, accuracy) in enumerate((("pool_a", 0.003, 0.6), ("pool_b", 0.01, 0.7))):
        model = {
            "uuid": f"model-{number}", "dataset_name": name,
            "hyperparameters": {
                "params": scale.model.params, "chinchilla_multiplier": 1, "lr": lr, "wd": 0.033,
                "warmup": 5000, "global_bs": 256, "cd": 3e-5, "z_loss": 1e-4, "seed": 124,
            },
        }  # fmt: skip
        icl = {task.label: accuracy for task in load_suite("full").tasks}
        document = {
            "uuid": f"eval-{number}", "model_uuid": f"model-{number}",
            "creation_date": "2024_04_28-03_30_05", "eval_metrics": {"icl": icl},
        }  # fmt: skip
        (tmp_path / "exp_data" / "models" / f"{number}.json").write_text(json.dumps(model))
        (tmp_path / "exp_data" / "evals" / f"{number}.json").write_text(json.dumps(document))
    return tmp_path


@pytest.fixture
def large(settings) -> None:
    settings.CRUCIBLE_SCALES = ["smoke", "1b-1x"]


def test_baselines_stand_on_their_board_marked_and_without_a_rank(
    large, checkout, client, capsys
) -> None:
    call_command("import_baselines", str(checkout))
    assert "2 published runs at 1b-1x; 2 are new" in capsys.readouterr().out
    call_command("import_baselines", str(checkout))
    assert Baseline.objects.count() == 2
    assert names(client, page=LARGE) == ["pool_b", "pool_a"]
    text = client.get(LARGE).text
    assert text.count('<span class="mark">baseline</span>') == 2
    assert "another recipe: learning rate 0.01, not 0.003" in text
    assert names(client, "?show=entries", LARGE) == []
    assert names(client, "?q=pool_a", LARGE) == ["pool_a"]
    assert names(client) == []  # the smoke suite has no baselines
    page = client.get(f"/baselines/{Baseline.objects.get(name='pool_b').id}/").text
    assert "It was not trained or evaluated on this site" in page
    rows = client.get(f"{LARGE}board.json").json()["rows"]
    assert [row["kind"] for row in rows] == ["baseline", "baseline"]
    assert rows[1]["low"] < rows[1]["score"] < rows[1]["high"]


def test_a_checkout_that_is_none_is_one_sentence(tmp_path) -> None:
    with pytest.raises(CommandError, match="has no folder exp_data/models"):
        call_command("import_baselines", str(tmp_path))


def test_every_task_without_counted_rows_has_its_number_of_questions() -> None:
    without = {task.label for task in load_suite("full").tasks if not task.rows}
    assert without == set(DATAPOINTS)
