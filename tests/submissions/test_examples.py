"""The example scripts: the pool has the same bytes every time, curation takes out planted mess."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from submissions.shard_search import find_shards
from submissions.shards import read_documents

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(script: str, *arguments: str | Path) -> str:
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def texts(folder: Path) -> list[str]:
    return [document.text for shard in find_shards([folder]) for document in read_documents(shard)]


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pools")
    for name in ("a", "b"):
        run("build_pool.py", folder / name, "--megabytes", "2")
    return folder / "a", folder / "b"


def test_two_builds_give_the_same_bytes(pools: tuple[Path, Path]) -> None:
    first, second = ({path.name: path.read_bytes() for path in pool.iterdir()} for pool in pools)
    assert first == second
    assert {name.partition(".")[2] for name in first} == {"jsonl", "jsonl.gz", "jsonl.zst"}


def test_the_pool_holds_real_text_and_real_mess(pools: tuple[Path, Path]) -> None:
    found = texts(pools[0])
    assert 1.8e6 < sum(map(len, found)) < 3e6
    assert len(set(found)) < len(found), "there are copies"
    everything = "\n".join(found)
    for trace in ("Traceback (most recent call last)", "def ", "Permission is hereby granted",
                  "msgstr", "We use cookies", "sha256="):  # fmt: skip
        assert trace in everything
    root = str(EXAMPLES.parent)
    assert root not in everything, "the pool tells where this machine keeps things"


def test_a_new_folder_is_never_mixed_with_an_old_one(pools: tuple[Path, Path]) -> None:
    for script, arguments in (("build_pool.py", [pools[0]]), ("curate.py", [pools[0], pools[1]])):
        with pytest.raises(subprocess.CalledProcessError) as caught:
            run(script, *arguments)
        assert caught.value.returncode == 2


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
    run("curate.py", pool, tmp_path / "out")
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
