"""`make audit` never takes silence for a clean bill."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("audit", ROOT / "deploy" / "audit.py")
audit = importlib.util.module_from_spec(spec)
sys.modules["audit"] = audit  # dataclasses look their module up
spec.loader.exec_module(audit)

PINS = ["Django==5.2.19", "ruamel.yaml==0.18.0"]
HOLE = {"id": "PYSEC-2014-8", "fix_versions": ["2.7.2"], "aliases": []}
CONTROL = {"dependencies": [{"name": "jinja2", "version": "2.4.1", "vulns": [HOLE]}]}
SKIPPED = {"name": "jinja2", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def told(*entries):
    return {"dependencies": list(entries), "fixes": []}


def entry(name, *problems):
    return {"name": name, "version": "1.0", "vulns": list(problems)}


def test_all_packages_known_and_none_with_a_hole_is_a_pass():
    verdict = audit.verdict_of(PINS, CONTROL, told(entry("django"), entry("ruamel-yaml")))
    assert (verdict.code, verdict.lines) == (0, ["no known vulnerability in 2 packages"])


def test_a_hole_is_named_with_its_repair():
    document = told(entry("django", HOLE), entry("ruamel-yaml"))
    verdict = audit.verdict_of(PINS, CONTROL, document)
    assert verdict.code == 1
    assert verdict.lines == ["django 1.0: PYSEC-2014-8 (repaired in 2.7.2)"]


@pytest.mark.parametrize("control", [None, told(), told(SKIPPED), told(entry("jinja2"))])
def test_a_database_that_does_not_know_the_control_is_not_believed(control):
    verdict = audit.verdict_of(PINS, control, told(entry("django"), entry("ruamel-yaml")))
    assert verdict.code == 3
    assert "no pass" in verdict.lines[0]


@pytest.mark.parametrize("document", [None, told(), told(SKIPPED), told(entry("django"))])
def test_a_package_without_an_answer_is_no_pass(document):
    verdict = audit.verdict_of(PINS, CONTROL, document)
    assert verdict.code == 3
    assert "ruamel-yaml" in verdict.lines[0]


def test_a_hole_outweighs_missing_answers():
    verdict = audit.verdict_of(PINS, CONTROL, told(entry("django", HOLE)))
    assert verdict.code == 1
    assert "no answer for 1 of 2 packages" in verdict.lines[1]


def test_pins_are_read_with_hashes_and_without():
    lines = ["# a comment", "Django==5.2.19 \\", "    --hash=sha256:ab", "-e .",
             "yarl==1.2 ; python_version > '3'"]  # fmt: skip
    text = "\n".join(lines)
    assert audit.pins_of(text) == ["Django==5.2.19", "yarl==1.2"]
    pins = audit.pins_of((ROOT / "requirements/constraints.txt").read_text())
    assert len(pins) > 100


def test_what_asks_is_pinned_itself():
    lines = (ROOT / "requirements/audit.txt").read_text().splitlines()
    named = [line for line in lines if line and not line.startswith("#")]
    assert audit.pins_of("\n".join(named)) == named
