"""docs/ on the site, and the home page."""

from __future__ import annotations

import re

import pytest

from crucible.guide import DOCS, SECTIONS, anchor_of, page_names, page_of
from submissions.failures import FAILURES

pytestmark = pytest.mark.django_db
LINK = re.compile(r'href="/docs/([\w-]+)/(?:#([\w-]+))?"')


def test_every_page_of_docs_has_a_place_in_the_contents(client) -> None:
    named = {name for names in SECTIONS.values() for name in names}
    assert named == {path.stem for path in DOCS.glob("*.md")}
    text = client.get("/docs/").text
    for name in page_names():
        assert f'href="/docs/{name}/"' in text, name


def test_every_link_between_pages_leads_to_a_heading_that_exists() -> None:
    pages = {name: page_of(name) for name in page_names()}
    found = 0
    for name, page in pages.items():
        assert page is not None
        for target, anchor in LINK.findall(page.html):
            found += 1
            other = pages[target]
            assert other is not None
            assert not anchor or f'id="{anchor}"' in other.html, f"{name} → {target}#{anchor}"
    assert found > 100


def test_every_failure_code_has_its_row() -> None:
    page = page_of("failures")
    assert page is not None
    for code in FAILURES:
        assert f'<tr id="code-{code}">' in page.html, code


def test_a_page_shows_tables_code_and_no_tag_of_its_text(client, tmp_path, monkeypatch) -> None:
    text = client.get("/docs/participant/").text
    assert '<h2 id="prepare-shards">' in text
    assert '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>' in text
    for name in ("nothing", "../SECURITY", "..", "participant.md"):
        assert client.get(f"/docs/{name}/").status_code == 404
    (tmp_path / "participant.md").write_text("# A <script>alert(1)</script>\n\n<b>x</b>\n")
    monkeypatch.setattr("crucible.guide.DOCS", tmp_path)
    text = client.get("/docs/participant/").text
    assert "<script>alert" not in text
    assert "&lt;b&gt;x" in text


def test_anchors_are_those_of_github() -> None:
    assert anchor_of("`crucible check PATH…`") == "crucible-check-path"
    assert anchor_of("A dataset, much larger") == "a-dataset-much-larger"


def test_the_home_page_says_what_this_is_and_who_leads(alice, publish, client) -> None:
    publish(alice, name="the first one")
    text = client.get("/").text
    assert "Everything but the data is held fixed" in text
    assert "nobody yet" in text  # on the mixing track
    assert "the first one" in text
    assert "SMOKE" in text
    assert client.get("/leaderboard/").headers["Location"] == "/leaderboard/filtering/smoke/"


def test_pages_travel_compressed(client) -> None:
    plain = client.get("/docs/failures/")
    packed = client.get("/docs/failures/", headers={"accept-encoding": "gzip"})
    assert packed["Content-Encoding"] == "gzip"
    assert len(packed.content) < len(plain.content) / 3
