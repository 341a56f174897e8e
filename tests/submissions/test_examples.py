"""The example scripts: the pool has the same bytes every time, curation takes out planted mess."""

from __future__ import annotations

import html
import json
import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo import ENTRIES, steps_of
from submissions.curation.reading import read_input
from submissions.curation.run import curate
from submissions.shard_search import find_shards
from submissions.shards import LocalShard, read_documents

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(script: str, *arguments: str | Path) -> str:
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pools")
    for name in ("a", "b"):
        reference = folder / f"{name}.jsonl"
        run("build_pool.py", folder / name, "--megabytes", "2", "--reference", reference)
    return folder / "a", folder / "b"


def pages(folder: Path) -> list[str]:
    found = []
    for path in sorted(folder.iterdir()):
        for document in read_input(LocalShard(path.name, "warc.gz", path)):
            assert document.page is not None
            found.append(document.page.decode())
    return found


def test_two_builds_give_the_same_bytes(pools: tuple[Path, Path]) -> None:
    first, second = ({path.name: path.read_bytes() for path in pool.iterdir()} for pool in pools)
    assert first == second
    assert len(first) == 8
    assert all(name.endswith(".warc.gz") for name in first)
    one, other = (pool.with_suffix(".jsonl").read_bytes() for pool in pools)
    assert one == other
    assert len(one.splitlines()) > 100


def test_the_pool_holds_real_text_and_real_mess(pools: tuple[Path, Path]) -> None:
    everything = html.unescape("\n".join(pages(pools[0])))
    for trace in ("Traceback (most recent call last)", "def ", "Permission is hereby granted",
                  "msgstr", "We use cookies", "sha256=", "<nav", "casino", "<script>"):  # fmt: skip
        assert trace in everything
    root = str(EXAMPLES.parent)
    assert root not in everything, "the pool tells where this machine keeps things"


def test_a_new_folder_is_never_mixed_with_an_old_one(pools: tuple[Path, Path]) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run("build_pool.py", pools[0])
    assert caught.value.returncode == 2


def test_the_story_goes_from_pages_to_fewer_and_better_documents(
    pools: tuple[Path, Path], tmp_path: Path
) -> None:
    """Every recipe of the demo runs on what the one before left; no page furniture survives."""
    for recipe in (EXAMPLES / "story").iterdir():
        (tmp_path / recipe.name).write_text(recipe.read_text())
    (tmp_path / "reference.jsonl").write_bytes(pools[0].with_suffix(".jsonl").read_bytes())
    left = {"pool": pools[0]}
    sizes = []
    for name, source, _ in ENTRIES:
        left[name] = tmp_path / name
        recipe = tmp_path / f"{name}.toml"
        own = [EXAMPLES / "prose_paragraphs.py"]
        report = curate(recipe, [str(left[source])], left[name], own=own)
        sizes.append(report["documents"])
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[2] > sizes[3] > sizes[4] > 20
    raw, extracted, prose = (
        "\n".join(texts(left[name])) for name in ("raw", "extraction", "heuristics")
    )
    assert "Sitemap" in raw
    assert "Sitemap" not in extracted
    assert "Traceback" in extracted
    assert "Traceback (most recent call last)" not in prose
    assert "casino" not in prose.lower()


def test_what_a_step_was_worth_is_told_with_its_interval() -> None:
    """Seeds differ by 0.02 everywhere: s = 0.0141; t of 3 degrees is 3.182, so ± 4.5 points."""
    scores = {"raw": [0.10, 0.12], "better": [0.20, 0.22], "same": [0.21, 0.23]}
    better, same = steps_of(scores)
    assert (better.name, round(better.gain, 6)) == ("better", 10.0)
    assert better.half == pytest.approx(318.2446 * 0.01414214, rel=1e-5)
    assert (better.verdict, same.verdict) == ("paid", "cannot be told from nothing")
    worse = steps_of({"raw": [0.20, 0.22], "worse": [0.0, 0.02]})
    assert worse[0].verdict == "did harm"


def texts(folder: Path) -> list[str]:
    return [document.text for shard in find_shards([folder]) for document in read_documents(shard)]


RECIPE = """
[[steps]]
use = "exact-duplicates"
[[steps]]
use = "prose-paragraphs"
[[steps]]
use = "bloom-duplicates"
words = 8
threshold = 0.7
"""
PROSE = (
    "The keeper of the archive writes down every letter that comes in, and notes from whom it is. "
    "When a letter is lost, the note still tells what was in it and when it was read.\n\n"
    "A visitor can ask for a letter by its number or by the name of its writer. The keeper then "
    "looks it up in the book, and brings it within the hour if nobody else is reading it."
)
MESS = {
    "code": "def f(x):\n    return [y for y in x if y]\n\n\nclass A(B):\n    z = f({1: 2})\n" * 5,
    "markup": "<div class='a'><p>{{ title }}</p></div>\n<table><tr><td>1</td></tr></table>\n" * 9,
    "table": "\n".join(f"{n} | {n * n} | {n**3} | row" for n in range(80)),
    "another language": "Der Schreiber legt jeden Brief in das Fach, das seinen Namen trägt.\n\n"
    * 3,
    "a menu": "Home | About | Search\n\n" * 20,
    "repetition": "Buy now and save now, and buy now and save now, and buy now and save now.",
    "too short": "The end of it.",
    "empty": "",
}


def curated(tmp_path: Path, *documents: str) -> list[str]:
    pool = tmp_path / "pool"
    pool.mkdir()
    lines = [json.dumps({"text": text}) for text in (PROSE, *documents)]
    (pool / "pool.jsonl").write_text("\n".join(lines))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    curate(recipe, [pool], tmp_path / "out", own=[EXAMPLES / "prose_paragraphs.py"])
    return texts(tmp_path / "out")


@pytest.mark.parametrize("kind", MESS)
def test_mess_is_removed_and_prose_is_kept(tmp_path: Path, kind: str) -> None:
    assert curated(tmp_path, MESS[kind]) == [PROSE.replace("\n\n", "\n")]


def test_copies_and_near_copies_are_removed(tmp_path: Path) -> None:
    near = (
        "Home | Search\n\n" + PROSE.replace("archive", "Archive").replace(", ", " , ") + "\n\nEnd."
    )
    assert len(curated(tmp_path, PROSE, near)) == 1


def test_prose_is_taken_out_of_the_page_around_it(tmp_path: Path) -> None:
    other = (
        "He who reads the book must put it back where it was, so that the next reader finds it. "
        "Nobody is asked for a reason, but the keeper writes down who has read which page."
    )
    page = f"Home | Search\n\n{other}\n\n>>> f(x)[0]\n{{1: 2}}\n\n<p>© 2020</p>"
    (first, second) = curated(tmp_path, page)
    assert first == PROSE.replace("\n\n", "\n")
    assert second == other
