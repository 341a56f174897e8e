"""The pages about the data: what they show, to whom, and that hostile text stays text."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from crucible.filters import plain
from crucible.plots import bar_plot, map_points
from crucible.profiles.models import DatasetProfile
from submissions.profile.kept import SAMPLE, SKETCH
from tests.profile_example import HOSTILE, write_example

pytestmark = pytest.mark.django_db


@pytest.fixture
def published(alice, publish):
    return publish(alice)


def get(client, name, submission, **query):
    return client.get(reverse(name, args=[submission.id]), query)


def open_sample(submission):
    DatasetProfile.objects.filter(submission=submission).update(sample_is_public=True)


def test_the_profile_shows_figures_topics_and_map_to_all_who_see_the_submission(client, published):
    page = get(client, "data", published).content.decode()
    assert "river, boat" in page
    assert "75.0" in page
    assert "± 2.0" in page or '<td class="num">3.9</td>' in page
    assert page.count("<circle") == 2
    assert "&lt;b&gt;bread&lt;/b&gt;" in page
    assert "<b>bread" not in page
    assert "example.org" in page
    assert "the pool" in page
    assert "has not opened the sample" in page
    assert "<script" not in page.split("<main")[1]
    submission_page = client.get(reverse("submission", args=[published.id])).content.decode()
    assert reverse("data", args=[published.id]) in submission_page


def test_a_submission_without_a_profile_has_no_such_page(client, alice, make_submission):
    submission = make_submission(alice)
    client.force_login(alice)
    assert get(client, "data", submission).status_code == 404
    assert b"What is in the dataset" not in client.get(
        reverse("submission", args=[submission.id])
    ).content  # fmt: skip


def test_others_never_see_the_profile_of_what_they_may_not_see(client, alice, bob, published):
    published.state = "disqualified"
    published.save()
    client.force_login(bob)
    for name in ("data", "data_texts"):
        assert get(client, name, published).status_code == 404


def test_only_owner_and_staff_read_a_sample_that_is_not_open(client, alice, bob, staff, published):
    assert get(client, "data_texts", published).status_code == 404
    client.force_login(bob)
    assert get(client, "data_texts", published).status_code == 404
    for user in (alice, staff):
        client.force_login(user)
        assert get(client, "data_texts", published).status_code == 200


def test_the_owner_opens_and_closes_the_sample(client, alice, bob, published):
    address = reverse("data_sample", args=[published.id])
    client.force_login(bob)
    client.post(address, {"public": "yes"})
    assert not DatasetProfile.objects.get().sample_is_public
    client.force_login(alice)
    client.post(address, {"public": "yes"})
    client.logout()
    assert get(client, "data_texts", published).status_code == 200
    client.force_login(alice)
    assert client.get(address).status_code == 405
    client.post(address, {"public": "no"})
    client.logout()
    assert get(client, "data_texts", published).status_code == 404


def test_hostile_text_is_shown_as_text(client, published):
    open_sample(published)
    page = get(client, "data_texts", published).content.decode()
    main = page.split("<main")[1]
    assert "<script" not in main
    assert "&lt;script&gt;alert(&quot;x&quot;)" in main
    for sign in "\u202e\u202c\x00\x1b":
        assert sign not in page
        assert f"⟨U+{ord(sign):04X}⟩" in page
    assert "&lt;i&gt;b.jsonl" in main
    assert 'href="javascript' not in main
    query = get(client, "data_texts", published, q='"><script>x').content.decode()
    assert "<script>x" not in query


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"q": "NUMBER 2"}, {2}), ({"language": "de"}, {4}), ({"topic": "1"}, {4}),
        ({"quality": "all rules"}, {1, 2, 3}), ({"quality": "some broken"}, {4}),
        ({"length": "long"}, set()), ({"topic": "x", "page": "-1"}, {1, 2, 3, 4}),
        ({"q": "no such words"}, set()), ({"page": "99999"}, {1, 2, 3, 4}),
    ],
)  # fmt: skip
def test_filters_choose_texts(client, published, query, numbers):
    open_sample(published)
    page = get(client, "data_texts", published, **query).content.decode()
    assert {int(line) for line in re.findall(r"jsonl:(\d+)", page)} == numbers
    assert ("take a filter away" in page) == (not numbers)


def test_a_damaged_sample_is_missing_and_the_figures_stay(client, alice, published):
    (DatasetProfile.objects.get().folder / SAMPLE).write_text("{")
    client.force_login(alice)
    assert get(client, "data_texts", published).status_code == 404
    page = get(client, "data", published)
    assert page.status_code == 200
    assert b"<circle" not in page.content


def test_two_datasets_are_compared_with_examples_of_what_was_removed(
    client, alice, published, publish
):
    other = publish(alice, name="the filtered one")
    folder = DatasetProfile.objects.get(submission=other).folder
    write_example(folder, range(2, 4), "engine, wheel")
    pair = {"s": [published.id, other.id]}
    page = client.get(reverse("compare_data"), pair).content.decode()
    assert "<dd>50.0 %</dd>" in page  # texts 2 and 3 of 1 to 4
    assert "50.0 % of A's texts are not in B" in page.replace("&#x27;", "'")
    assert "jsonl:1" not in page  # nobody opened the sample
    open_sample(published)
    page = client.get(reverse("compare_data"), pair).content.decode()
    removed = page.split('id="removed"')[1].split('id="added"')[0]
    assert set(re.findall(r"jsonl:(\d+)", removed)) == {"1", "4"}
    assert "<script" not in page.split("<main")[1]
    scores = client.get(reverse("compare"), pair).content.decode()
    assert reverse("compare_data") in scores


def test_a_comparison_says_what_is_wrong(client, alice, published, make_submission):
    hidden = make_submission(alice)
    address = reverse("compare_data")
    assert "Choose two submissions" in client.get(address).content.decode()
    for numbers, said in (
        ([published.id] * 2, "choose two different"),
        ([published.id, hidden.id], "that you may see"), (["x", "y"], "give the number"),
    ):  # fmt: skip
        answer = client.get(address, {"s": numbers})
        assert answer.status_code == 422
        assert said in answer.content.decode().lower()
    client.force_login(alice)
    answer = client.get(address, {"s": [published.id, hidden.id]})
    assert "has no profile" in answer.content.decode()
    sketch = DatasetProfile.objects.get().folder / SKETCH
    sketch.write_bytes(b"PK")
    other = DatasetProfile.objects.create(
        submission=hidden, figures=DatasetProfile.objects.get().figures
    )
    write_example(other.folder)
    answer = client.get(address, {"s": [published.id, hidden.id]})
    assert answer.status_code == 422
    assert "no sketch of a profile" in answer.content.decode()


def test_plots_keep_inside_their_frames():
    plot = bar_plot([(0.0, 0), (1.0, 5), (2.0, 10), (4.0, 0)], "words")
    assert [bar.height for bar in plot.bars] == [96.0, 192.0]
    assert all(bar.x >= 0 and bar.x + bar.width <= plot.width for bar in plot.bars)
    assert bar_plot([(0.0, 0)], "words") is None
    low, high = map_points([(0.0, 0.0, 0, ""), (1.0, 1.0, 9, "")])
    assert (low.x, low.y) == (16, 464)
    assert (high.x, high.y, high.colour) == (464, 16, 1)


def test_what_hides_in_a_text_is_made_visible():
    assert plain("a\u200bb\u2066c\n\td") == "a⟨U+200B⟩b⟨U+2066⟩c\n\td"
    assert plain(HOSTILE).isprintable()
