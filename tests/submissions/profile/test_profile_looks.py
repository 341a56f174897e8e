"""What is seen of single texts."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from submissions.cli import main
from submissions.near_duplicates import signature
from submissions.profile.kept import PROFILE, SAMPLE, SKETCH
from submissions.profile.looks import (
    compression_ratio,
    furniture_share,
    host_of,
    is_code,
    repeated_lines,
    repeated_runs,
    script_of,
)
from submissions.profile.near import copies_of
from submissions.profile.personal import personal_data
from submissions.profile.rules import RULES, broken_rules
from tests.submissions.profile.conftest import prose


def test_personal_data_is_counted_with_its_check_digits():
    text = (
        "ann@example.org, +49 30 1234567 and (212) 555-0100; 192.168.1.1 but not 1.2.3.400; "
        "card 4111 1111 1111 1111 but not 4111 1111 1111 1112; DE89 3704 0044 0532 0130 00 "
        "but not DE89 3704 0044 0532 0130 01; 2024-01-02"
    )
    assert personal_data(text) == {"mail": 1, "phone": 2, "ip": 1, "card": 1, "iban": 1}
    assert set(personal_data("nothing here").values()) == {0}


@pytest.mark.parametrize("hostile", ["a@", "1.", "+1 ", "1234 ", "AA11", "@a.", ")->", "x(", "- "])
def test_no_text_makes_an_expression_slow(hostile):
    """CPU time that grows with the square would be hours here; the bound is far from both."""
    text = hostile * 100_000
    began = time.process_time()
    personal_data(text)
    is_code([text] * 3)
    furniture_share([text])
    broken_rules(text, [text], "en")
    assert time.process_time() - began < 60


def test_repetition_and_compression():
    assert repeated_lines(["aa", "bb", "aa", "cc"]) == 0.25
    assert repeated_lines([]) == repeated_runs([]) == 0.0
    assert repeated_runs(["a b", "a b", "c d", "a b"]) == 0.5
    assert compression_ratio(b"") == 1.0
    assert compression_ratio(b"ab" * 5_000) > 20 > 2 > compression_ratio(bytes(range(256)))


def test_code_and_furniture_are_told_from_prose():
    code = ["def f(x):", "    y = x + 1", "    return y", "for a in b:", "print(f(3))"]
    assert is_code([line.strip() for line in code])
    assert is_code(["int main() {", "return 0;", "}"])
    assert not is_code(["A river runs.", "It meets the sea.", "Boats lie there."])
    assert furniture_share(["A river runs.", "© 2024 All Rights Reserved"]) == 0.5


def test_scripts_and_hosts():
    assert [script_of(text) for text in ("Привет", "hello 世", "これは本です", "12")] == [
        "Cyrillic", "Latin", "Kana", "",
    ]  # fmt: skip
    assert host_of("https://user@www.Example.com:8080/a?b") == "example.com"
    assert host_of("example.org/page") == "example.org"
    for bad in ("http://[::", "http://<script>/", "", "http://" + "a" * 300):
        assert host_of(bad) == ""


def test_each_rule_is_broken_by_a_text_of_its_own():
    good = "the quick brown fox of the hill ran to the river and slept there " * 5
    cases = {
        "words": "the river of it", "word_length": "a b of the " * 20, "symbols": good + "# " * 50,
        "letters": good + "12 " * 40, "stop_words": "quick brown rivers " * 30,
    }  # fmt: skip
    assert broken_rules(good, [good], "en") == []
    for name, text in cases.items():
        assert name in broken_rules(text, [text], "en"), name
    assert broken_rules(good, ["- a", "• b"], "en") == ["bullets"]
    assert broken_rules(good, ["a…", "b..."], "en") == ["ellipses"]
    assert "stop_words" not in broken_rules(cases["stop_words"], ["x"], "fr")
    assert {*cases, "bullets", "ellipses"} == set(RULES)


def test_near_copies_of_another_dataset():
    mine = np.array([signature(prose(n, 200)) for n in (1, 2)])
    theirs = np.array([signature(prose(1, 195)), signature("…"), signature(prose(9, 200))])
    assert copies_of(mine, theirs).tolist() == [True, False]
    assert copies_of(np.array([signature("…")]), theirs).tolist() == [False]


def test_topics_languages_and_hosts_of_a_dataset(write, profiled, tmp_path):
    documents = [
        {"text": prose(n), "url": f"https://www.host{n % 2}.example/{n}"} for n in range(240)
    ]
    profile = profiled(write(documents), tmp_path / "out")
    assert sum(topic.share for topic in profile.topics) == pytest.approx(1, abs=1e-4)
    assert len(profile.topics) == 7
    named = [set(topic.words) for topic in profile.topics]
    subjects = [set(prose(n).split()) for n in range(3)]
    for words in named:  # no topic mixes the three subjects
        assert sum(bool(words & subject) for subject in subjects) == 1, words
    assert {one.name: one.share for one in profile.domains} == {
        "host0.example": 0.5, "host1.example": 0.5,
    }  # fmt: skip
    assert profile.scripts["Latin"].share == 1.0
    assert 0 < profile.novelty.distinct <= 1


def test_the_command_prints_the_promised_keys(write, tmp_path, capsys):
    data = write([prose(n) for n in range(30)], ["Mail ann@example.org now"])
    pool = write([prose(n) for n in range(20, 60)], name="pool")
    out = tmp_path / "out"
    assert main(["profile", str(pool), "--output", str(tmp_path / "p"), "--workers", "1"]) == 0
    capsys.readouterr()
    arguments = ["profile", str(data), "--output", str(out), "--workers", "1", "--json",
                 "--against", str(tmp_path / "p")]  # fmt: skip
    assert main(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {"documents", "sampled", "bytes", "languages", "duplicates", "lengths", "topics"} <= (
        printed.keys()
    )
    assert {"exact", "near", "lines", "paragraphs"} <= printed["duplicates"].keys()
    assert printed["against"][0]["exact"] == pytest.approx(10 / 31, abs=1e-5)
    assert printed["personal"]["mail"]["matches"] == 1
    assert json.loads((out / PROFILE).read_text()) == printed
    assert {path.name for path in out.iterdir()} == {PROFILE, SAMPLE, SKETCH}
    assert "ann@" not in (out / PROFILE).read_text()
    assert main([*arguments[:-1], str(data)]) == 1
    assert "no sketch of a profile" in capsys.readouterr().err
