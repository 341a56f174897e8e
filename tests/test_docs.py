"""Documentation that cannot go stale: what the code has, the pages name."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from django.contrib.admindocs.views import simplify_regex
from django.urls import get_resolver

from crucible.api.views import api
from crucible.jobs.models import AttemptState
from submissions.cli import build_parser
from submissions.failures import FAILURES
from submissions.states import Stage, State
from tests.test_architecture import LEVEL_OF
from training_recipes.scales import load_scale, scale_names

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
         *DOCS.rglob("*.md")]  # fmt: skip


def page(name: str) -> str:
    return (DOCS / name).read_text()


def test_every_failure_code_is_explained():
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", page("failures.md"), re.MULTILINE))
    assert rows == {code: kind.fault for code, kind in FAILURES.items()}


def test_every_setting_is_listed_and_none_that_is_gone():
    folders = ("platform", "submissions", "training_recipes", "evaluation", "examples", "deploy")
    code = "\n".join(
        path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py")
    )
    ours = set(re.findall(r'"((?:CRUCIBLE|DATABASE|CELERY)_[A-Z_]+)"', code))
    assert "CRUCIBLE_HOME" in ours  # the search itself works
    listed = set(re.findall(r"^\| `([A-Z_]+)` \|", page("settings.md"), re.MULTILINE))
    assert listed == ours


def addresses(patterns, before: str = "/") -> Iterator[str]:
    """Every address but those of the admin and the API, with its parameters as `<name>`."""
    for pattern in patterns:
        here = before + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            if here not in ("/admin/", "/api/"):
                yield from addresses(pattern.url_patterns, here)
        else:
            yield re.sub(r"<\w+:(\w+)>", r"<\1>", simplify_regex(here).replace("//", "/"))


def test_every_address_is_listed():
    listed = set(re.findall(r"^\| `(/[^`]*)` \|", page("urls.md"), re.MULTILINE))
    site = set(addresses(get_resolver().url_patterns)) | {"/admin/"}
    endpoints = set(api.get_openapi_schema()["paths"]) | {"/api/docs"}
    assert listed == site | endpoints


def commands(parser: argparse.ArgumentParser, prefix: str = "crucible") -> dict[str, set[str]]:
    """Every command with the options that it takes."""
    found: dict[str, set[str]] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                found |= commands(child, f"{prefix} {name}")
    if found:
        return found
    options = {o for a in parser._actions for o in a.option_strings if o.startswith("--")}
    return {prefix: options - {"--help", "--json"}}


def test_every_command_and_option_is_in_the_reference():
    text = page("command-line.md")
    for command, options in commands(build_parser()).items():
        section = re.search(rf"^## `{command}[ `].*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        assert section, f"{command} has no section"
        named = set(re.findall(r"--[a-z][a-z-]*", section.group())) - {"--json"}
        assert named == options, command


def test_every_state_is_explained():
    text = page("pipeline.md")
    for state in [*State, *AttemptState, *Stage]:
        assert f"`{state.value}`" in text, state


def test_links_between_pages_lead_somewhere():
    for path in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_make_target_of_the_readme_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in PAGES:
        for verb in re.findall(r"\bmake ([a-z]+)\b", path.read_text()):
            if verb in {"it", "the", "a", "an", "sure", "sense", "up"} - targets:
                continue
            assert verb in targets, f"{path.name}: make {verb}"


def test_the_table_of_scales_is_true():
    rows = re.findall(r"^\| `([\w-]+)` \| ([\d,]+) \| ([\d,]+) \| [^|]+\| ([\d,]+) \|",
                      page("recipes.md"), re.MULTILINE)  # fmt: skip
    shown = {name: tuple(int(n.replace(",", "")) for n in numbers) for name, *numbers in rows}
    scales = [load_scale(name) for name in scale_names()]
    assert shown == {s.name: (s.model.params, s.tokens, s.steps) for s in scales}


def test_every_hop_of_the_walk_to_core_is_true():
    """Each hop of the README names a file and a function that is in it; eight files at most."""
    walk = (ROOT / "README.md").read_text().split("to the line that computes CORE:")[1]
    hops = re.findall(r"^\d\. `([^`]+)`: [^`]*`(\w+)`", walk.split("## ")[0], re.MULTILINE)
    assert hops[0][0] == "Makefile"
    assert hops[-1] == ("evaluation/metrics.py", "score_results")
    assert 5 < len(hops) <= 8
    for path, name in hops:
        defined = rf"^(def {name}\(|{name} = |{name}:)"
        assert re.search(defined, (ROOT / path).read_text(), re.MULTILINE), f"{path}: {name}"


def test_every_app_of_the_site_is_in_the_readme_and_in_contributing():
    site = ROOT / "platform" / "crucible"
    apps = {path.parent.name for path in site.glob("*/apps.py")} | {"api"}
    readme = (ROOT / "README.md").read_text().split("| apps | content |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (`.+`) \|", readme, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == apps
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    levels = re.findall(r"^\| (\d) \| (.+) \|$", contributing, re.MULTILINE)
    shown = {app: int(level) for level, names in levels for app in re.findall(r"`(\w+)`", names)}
    assert shown == LEVEL_OF


def words_not_used() -> list[str]:
    """The words that the glossary forbids: the last column of its terms, then the phrases."""
    terms, phrases = page("glossary.md").split("## Phrases to avoid")
    cells = re.findall(r"^\| [^|]+ \| [^|]+ \| ([^|]+) \|$", terms, re.MULTILINE)
    cells += re.findall(r"^\| ([^|]+) \| [^|]+ \|$", phrases, re.MULTILINE)
    return [word for cell in cells if cell not in {"not", "---"} for word in cell.split(", ")]


def uses(word: str, text: str) -> bool:
    """Whether the word or phrase is in the text, whole, across line ends too."""
    pattern = r"\s+".join(map(re.escape, word.split()))
    return re.search(rf"(?<![\w-]){pattern}(?![\w-])", text, re.IGNORECASE) is not None


def test_the_glossary_is_sorted_and_names_each_term_once():
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|[^|]*\|$", page("glossary.md"), re.MULTILINE)
    terms = [row for row in rows if row not in {"term", "---"}]
    assert len(terms) > 50
    assert terms == sorted(set(terms), key=str.casefold)
    assert not {term.casefold() for term in terms} & {word.casefold() for word in words_not_used()}


def test_no_page_uses_a_word_that_the_glossary_forbids():
    forbidden = words_not_used()
    assert {"hand in", "single answers", "whoever"} <= set(forbidden)
    assert uses("hand in", "and\nHand\n  in the data")
    assert not uses("hand in", "hand into")
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    pages.append(ROOT / "examples" / "README.md")
    pages += DOCS.rglob("*.md")
    pages += (ROOT / "platform" / "crucible" / "templates").rglob("*.html")
    for path in pages:
        if path.name != "glossary.md":
            found = [word for word in forbidden if uses(word, path.read_text())]
            assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_every_attack_of_the_security_page_has_its_test():
    files = {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}
    named = 0
    for row in re.findall(r"^\| .*$", page("security.md"), re.MULTILINE):
        for file, test in re.findall(r"(test_\w+\.py)|::(test_\w+)", row):
            if file:
                text = files[file].read_text()
            else:
                assert f"def {test}(" in text, test
                named += 1
    assert named > 20
