"""Every page passes axe's rules for WCAG 2.2 AA, in light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import BrowserContext
from pytest_django.live_server_helper import LiveServer

from tests.browsers import launched_browser
from tests.platform.role_world import World

RULES = {
    "runOnly": {
        "type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    },
    "resultTypes": ["violations"],
}  # fmt: skip
LOOKS = (("light", 1280), ("dark", 390))


@pytest.fixture
def world(committed: None, make_submission: Any, publish: Any) -> World:
    """Committed, unlike what the fixtures of users make."""
    return World(User.objects.create_user("alice"), make_submission, publish)


@pytest.fixture
def site(world: World) -> Iterator[str]:
    server = LiveServer("localhost")
    yield server.url
    server.stop()


def pages_of(world: World) -> list[str]:
    """An address of every kind of page, the admin's too."""
    shown, own = world.objects["leaderboard.score"], world.submission.id
    published = shown.submission_id  # type: ignore[attr-defined]
    admin = [
        f"/admin/{label.replace('.', '/')}/{more}"
        for label in ("entries.submission", "review.item", "auth.user", "jobs.lane", "roles.act")
        for more in ("", f"{world.objects[label].pk}/change/")
    ]
    return [
        "/", "/docs/", "/docs/failures/", "/leaderboard/filtering/smoke/",
        "/leaderboard/filtering/smoke/?q=x&sort=-loss", f"/baselines/{world.parts['baseline_id']}/",
        "/compare/", f"/compare/?s={published}", "/submissions/", "/submissions/new/",
        f"/submissions/{published}/", f"/submissions/{own}/", f"/submissions/{world.failed.id}/",
        f"/submissions/{own}/contamination/",
        f"/submissions/{own}/contamination/{world.parts['item_id']}/",
        "/account/", "/budget/", "/health/pipeline/", "/nothing/", "/admin/", *admin,
    ]  # fmt: skip


def violations(context: BrowserContext, address: str) -> list[str]:
    """What axe finds, one line a place."""
    page = context.new_page()
    page.goto(address)
    assert page.url == address, f"{address} leads to {page.url}"
    found = Axe().run(page, options=RULES).response["violations"]
    page.close()
    return [
        f"{address}: {one['id']} at {node['target']}: {node['html'][:120]}"
        for one in found
        for node in one["nodes"]
    ]


def test_every_page_is_accessible(site: str, world: World) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("rita"))
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": site}
    found = []
    with launched_browser() as browser:
        for scheme, width in LOOKS:
            context = browser.new_context(
                color_scheme=scheme, viewport={"width": width, "height": 900}
            )  # fmt: skip
            found += violations(context, f"{site}/login/")
            context.add_cookies([cookie])  # type: ignore[list-item]
            for path in pages_of(world):
                if scheme == "dark" and path.startswith("/admin/"):
                    continue  # Django's own colours
                found += violations(context, site + path)
            context.close()
    assert found == [], "\n".join(found)


@pytest.mark.django_db
def test_every_page_has_a_language_a_title_and_one_first_heading(client: Client) -> None:
    for path in ("/", "/docs/", "/docs/scores/", "/leaderboard/filtering/smoke/", "/login/"):
        text = client.get(path).text
        assert '<html lang="en">' in text, path
        assert text.count("<title>") == 1, path
        assert text.count("<h1") == 1, path
