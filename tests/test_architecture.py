"""What holds the house up: import directions, the folder that is no package, migrations, size."""

from __future__ import annotations

import ast
import platform
import subprocess
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parent.parent
ORDER = ["submissions", "training_recipes", "evaluation", "crucible"]
PURE = ORDER[:-1]
FOLDERS = {name: ROOT / name for name in PURE} | {"crucible": ROOT / "platform" / "crucible"}
# The apps of the site, from the ground up. An app imports apps of earlier levels alone.
LEVELS = [
    {"accounts"},
    {"entries"},
    {"budgets", "notifications", "leaderboard"},
    {"review", "intake"},
    {"jobs", "boards"},
    {"pages"},
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


def site_parts_imported_by(path: Path) -> set[str]:
    """The apps and modules of the site that a module imports, inside its functions too."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "crucible":
            names = [f"crucible.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        parts |= {name.split(".")[1] for name in names if name.startswith("crucible.")}
    return parts


def wrong_imports(site: Path) -> dict[str, set[str]]:
    """By file, the apps that it may not import: later ones, and others of its own level."""
    wrong = {}
    for path in sorted(site.rglob("*.py")):
        part = path.relative_to(site).with_suffix("").parts[0]
        if part in ENTRANCES:
            continue
        level = LEVEL_OF.get(part, -1)  # a module of no app imports no app
        found = {
            other
            for other in site_parts_imported_by(path) & LEVEL_OF.keys()
            if other != part and LEVEL_OF[other] >= level
        }
        if found:
            wrong[str(path.relative_to(site))] = found
    return wrong


def test_apps_of_the_site_import_one_way():
    assert wrong_imports(FOLDERS["crucible"]) == {}
    folders = {path.parent.name for path in FOLDERS["crucible"].glob("*/apps.py")}
    assert folders | {"api"} == LEVEL_OF.keys()


def test_an_import_the_wrong_way_would_be_found(tmp_path):
    (tmp_path / "entries").mkdir()
    (tmp_path / "jobs").mkdir()
    (tmp_path / "entries" / "moves.py").write_text(
        "def move():\n    from crucible.budgets.services import budget_settle\n"
    )
    (tmp_path / "jobs" / "pipeline.py").write_text("from crucible import boards, entries\n")
    (tmp_path / "hints.py").write_text("import crucible.jobs.tasks\n")
    assert wrong_imports(tmp_path) == {
        "entries/moves.py": {"budgets"},
        "jobs/pipeline.py": {"boards"},
        "hints.py": {"jobs"},
    }


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
