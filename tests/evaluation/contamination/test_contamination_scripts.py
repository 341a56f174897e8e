"""Scripts without spaces: honest sentences are no leaks, whole questions are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluation.contamination.folding import words_in
from evaluation.contamination.index import Index, build_index
from evaluation.contamination.scan import scan_dataset
from evaluation.contamination.words import Words
from tests.evaluation.contamination.conftest import write_suite

ROWS = [
    {"query": "地球上最深的海沟叫什么名字", "choices": ["马里亚纳海沟", "汤加海沟"], "gold": 0},
    {"query": "光在真空中每秒大约传播多少公里", "choices": ["三十万公里", "三千公里"], "gold": 0},
    {"query": "老王每天早上从村口挑两担水回家每担水有十八公斤请问他一个星期一共挑了多少公斤水",
     "choices": ["二百五十二", "一百二十六"], "gold": 0},
    {"query": "日本で一番高い山は富士山ですが二番目に高い山の名前とその標高を答えてください",
     "choices": ["北岳で三千百九十三メートル", "奥穂高岳"], "gold": 0},
    {"query": "แม่น้ำสายใดที่ไหลผ่านกรุงเทพมหานครและลงสู่อ่าวไทยที่จังหวัดสมุทรปราการ",
     "choices": ["แม่น้ำเจ้าพระยา", "แม่น้ำโขง"], "gold": 0},
]  # fmt: skip
HONEST = [
    "马里亚纳海沟是地球上最深的海沟，深约一万一千米。",
    "光在真空中每秒大约传播三十万公里，在水中要慢一些。",
    "他一个星期一共挑了多少公斤水，谁也没有数过。",
    "富士山は日本で一番高い山で、毎年多くの人が登ります。",
    "แม่น้ำเจ้าพระยาไหลผ่านกรุงเทพมหานครและลงสู่อ่าวไทย",
    "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("scripts")
    suite = write_suite(folder, {"own": ("multiple_choice", ROWS)})
    return build_index(suite, folder, folder / "index")


def gravest(texts: list[str], index: Index, tmp_path: Path) -> list[set[tuple[int, str]]]:
    """(row, severity) of what is found in each of these documents."""
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    found: list[set[tuple[int, str]]] = [set() for _ in texts]
    for finding in scan_dataset([path], index.folder, tmp_path / "report.json")["findings"]:
        found[finding["line"] - 1].add((finding["index"], finding["severity"]))
    return found


def test_honest_sentences_are_for_review_at_most(foreign: Index, tmp_path: Path) -> None:
    for text, found in zip(HONEST, gravest(HONEST, foreign, tmp_path), strict=True):
        assert {severity for _, severity in found} <= {"review"}, text


def test_a_whole_question_is_found_in_every_script(foreign: Index, tmp_path: Path) -> None:
    leaks = [f"{row['query']}？答案：{row['choices'][0]}" for row in ROWS]
    found = gravest(leaks, foreign, tmp_path)
    assert found == [{(k, "high")} for k in range(len(ROWS))]
    # Fewer than three questions of under eight words' worth may be chance.
    assert gravest([ROWS[0]["query"]], foreign, tmp_path) == [{(0, "review")}]
    together = gravest(["\n".join(leaks)], foreign, tmp_path)[0]
    assert {row for row, _ in together} == set(range(len(ROWS)))


def test_characters_count_as_the_share_of_a_word_that_they_say() -> None:
    assert Words(b"two words").shares.tolist() == [1, 1]
    han, thai, kana = (float(Words(c.encode()).shares[0]) for c in ("水", "ก", "の"))
    assert (han, thai, kana) == pytest.approx((1 / 1.7, 1 / 4, 1 / 3.5))
    assert words_in("five words of plain English") == 5
    assert words_in("水" * 17) == pytest.approx(11)
