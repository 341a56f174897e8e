"""The curation steps that know the suite, on the bundled smoke tasks."""

from __future__ import annotations

import json

import pytest

from evaluation.contamination.index import build_index, load_index, read_examples
from evaluation.suite import load_suite
from submissions.curation.run import curate

PLAIN = "The river carries water from the mountains to the sea, and people build towns along it. "


@pytest.mark.parametrize("use", ["contamination", "cosmopedia"])
def test_documents_with_a_question_leave(tmp_path, use):
    build_index(load_suite("smoke"), None, tmp_path / "index")
    index = load_index(tmp_path / "index")
    found = read_examples(index, range(len(index.units.question)))
    leak = max((str(one["question"]) for one in found.values()), key=len)
    answers = [str(choice) for one in found.values() if str(one["question"]) == leak
               for choice in one.get("options", one.get("choices", []))]  # fmt: skip
    documents = [PLAIN * 5, f"{PLAIN} {leak} {' '.join(answers)} {PLAIN}", "Nothing to see here."]
    shard = tmp_path / "a.jsonl"
    shard.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'[[steps]]\nuse = "{use}"\nindex = "index"\n')
    document = curate(recipe, [shard], tmp_path / "out")
    assert document["steps"][0]["dropped"] == 1
    (line,) = (tmp_path / "out" / "dropped.log").read_text().splitlines()
    assert json.loads(line)["line"] == 2
