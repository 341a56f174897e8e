"""Every address, page of the admin, action and endpoint × six roles, against a written table.

The rows are found in the URLconf, which the API's router and the admin's registry fill, and in the
registry for the actions. A new one fails the test until `role_table.py` says what each role gets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admindocs.views import simplify_regex
from django.db import connection, transaction
from django.urls import URLPattern, get_resolver, include, path, reverse
from django.views.generic import RedirectView

from crucible.api.views import api
from tests.platform.role_table import TABLE
from tests.platform.role_world import ROLES, Visitor, World, visitor_as

PART = re.compile(r"<(?:\w+:)?(\w+)>")
# Beside the session, what counts attempts, and the count and time of a token's requests.
UNCOUNTED = r'django_session"|site_cache"|accounts_apitoken" SET "minute"'
WRITES = re.compile(rf'(?:INSERT INTO|UPDATE|DELETE FROM) "(?!{UNCOUNTED})')
API_PAGES = ("/api/", "/api/docs", "/api/openapi.json")  # they answer every method alike
STEERS = re.compile("/(cancel|retry)/?$")  # submissions of others
READ_ONLY_VIEWS = ("changelist", "history")
FORM_FIELDS = ("INITIAL_FORMS", "TOTAL_FORMS", "MIN_NUM_FORMS", "MAX_NUM_FORMS")


def patterns(resolver: Any, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for one in resolver.url_patterns:
        route = before + str(one.pattern)
        if isinstance(one, URLPattern):
            yield route, one
        else:
            yield from patterns(one, route)


@pytest.fixture
def world(alice: Any, make_submission: Any, publish: Any) -> World:
    return World(alice, make_submission, publish)


class Walk:
    """Sends requests, each undone afterwards, and says in a word what came of them.

    yes: done or shown. nothing: accepted, but nothing changed. no: 403. hidden: 404. login: asked
    to log in. read: shown, but sending the form is refused.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.visitors = [visitor_as(role) for role in ROLES]
        self.found: dict[str, list[str]] = {}

    def send(self, who: Visitor, method: str, path: str, data: Any = None) -> Any:
        """A page's request with the session, an endpoint's with the token; `wrote`: SQL."""
        cookies = deepcopy(who.client.cookies)
        more: dict[str, Any] = {}
        if path.startswith("/api/"):
            more = {"headers": who.headers}
            if method != "GET":
                more["content_type"] = "application/json"
        wrote: list[str] = []

        def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            result = execute(sql, params, many, context)
            if WRITES.match(sql) and context["cursor"].rowcount:
                wrote.append(sql)
            return result

        try:
            with transaction.atomic(), connection.execute_wrapper(watch):
                answer = getattr(who.client, method.lower())(path, data, **more)
                transaction.set_rollback(True)
        finally:
            who.client.cookies = cookies
        answer.wrote = wrote
        return answer

    def word(self, answer: Any, changes: bool, act: bool = False) -> str:
        """`act`: what was changed is one, and must have left its row."""
        to = answer.headers.get("Location", "")
        if answer.status_code == 401 or (answer.status_code == 302 and "/login/?next=" in to):
            word = "login"
        else:
            word = {403: "no", 404: "hidden"}.get(answer.status_code, "yes")
        if word != "yes":
            assert not answer.wrote, answer.wrote  # what is refused has no effect
        elif changes and not answer.wrote:
            word = "nothing"
        if word == "yes" and act:
            assert any('"roles_act"' in sql for sql in answer.wrote), answer.wrote
        return word

    def addresses(self) -> None:
        """Pages and endpoints: each method of the router, or that is not answered with 405."""
        endpoints = api.get_openapi_schema()["paths"]
        for route, _ in patterns(get_resolver()):
            if route.startswith("admin/"):
                continue
            route, world = simplify_regex(route) if "(?P<" in route else f"/{route}", self.world
            parts = world.parts | world.special.get(route, {})
            path = PART.sub(lambda found: str(parts[found[1]]), route)  # noqa: B023
            methods = endpoints.get(PART.sub(r"{\1}", route), {"get", "post"})
            if route in API_PAGES:
                methods = {"get"}
            for method in (name.upper() for name in methods):
                if self.send(self.visitors[-1], method, path).status_code != 405:
                    self.found[f"{method} {route}"] = [
                        self.word(
                            self.send(who, method, path, world.body(route, who)),
                            method != "GET",
                            act=STEERS.search(path) is not None,
                        )
                        for who in self.visitors
                    ]

    def pages_of_the_admin(self) -> None:
        tables = {
            f"{model._meta.app_label}_{model._meta.model_name}": model._meta.label_lower
            for model in admin.site._registry
        }
        for route, pattern in patterns(get_resolver()):
            if not route.startswith("admin/"):
                continue
            view = getattr(pattern.callback, "view_class", None)
            if view is RedirectView:  # the admin's old addresses of objects
                continue
            app_and_model = "_".join((pattern.name or "").split("_")[:2])
            label = tables.get(app_and_model)
            if label is None:
                self._page(f"admin {pattern.name or 'anything else'}", route)
            else:
                self._table(label, (pattern.name or "").removeprefix(f"{app_and_model}_"), pattern)

    def _page(self, row: str, route: str) -> None:
        route = route.replace("(?P<app_label>", "<app_label>(").split("(?P<url>")[0]
        route = re.sub(r"\([^)]*\)|\$|\^", "", route)
        path = "/" + PART.sub(lambda found: str(self.world.parts[found[1]]), route)
        if "autocomplete" in row:
            path += "?app_label=budgets&model_name=membership&field_name=user&term=a"
        path += "nothing" if "anything" in row else ""
        method = "POST" if row == "admin logout" else "GET"
        self.found[row] = [self.word(self.send(w, method, path), False) for w in self.visitors]

    def _table(self, label: str, view: str, pattern: URLPattern) -> None:
        with_object = "object_id" in str(pattern.pattern) or "<id>" in str(pattern.pattern)
        args = [self.world.objects[label].pk] if with_object else []
        path = reverse(f"admin:{pattern.name}", args=args)
        cells = []
        for who in self.visitors:
            shown = self.send(who, "GET", path)
            word = self.word(shown, False)
            if view not in READ_ONLY_VIEWS:
                sent = self.send(who, "POST", path, self._form(label, view, shown))
                done = self.word(sent, True, act=True)
                word = word if done == word else {("yes", "no"): "read"}.get((word, done), done)
            cells.append(word)
        self.found[f"admin {label} {view}"] = cells

    def _form(self, label: str, view: str, shown: Any) -> dict[str, Any]:
        """What a browser would send: the fields as shown, with what is new."""
        if view == "delete":
            return {"post": "yes"}
        data: dict[str, Any] = {}
        context = shown.context or {}
        if "adminform" in context:
            data |= context["adminform"].form.initial
            for formset in context["inline_admin_formsets"]:
                form = formset.formset.management_form
                data |= {f"{form.prefix}-{name}": form[name].value() for name in FORM_FIELDS}
        data = {k: [o.pk for o in v] if isinstance(v, list) else v for k, v in data.items()}
        more = self.world.forms.get(label, {}) if view == "add" or label == "review.item" else {}
        password = {"password1": "a long passphrase", "password2": "a long passphrase",
                    "usable_password": "true"}  # fmt: skip
        more = password if view == "password_change" else more
        return {k: v for k, v in (data | more).items() if v is not None}

    def actions(self) -> None:
        for model, model_admin in admin.site._registry.items():
            label = model._meta.label_lower
            path = reverse(f"admin:{label.replace('.', '_')}_changelist")
            for _, name, _ in model_admin._get_base_actions():
                data = {"action": name, "post": "yes", "reason": "a reason",
                        "_selected_action": self.world.target(label, name).pk}  # fmt: skip
                words = [
                    self.word(self.send(w, "POST", path, data), True, act=True)
                    for w in self.visitors
                ]
                # An action that is not offered leaves the page as it is.
                self.found[f"action {label} {name}"] = [
                    "no" if word == "nothing" else word for word in words
                ]


def rows_of(table: str) -> dict[str, list[str]]:
    lines = [line for line in table.strip().splitlines() if not line.startswith("#")]
    rows = [line.rsplit(maxsplit=len(ROLES)) for line in lines]
    assert len({name for name, *_ in rows}) == len(rows)
    return {name: cells for name, *cells in rows}


def compare(found: dict[str, list[str]], table: str) -> None:
    written = rows_of(table)
    assert found.keys() - written.keys() == set(), "say in role_table.py what each role gets"
    assert written.keys() - found.keys() == set(), "these are gone: remove their rows"
    assert {name: cells for name, cells in found.items() if cells != written[name]} == {}


def test_everything_gives_each_role_what_the_table_says(world: World) -> None:
    walk = Walk(world)
    walk.addresses()
    walk.pages_of_the_admin()
    walk.actions()
    compare(walk.found, TABLE)


def test_a_new_address_and_a_row_of_none_are_found() -> None:
    table = "GET /old/  yes yes yes yes yes yes"
    old = {"GET /old/": ["yes"] * 6}
    compare(old, table)
    with pytest.raises(AssertionError, match="say in role_table"):
        compare(old | {"GET /new/": ["yes"] * 6}, table)
    with pytest.raises(AssertionError, match="remove their rows"):
        compare({}, table)
    with pytest.raises(AssertionError):
        compare({"GET /old/": ["login"] + ["yes"] * 5}, table)


def test_addresses_below_others_are_found() -> None:
    shallow, deep = path("new/", str), path("more/", include([path("<int:number>/", str)]))
    found = patterns(SimpleNamespace(url_patterns=[shallow, deep]), "site/")
    assert [route for route, _ in found] == ["site/new/", "site/more/<int:number>/"]
