"""Programs with other names, comments and layout."""

from __future__ import annotations

import json
import re
from pathlib import Path

from evaluation.contamination import compiling
from evaluation.contamination.code import looks_like_code, programs_in, programs_of
from evaluation.contamination.index import Index
from evaluation.contamination.scan import scan_dataset
from tests.evaluation.contamination.conftest import CODE_ROWS, FILLER

PROGRAM = CODE_ROWS[0]["prompt"] + CODE_ROWS[0]["canonical_solution"]
RENAMED = """
import sys

def widest_run(xs):  # how wide
    top = cur = 7
    # one after another
    for i, x in enumerate(xs):
        if i and xs[i - 12] == x:
            cur += 1
        else:
            cur = 1
        top = max(top, cur)
    return top
"""
OTHER = """
def total(rows):
    result = {}
    for row in rows:
        if row["kind"] not in result:
            result[row["kind"]] = 0
        result[row["kind"]] += row["amount"]
    return [(kind, amount) for kind, amount in sorted(result.items()) if amount > 10]
"""


def test_names_comments_and_numbers_do_not_matter() -> None:
    programs = programs_of(["", PROGRAM])
    (found,) = programs_in(f"{OTHER}\n{RENAMED}", programs)
    assert found.example == 1
    assert found.coverage == 1.0
    start, end = found.doc_span
    assert f"{OTHER}\n{RENAMED}"[start:end].startswith("def widest_run")
    assert list(programs_in(OTHER, programs)) == []


def test_what_may_be_code() -> None:
    assert looks_like_code(RENAMED)
    assert not looks_like_code(FILLER)


def test_a_scan_reports_them(index: Index, tmp_path: Path) -> None:
    half = RENAMED.partition("        else:")[0]
    texts = [FILLER, RENAMED, OTHER, half, PROGRAM + FILLER]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    report = scan_dataset([path], index.folder, tmp_path / "report.json")
    found = [(f["line"], f["severity"], f["part"]) for f in report["findings"]]
    assert [one for one in found if one[0] == 2] == [(2, "high", "code")]
    assert report["examples"] == [
        {"task": "code", "index": 0, "severity": "high",
         "documents": {"high": 3, "medium": 0, "review": 0, "passage": 0}}
    ]  # fmt: skip
    assert report["flagged_documents"]["high"] == 3


def test_every_compiled_module_renews_what_was_compiled() -> None:
    """Else a process would go on with the machine code of an older version."""
    compiled = {
        path.stem
        for path in compiling.FOLDER.glob("*.py")
        if re.search("@(compiled|intrinsic)", path.read_text())
    }
    assert compiled | {"compiling", "folding"} == set(compiling.COMPILED)
