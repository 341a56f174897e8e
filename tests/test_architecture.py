"""What holds the house up: import directions, the folder that is no package, migrations, size."""

from __future__ import annotations

import ast
import platform
import subprocess
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.import_graph import cycles, grouped, import_graph

ROOT = Path(__file__).resolve().parent.parent
ORDER = ["submissions", "training_recipes", "evaluation", "crucible"]
PURE = ORDER[:-1]
FOLDERS = {name: ROOT / name for name in PURE} | {"crucible": ROOT / "platform" / "crucible"}
# The apps of the site, from the ground up. An app imports apps of earlier levels alone.
LEVELS = [
    {"roles"},
    {"accounts"},
    {"entries"},
    {"budgets", "notifications", "leaderboard", "profiles"},
    {"review", "intake"},
    {"jobs", "boards"},
    {"pages", "privacy"},
    {"api"},
]
LEVEL_OF = {app: level for level, apps in enumerate(LEVELS) for app in apps}
ENTRANCES = {"urls", "supervisor", "wsgi"}  # modules that start the site and may import any app
SITE_ONLY = {"django", "celery", "kombu", "psycopg", "ninja", "crucible"}


def imported_by(path: Path) -> set[str]:
    """Top-level names of everything that a module imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add((node.module or "").split(".")[0])
    return names


def modules_of(package: str) -> list[Path]:
    found = sorted(FOLDERS[package].rglob("*.py"))
    assert found, package
    return found


@pytest.mark.parametrize("package", ORDER)
def test_imports_point_one_way(package):
    later = set(ORDER[ORDER.index(package) + 1 :])
    for path in modules_of(package):
        wrong = imported_by(path) & later
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def wrong_imports(site: Path) -> dict[str, set[str]]:
    """By module, the apps that it may not import: later ones, and others of its own level."""
    wrong = {}
    for name, imported in import_graph(site, site.parent).items():
        part = part_of(name)
        if part in ENTRANCES:
            continue
        level = LEVEL_OF.get(part, -1)  # a module of no app imports no app
        others = {part_of(other) for other in imported} & LEVEL_OF.keys() - {part}
        found = {other for other in others if LEVEL_OF[other] >= level}
        if found:
            wrong[name] = found
    return wrong


def part_of(module: str) -> str:
    """The app of a module of the site, or the module itself where it is in none."""
    return [*module.split("."), ""][1]


def test_apps_of_the_site_import_one_way():
    site = FOLDERS["crucible"]
    assert wrong_imports(site) == {}
    assert {path.parent.name for path in site.glob("*/apps.py")} | {"api"} == LEVEL_OF.keys()
    assert cycles(grouped(import_graph(site, site.parent), part_of)) == []


def test_an_import_the_wrong_way_would_be_found(tmp_path):
    site = tmp_path / "crucible"
    files = {
        "entries/moves": "def move():\n    from crucible.budgets.services import settle\n",
        "budgets/services": "from crucible.entries import moves\n",
        "boards/rows": "",
        "jobs/pipeline": "from crucible.boards import rows\nfrom crucible.entries import moves\n",
        "hints": "import crucible.jobs.pipeline\n",
        "supervisor": "import crucible.jobs.pipeline\n",
    }
    for name, text in files.items():
        path = site / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert wrong_imports(site) == {
        "crucible.entries.moves": {"budgets"},
        "crucible.jobs.pipeline": {"boards"},
        "crucible.hints": {"jobs"},
    }


@pytest.mark.parametrize("folder", [*PURE, "benchmarks"])
def test_no_files_import_each_other_in_a_circle(folder):
    graph = import_graph(ROOT / folder, ROOT)
    assert len(graph) > 5
    assert cycles(graph) == []


def test_a_circle_is_found_wherever_the_import_stands(tmp_path):
    """In a function, for a type checker alone, of a package's module, over several files."""
    house = tmp_path / "house"
    house.mkdir()
    files = {
        "__init__": "",
        "roof": "from house import wall\n",
        "wall": "def build():\n    from house.floor import lay\n",
        "floor": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import house.roof\n",
        "door": "from house.wall import build\nfrom house.window import glass\n",
        "window": "import ast, house.floor\n",
    }
    for name, text in files.items():
        (house / f"{name}.py").write_text(text)
    graph = import_graph(house, tmp_path)
    assert graph["house.door"] == {"house.wall", "house.window"}
    assert graph["house.window"] == {"house.floor"}
    assert cycles(graph) == [["house.floor", "house.roof", "house.wall"]]
    stories = grouped(graph, lambda name: "above" if name.endswith(("roof", "door")) else "below")
    assert stories == {"above": {"below"}, "below": {"above"}}
    assert cycles(stories) == [["above", "below"]]
    (house / "floor.py").write_text("")
    assert cycles(import_graph(house, tmp_path)) == []


@pytest.mark.parametrize("package", PURE)
def test_a_gpu_node_needs_nothing_of_the_site(package):
    for path in modules_of(package):
        wrong = imported_by(path) & SITE_ONLY
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_platform_is_no_package_and_shadows_nothing():
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert platform.system()  # Python's own
    assert not Path(platform.__file__).is_relative_to(ROOT)


def test_the_command_line_starts_without_the_heavy_libraries():
    """`crucible leaderboard` on a laptop needs requirements.txt and nothing more."""
    code = (
        "import sys; from submissions.cli import build_parser; build_parser();"
        "print([m for m in ('torch', 'composer', 'transformers', 'django') if m in sys.modules])"
    )
    done = subprocess.run(
        [str(ROOT / ".venv/bin/python"), "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.django_db
def test_every_model_change_has_its_migration():
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_views_and_tasks_write_through_services():
    """Pages, endpoints and tasks call a service; none saves or creates rows itself."""
    site = FOLDERS["crucible"]
    paths = [*site.glob("pages/*.py"), *site.glob("api/*.py"), *site.rglob("tasks.py")]
    assert len(paths) > 10
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in {"save", "create", "bulk_create", "delete"}, path


def test_no_file_is_longer_than_one_can_hold_in_the_head():
    tracked = subprocess.run(
        ["git", "ls-files", "*.py"], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout.split()
    long = {
        name: lines
        for name in tracked
        if "/migrations/" not in name
        and (lines := len((ROOT / name).read_text().splitlines())) > 450
    }
    assert not long
