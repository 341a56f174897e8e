"""The grid of prompts: every combination, draws that grow, and how much repeats."""

from __future__ import annotations

import json

import pytest

from submissions.cli import main
from submissions.curation.prompts import write_prompts
from submissions.failures import Failure

GRID = """
template = "Write a {style} about {topic} for {audience}."
[axes]
topic = ["the tides of the northern sea", "how a compiler reads a program", "bread"]
audience = ["children", "engineers"]
style = ["story", "textbook section"]
"""


def prompts_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_combination_once(tmp_path, capsys):
    grid = tmp_path / "grid.toml"
    grid.write_text(GRID)
    output = tmp_path / "prompts.jsonl"
    assert main(["prompts", str(grid), "--output", str(output), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = prompts_of(output)
    assert len({row["prompt"] for row in rows}) == 12 == report["prompts"] == report["combinations"]
    assert rows[0].keys() == {"prompt", "topic", "audience", "style"}
    assert report["duplicates"]["exact"] == 0.0
    assert main(["prompts", str(grid), "--output", str(output)]) == 0
    assert "12 of 12 prompts" in capsys.readouterr().out


def test_a_larger_draw_holds_the_smaller_one(tmp_path):
    grid = tmp_path / "grid.toml"
    drawn = []
    for most in (4, 8):
        grid.write_text(f"most = {most}\n{GRID}")
        write_prompts(grid, tmp_path / "p.jsonl")
        drawn.append([row["prompt"] for row in prompts_of(tmp_path / "p.jsonl")])
    assert len(drawn[1]) == 8
    assert drawn[0] == drawn[1][:4]


def test_the_rates_count_copies(tmp_path):
    grid = tmp_path / "grid.toml"
    grid.write_text('template = "Tell of {a}"\n[axes]\na = ["one", "one", "two", "three"]\n')
    report = write_prompts(grid, tmp_path / "p.jsonl")
    assert report.duplicates.exact == 0.25


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ('template = "{a} {b}"\n[axes]\na = ["x"]', "they differ in b"),
        ('template = "{a"\n[axes]\na = ["x"]', "braces do not fit"),
        ('template = "{a.x}"\n[axes]\na = ["x"]', "they differ in a, a.x"),
        ('template = "{a!r}"\n[axes]\na = ["x"]', "nothing else there"),
        ('template = "{a}"\n[axes]\na = []', "the axis a has no value"),
        ("template = 3", "template is a whole number"),
    ],
)
def test_a_mistake_in_a_grid_is_one_sentence(tmp_path, grid, said):
    path = tmp_path / "grid.toml"
    path.write_text(grid)
    with pytest.raises(Failure) as caught:
        write_prompts(path, tmp_path / "p.jsonl")
    assert said in str(caught.value)
