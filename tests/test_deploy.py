"""The files in deploy/, as far as a machine without containers can judge them.

`make deploylint` asks each file's own program. Here: what we promise of them, and that the commands
of the images are those that the other tests run.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from crucible.jobs.backends.rules import rules_load
from crucible.jobs.stages import MODULES
from submissions.states import Stage

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def asked_for(*files: str) -> set[str]:
    """The distributions that requirement files name, as metadata spells them."""
    text = "\n".join((ROOT / file).read_text() for file in files)
    names = re.findall(r"^([A-Za-z0-9_.-]+)", text, re.M)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


ON_THE_SITE = asked_for("requirements.txt")
ON_A_NODE = asked_for(
    "requirements/node.txt", "requirements/compute.txt", "requirements/compute-nodeps.txt"
)


def modules_of(distributions: set[str]) -> tuple[str, ...]:
    """Top-level modules that only these install."""
    return tuple(
        module
        for module, owners in metadata.packages_distributions().items()
        if {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners} <= distributions
    )


COMPUTE, SITE = modules_of(ON_A_NODE - ON_THE_SITE), modules_of(ON_THE_SITE - ON_A_NODE)
WITHOUT = """
import importlib, importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {missing!r}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Missing())
for name in {modules!r}:
    importlib.import_module(name)
"""


def imports_without(home: Path, missing: tuple[str, ...], modules: list[str]) -> None:
    code = WITHOUT.format(missing=missing, modules=modules)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}",
             "CRUCIBLE_HOME": str(home), "DJANGO_SETTINGS_MODULE":
             "crucible.settings", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def command_of(image: str) -> list[str]:
    (line,) = re.findall(r"^CMD (\[.*\])$", (DEPLOY / f"{image}.Containerfile").read_text(), re.M)
    return json.loads(line)


def test_the_site_works_without_what_its_image_lacks(tmp_path):
    """As the processes of `make up` start: web, worker, reconciler, supervisor, backup."""
    imports_without(
        tmp_path, COMPUTE,
        ["crucible.wsgi", "crucible.urls", "crucible.supervisor",
         "crucible.jobs.tasks", "crucible.jobs.reconciler", "crucible.pages.site_checks"],
    )  # fmt: skip


def test_a_node_works_without_what_its_image_lacks(tmp_path):
    imports_without(tmp_path, SITE, [*MODULES.values(), "submissions.warden", "submissions.cli"])


def test_a_missing_module_would_be_found(tmp_path):
    assert {"torch", "composer", "transformers"} <= set(COMPUTE)
    assert {"django", "celery", "psycopg", "gunicorn"} <= set(SITE)
    with pytest.raises(AssertionError, match="django"):
        imports_without(tmp_path, SITE, ["crucible.wsgi"])


def test_the_image_of_the_site_runs_what_the_tests_run():
    """tests/e2e starts every installation by this very command, from the root of the clone."""
    assert command_of("site") == [".venv/bin/python", "-m", "crucible.supervisor", "up"]
    assert '"-m", "crucible.supervisor", "up"' in (ROOT / "tests/e2e/conftest.py").read_text()


def test_the_image_of_a_node_runs_what_the_tests_run():
    command = command_of("node")
    assert command[:4] == [".venv/bin/ray", "start", "--head", "--block"]
    ray = shutil.which("ray", path=str(ROOT / ".venv/bin"))
    said = subprocess.run([ray, "start", "--help"], capture_output=True, text=True, check=True)
    for option in command[2:]:
        assert option.partition("=")[0] in said.stdout, option


def test_packages_of_a_node_are_pinned_by_the_constraints():
    pins = (ROOT / "requirements/constraints.txt").read_text().lower()
    for line in (ROOT / "requirements/node.txt").read_text().splitlines():
        if not line.startswith("#"):
            assert re.search(rf"^{re.escape(line.partition('[')[0])}==", pins, re.M), line


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_container_is_closed(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit"} <= service.keys()
    if "build" in service:
        text = (ROOT / service["build"]["dockerfile"]).read_text()
        assert re.findall(r"^USER (.*)$", text, re.M) == ["10001:10001"]
        assert "\nHEALTHCHECK" in text
    else:
        assert not service["user"].startswith(("0", "root"))
        assert "healthcheck" in service
        assert re.search(r":\d", service["image"])


def test_a_node_has_no_secret_of_the_site_and_reaches_only_jobs():
    node = SERVICES["node"]
    assert set(node["environment"]) == {"RAY_AUTH_TOKEN"}
    assert "env_file" not in node
    assert node["networks"] == ["jobs"]
    assert COMPOSE["networks"]["jobs"]["internal"]
    assert [name for name, one in SERVICES.items() if "jobs" in one["networks"]] == ["site", "node"]
    assert [n for n, one in SERVICES.items() if "database" in one["networks"]] == [
        "site",
        "postgres",
    ]
    # Nor in the folder that it shares: the key comes by the environment, the database too.
    assert {"CRUCIBLE_SECRET_KEY", "DATABASE_URL"} <= SERVICES["site"]["environment"].keys()


def test_the_proxy_alone_is_reached_from_outside():
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]


def test_every_stage_runs_on_the_node():
    rules = rules_load(str(DEPLOY / "ray/backends.toml"))
    for stage in Stage:
        assert rules.scheduler_for(stage.value, "smoke") == "ray"


def test_every_variable_of_the_compose_file_is_in_the_example():
    used = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    example = (DEPLOY / "crucible.env.example").read_text()
    listed = set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.M))
    assert used <= listed
    settings = (ROOT / "docs/settings.md").read_text()
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", settings, re.M))
    for name in listed - documented:  # the containers' own
        assert f"`{name}`" in (ROOT / "docs/deploy.md").read_text(), name


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_the_units_are_right(tmp_path):
    """A key that systemd does not know is a warning there, and a failure here."""
    units = list((DEPLOY / "systemd").iterdir())
    for unit in units:
        text = unit.read_text().replace("/opt/crucible/.venv/bin/python", sys.executable)
        (tmp_path / unit.name).write_text(text)

    def said() -> str:
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
            capture_output=True, text=True,
        )  # fmt: skip
        return "".join(
            x for x in (done.stdout + done.stderr).splitlines(True) if str(tmp_path) in x
        )

    assert len(units) == 3
    assert said() == ""
    path = tmp_path / "crucible.service"
    path.write_text(path.read_text().replace("KillMode=", "KilMode="))
    assert "KilMode" in said()
