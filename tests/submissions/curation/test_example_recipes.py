"""The recipe files in examples/ are what the kit understands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from submissions.curation.recipe import load_recipe

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
RECIPES = sorted(EXAMPLES.rglob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads_once_its_files_are_there(tmp_path, path):
    shutil.copytree(path.parent, tmp_path / "recipes")
    named = r'"((?:models|positives|negatives)/[^"]+|reference\.jsonl|deduplication)"'
    for name in re.findall(named, path.read_text()):
        target = tmp_path / "recipes" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    own = [EXAMPLES / "prose_paragraphs.py"]
    assert load_recipe(tmp_path / "recipes" / path.name, own).steps


def test_dclms_three_questions_have_their_recipes():
    names = [path.stem for path in RECIPES if path.parent.name == "dclm"]
    assert sum(name.startswith("extract-") for name in names) == 3
    assert sum(name.startswith("deduplicate-") for name in names) == 4
    assert sum(name.startswith("classify-") for name in names) >= 3
    for path in RECIPES:
        if path.parent.name == "dclm":
            assert "Not run at DCLM's size." in path.read_text().replace("\n# ", " ")
