"""The engine: stages, counts, resuming, the same bytes for any workers, sentences for mistakes."""

from __future__ import annotations

import itertools
import json
import os
import re
import stat
import sys
import textwrap
from pathlib import Path

import pytest

from submissions.cli import main
from submissions.curation import work
from submissions.curation.recipe import load_steps
from submissions.curation.run import _Run, curate
from submissions.curation.slurm import SlurmArray
from submissions.curation.step import STEPS
from submissions.executor import LocalProcesses
from submissions.failures import Failure
from tests.submissions.curation.conftest import (
    bytes_of,
    prose,
    texts_of,
    write_lines,
    write_warc,
)

ROOT = Path(__file__).resolve().parents[3]
CHAIN = """
[[steps]]
use = "extract"

[[steps]]
use = "gopher-quality"

[[steps]]
use = "exact-duplicates"

[[steps]]
use = "c4"
only_sentences = false

[[steps]]
use = "bloom-duplicates"
groups = 2
expected = 10000

[[steps]]
use = "minhash-duplicates"

[[steps]]
use = "sample"
share = 0.9
"""
OWN = '''
from submissions.curation.step import Document, Step, step

@step("no-day")
class NoDay(Step, frozen=True):
    """Drops documents that name a day."""

    day: int

    def apply(self, document: Document) -> str | None:
        return "names the day" if f"On day {self.day} " in document.text else None
'''


@pytest.fixture
def pool(tmp_path):
    folder = tmp_path / "pool"
    page = "<html><body><nav>Home</nav><main><p>{}</p></main></body></html>"
    pages = [
        (f"http://a.example/{n}", page.format(prose(n)).encode(), "text/html; charset=utf-8")
        for n in range(30)
    ]
    write_warc(folder / "crawl-0.warc.gz", pages[:20])
    write_warc(folder / "crawl-1.warc.gz", pages[15:])  # five copies
    for shard in range(3):
        lines = [{"text": prose(100 + 10 * shard + n), "source": "notes"} for n in range(10)]
        write_lines(folder / f"notes-{shard}.jsonl", [*lines, {"text": "short", "source": "x"}])
    return folder


def test_counts_of_a_chain_fit_together(run, pool):
    document, output = run(CHAIN, pool)
    steps = document["steps"]
    assert [step["name"] for step in steps] == [
        "extract", "gopher-quality", "exact-duplicates", "c4", "bloom-duplicates",
        "minhash-duplicates", "sample",
    ]  # fmt: skip
    assert steps[0]["in"] == 35 + 33
    for before, after in itertools.pairwise(steps):
        assert before["out"] == before["in"] - before["dropped"] == after["in"]
        assert before["bytes_out"] == after["bytes_in"]
    assert steps[1]["reasons"] == {"too few words": {"documents": 3, "pieces": 0}}
    assert steps[2]["dropped"] == 5
    assert document["documents"] == steps[-1]["out"] == len(texts_of(output))
    log = [json.loads(line) for line in (output / "dropped.log").read_text().splitlines()]
    copies = [one for one in log if one["step"] == "exact-duplicates"]
    assert len(copies) == 3
    assert {one["shard"] for one in copies} == {"crawl-1.warc.gz"}
    assert all(1 <= one["line"] <= 5 for one in copies)
    assert json.loads((output / "stats.json").read_text())["steps"] == steps
    assert not (output.parent / ".out.partial").exists()


def test_the_output_is_a_dataset_that_keeps_its_keys(run, pool):
    _, output = run(CHAIN, pool)
    from submissions.dataset import find_dataset
    from submissions.documents import read_objects

    shards = find_dataset([output]).shards
    assert [shard.name for shard in shards][:2] == ["crawl-0.jsonl.zst", "crawl-1.jsonl.zst"]
    rows = [fields for shard in shards for _, fields in read_objects(shard, "zst")]
    assert {frozenset(row) for row in rows} == {
        frozenset({"text", "url"}), frozenset({"text", "source"})
    }  # fmt: skip


def test_any_number_of_workers_writes_the_same_bytes(run, pool):
    recipe = CHAIN.partition('[[steps]]\nuse = "minhash')[0]
    _, one = run(recipe, pool, output="one")
    _, two = run(recipe, pool, output="two", placement=LocalProcesses(2))
    assert bytes_of(one) == bytes_of(two)
    assert (one / "dropped.log").read_bytes() == (two / "dropped.log").read_bytes()


def test_a_killed_run_goes_on_where_it_was(run, pool, monkeypatch):
    """The process ends in the third task of the second stage; no task before it runs again."""
    done = []
    real = work._PartRun.run

    def counted(self):
        if len(done) == 7 and not os.environ.get("GO_ON"):
            raise KeyboardInterrupt
        done.append(self.part.target)
        real(self)

    monkeypatch.setattr(work._PartRun, "run", counted)
    with pytest.raises(KeyboardInterrupt):
        run(CHAIN, pool)
    monkeypatch.setenv("GO_ON", "1")
    _, output = run(CHAIN, pool)
    assert len(done) == len(set(done))
    monkeypatch.setattr(work._PartRun, "run", real)
    assert bytes_of(output) == bytes_of(run(CHAIN, pool, output="again")[1])


def test_a_cut_warc_costs_no_other_shard_and_is_named(run, pool):
    whole = (pool / "crawl-1.warc.gz").read_bytes()
    (pool / "crawl-1.warc.gz").write_bytes(whole[:-40])
    with pytest.raises(Failure) as caught:
        run(CHAIN, pool)
    assert caught.value.code == "shard_truncated"
    assert str(caught.value).startswith("crawl-1.warc.gz: the gzip data ends")
    assert "the work on the others is kept" in str(caught.value)
    assert len(list((pool.parent / ".out.partial").glob("0-*/*.json"))) == 4
    (pool / "crawl-1.warc.gz").write_bytes(whole)
    seen = {}
    real = work._PartRun.run

    def noticed(self):
        seen.setdefault(self.part.target.parent.name[0], []).append(self.part.name)
        real(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work._PartRun, "run", noticed)
        run(CHAIN, pool)
    assert seen["0"] == ["crawl-1.warc.gz"]


def test_steps_of_ones_own_take_ten_lines(run, pool, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    recipe = '[[steps]]\nuse = "extract"\n[[steps]]\nuse = "no-day"\nday = 7\n'
    document, output = run(recipe, pool, own=[file])
    assert document["steps"][1]["reasons"] == {"names the day": {"documents": 1, "pieces": 0}}
    assert not any("On day 7 " in text for text in texts_of(output))


def test_a_step_that_fails_names_the_step_and_the_document(run, pool, tmp_path):
    file = tmp_path / "bad.py"
    file.write_text(OWN.replace('"no-day"', '"bad"').replace("self.day}", "1 // 0}"))
    recipe = '[[steps]]\nuse = "bad"\nday = 7\n'
    with pytest.raises(Failure) as caught:
        run(recipe, pool / "notes-1.jsonl", own=[file])
    assert caught.value.code == "step_failed"
    assert str(caught.value).startswith("notes-1.jsonl:1: step bad: ZeroDivisionError")


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ('[[steps]]\nuse = "gofer-quality"\n', "step 1: there is no step 'gofer-quality'; did you"),
        ('[[steps]]\nuse = "c4"\nlines = 3\n', "step 1 (c4) has the unknown option 'lines'; its"),
        ('[[steps]]\nuse = "c4"\nleast_sentences = "a"\n', "step 1 (c4): least_sentences is a str"),
        ('[[steps]]\nuse = "sample"\n', "step 1 (sample): give either share or bytes"),
        ('[[steps]]\nuse = "fasttext"\nshare = 0.1\nmodel = "no.bin"\n', "no file or folder"),
        ('[[steps]]\nuse = "c4"\n[[steps]]\nuse = "c4"\n', "the name 'c4' is taken"),
        ("steps = 3", "steps is a whole number, not a list"),
        ("steps = []", "has 0 steps"),
        ("[[steps]", "is not TOML"),
    ],
)
def test_a_mistake_in_a_recipe_is_one_sentence(run, pool, recipe, said):
    with pytest.raises(Failure) as caught:
        run(recipe, pool)
    assert caught.value.code == "curation_invalid"
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ('[[steps]]\nuse = "c4"\n[[steps]]\nuse = "extract"\n', "step c4 reads text, but crawl-0"),
        ('[[steps]]\nuse = "url-rules"\ndrop_without_url = true\n', "no step makes text of them"),
    ],
)
def test_pages_need_a_step_that_makes_text(run, pool, recipe, said):
    with pytest.raises(Failure) as caught:
        run(recipe, pool)
    assert said in str(caught.value)


def test_a_classifier_trained_on_nothing_is_refused(run, pool, tmp_path):
    write_lines(tmp_path / "good.jsonl", [{"text": " "}] * 30)
    recipe = '[[steps]]\nuse = "fasttext"\nshare = 0.5\npositives = ["good.jsonl"]\n'
    recipe += 'negatives = ["pool/notes-0.jsonl"]\n'
    with pytest.raises(Failure) as caught:
        run(recipe, pool / "notes-1.jsonl")
    assert "positives hold 0 documents with text" in str(caught.value)


def test_the_command_prints_the_promised_keys(pool, tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[[steps]]\nuse = "gopher-quality"\n')
    given = ["curate", str(recipe), "--input", str(pool / "notes-0.jsonl")]
    assert main([*given, "--output", str(tmp_path / "a"), "--workers", "1", "--json"]) == 0
    (step,) = json.loads(capsys.readouterr().out)["steps"]
    assert {"name", "in", "out", "dropped", "seconds"} <= step.keys()
    assert (step["in"], step["out"], step["dropped"]) == (11, 10, 1)
    assert main([*given, "--output", str(tmp_path / "b"), "--workers", "1"]) == 0
    assert "too few words" in capsys.readouterr().out
    assert main([*given, "--output", str(tmp_path / "b"), "--workers", "1"]) == 1
    assert "is not empty" in capsys.readouterr().err


def test_examples_name_lines_of_the_input_after_every_kind_of_stage(run, tmp_path):
    """Line 1 leaves before; what a sweep and a joint step drop stands on lines 3 and 4."""
    texts = ["short", prose(1), prose(1), prose(1) + "\nAnd one more line that is quite new here."]
    shard = write_lines(tmp_path / "a.jsonl", [{"text": text, "_line": 9} for text in texts])
    recipe = (
        '[[steps]]\nuse = "gopher-quality"\n[[steps]]\nuse = "bloom-duplicates"\n'
        'documents = false\n[[steps]]\nuse = "sample"\nbytes = 40\n'
    )
    _, output = run(recipe, shard)
    log = [json.loads(line) for line in (output / "dropped.log").read_text().splitlines()]
    found = {(one["step"], one["reason"]): one["line"] for one in log}
    assert found["gopher-quality", "too few words"] == 1
    assert found["bloom-duplicates", "all paragraphs seen before"] == 3
    (kept,) = texts_of(output)
    assert found["sample", "not drawn"] == (2 if kept.startswith("And") else 4)


def test_nothing_left_is_an_empty_output_and_no_crash(run, pool):
    recipe = '[[steps]]\nuse = "gopher-quality"\nleast_words = 90000\n'
    recipe += '[[steps]]\nuse = "exact-duplicates"\n[[steps]]\nuse = "c4"\n'
    document, output = run(recipe, pool / "notes-0.jsonl", pool / "notes-1.jsonl")
    assert document["documents"] == 0
    assert bytes_of(output) == {}


SBATCH = """#!{python}
import os, re, subprocess, sys
words = dict(word.partition("=")[::2] for word in sys.argv[1:])
first, last = map(int, words["--array"].split("-"))
with open({calls!r}, "a") as file:
    file.write(words["--array"] + "\\n")
skip = os.path.exists({lame!r})
for number in range(first, last + 1):
    if skip and number == first:
        os.unlink({lame!r})
        continue
    subprocess.run(words["--wrap"], shell=True, check=True,
                   env=os.environ | {{"SLURM_ARRAY_TASK_ID": str(number)}})
print(7)
"""


def test_slurm_arrays_give_the_same_bytes_and_take_up_what_a_lost_node_left(
    run, pool, tmp_path, monkeypatch
):
    calls, lame = tmp_path / "calls", tmp_path / "lame"
    lame.touch()
    fake = tmp_path / "bin" / "sbatch"
    fake.parent.mkdir()
    fake.write_text(SBATCH.format(python=sys.executable, calls=str(calls), lame=str(lame)))
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    recipe = '[[steps]]\nuse = "extract"\n[[steps]]\nuse = "exact-duplicates"\n'
    _, here = run(recipe, pool, output="here")
    there = tmp_path / "there"
    _, there = run(recipe, pool, output="there", placement=SlurmArray(2, there))
    assert bytes_of(here) == bytes_of(there)
    assert calls.read_text().split() == ["0-1", "0-1", "0-1"]  # the lost half of the first stage
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(Failure) as caught:
        run(recipe, pool, output="no", placement=SlurmArray(2, tmp_path / "no"))
    assert caught.value.code == "cluster_unreachable"


def test_synthetic_shares_are_told_by_source(run, tmp_path):
    shard = write_lines(
        tmp_path / "a.jsonl",
        [{"text": "four", "source": "books"}, {"text": "made", "source": "tales", "synthetic": "m"},
         {"text": "real", "source": "tales", "synthetic": False}],
    )  # fmt: skip
    document, _ = run('[[steps]]\nuse = "sample"\nshare = 1.0\n', shard)
    books, tales = document["sources"]
    assert (books["name"], books["synthetic_share"]) == ("books", 0.0)
    assert (tales["name"], tales["synthetic_share"]) == ("tales", 0.5)
    assert tales["generators"] == {"m": 1}


def test_a_finished_output_is_not_overwritten(run, pool):
    run('[[steps]]\nuse = "c4"\n', pool / "notes-0.jsonl")
    with pytest.raises(Failure) as caught:
        curate(pool.parent / "recipe.toml", [pool / "notes-0.jsonl"], pool.parent / "out")
    assert caught.value.code == "output_exists"


def test_the_step_of_the_docs_runs(run, tmp_path):
    page = (ROOT / "docs" / "curation.md").read_text()
    block = page.split("## A step of your own\n\n")[1].split("\n\n`apply`")[0]
    (tmp_path / "shouting.py").write_text(textwrap.dedent(block))
    assert len([line for line in block.splitlines() if line.strip()]) <= 10
    shard = write_lines(tmp_path / "a.jsonl", [{"text": "quiet words"}, {"text": "LOUD WORDS"}])
    recipe = '[[steps]]\nuse = "shouting"\n'
    document, output = run(recipe, shard, own=[tmp_path / "shouting.py"])
    assert document["steps"][0]["reasons"] == {"capitals": {"documents": 1, "pieces": 0}}
    assert texts_of(output) == ["quiet words"]


def test_every_step_is_in_the_docs():
    load_steps()
    page = (ROOT / "docs" / "curation.md").read_text()
    table = page.split("## Steps")[1].split("\n## ")[0]
    named = set(re.findall(r"`([a-z0-9-]+)`", "".join(re.findall(r"^\| (`[^|]+) \|", table, re.M))))
    ours = {name for name, kind in STEPS.items() if kind.__module__ != "own" and
            not kind.__module__.startswith("own_steps_")}  # fmt: skip
    assert named == ours


def test_old_work_of_another_input_or_recipe_decides_nothing(run, pool):
    """Killed before its end, then run without a shard and with a shorter recipe."""
    recipe = '[[steps]]\nuse = "exact-duplicates"\n[[steps]]\nuse = "sample"\nshare = 0.9\n'
    copy = write_lines(pool / "a.jsonl", [{"text": prose(100)}, {"text": prose(1)}])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Run, "placed", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            run(recipe, copy, pool / "notes-0.jsonl")
    assert (pool.parent / ".out.partial").exists()
    document, output = run(recipe.partition('[[steps]]\nuse = "sample')[0], pool / "notes-0.jsonl")
    assert document["steps"][0]["dropped"] == 0
    assert len(texts_of(output)) == 11
