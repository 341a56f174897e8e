"""Surplus copies, lengths and the rest against what the test itself put in."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from submissions.executor import LocalProcesses
from submissions.failures import Failure
from submissions.profile import counting, distinct, profiling
from submissions.profile.kept import PROFILE, SAMPLE, SKETCH, read_sample
from tests.submissions.profile.conftest import prose

MESSY = [
    "one line\n  one line  \n\ntwo\n\n\n\nthree", "one line\n\x0bthree\x0c", "", "", "  \n\t",
    "two\n\none line\none line", "Привет, мир! " * 20, "one line\n  one line  \n\ntwo\n\n\n\nthree",
]  # fmt: skip


def surplus(things: list[str]) -> int:
    return sum(count - 1 for count in Counter(things).values())


def lines_in(texts: list[str]) -> list[str]:
    return [line.strip() for text in texts for line in text.split("\n") if line.strip()]


def test_surplus_copies_are_those_of_a_plain_count(write, profiled):
    profile = profiled(write(MESSY[:3], MESSY[3:]))
    lines = lines_in(MESSY)
    kept = Counter(lines)
    assert (profile.documents, profile.sampled, profile.empty) == (8, 8, 3)
    assert profile.bytes == sum(len(text.encode()) for text in MESSY)
    assert profile.duplicates.exact == surplus(MESSY) == 2
    assert profile.duplicates.lines == surplus(lines)
    assert profile.duplicates.total_lines == len(lines)
    assert profile.duplicates.lines_characters == sum(
        (count - 1) * len(line) for line, count in kept.items()
    )
    # "one line, one line" three times, "two" three times, "three" twice; the rest once.
    assert profile.duplicates.paragraphs == 2 + 2 + 1
    assert profile.duplicates.counted
    assert profile.duplicates.lines_error == 0


def test_counting_goes_over_many_runs_and_pieces(write, profiled, monkeypatch):
    """The buffers of workers flush, and the merge takes several ranges of hashes."""
    monkeypatch.setattr(distinct, "BUFFER", 50)
    monkeypatch.setattr(distinct, "SKETCH", 40)
    monkeypatch.setattr(profiling, "SKETCH", 40)
    monkeypatch.setattr(distinct, "PART_BYTES", 1_000)
    texts = [f"line {n % 700}\nline {n}\n\nlast {n % 9}" for n in range(1000)] + ["x"] * 30
    profile = profiled(write(texts[::2], texts[1::2]))
    assert profile.duplicates.exact == surplus(texts)
    assert profile.duplicates.lines == surplus(lines_in(texts))


def test_figures_do_not_depend_on_shards_or_workers(write, profiled, tmp_path):
    texts = [prose(n) for n in range(300)] + [prose(n) for n in range(50)]
    one = profiled(write(texts, name="one"), tmp_path / "a")
    data = write(texts[200:], texts[100:200], [], [], texts[:100], name="many")
    for name in ("2.jsonl", "3.jsonl"):
        (data / name).unlink()
    other = profiled(data, tmp_path / "b", placement=LocalProcesses(2))
    first, second = (json.loads((tmp_path / name / PROFILE).read_text()) for name in "ab")
    for document in (first, second):
        del document["seconds"]
    assert first == second
    assert one.duplicates.exact == other.duplicates.exact == 50
    assert (tmp_path / "a" / SKETCH).read_bytes() == (tmp_path / "b" / SKETCH).read_bytes()
    hashes = [[text.hash for text in read_sample(tmp_path / n / SAMPLE).texts] for n in "ab"]
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == 300


@pytest.mark.usefixtures("few")
def test_estimates_are_within_their_errors(write, profiled, monkeypatch):
    monkeypatch.setattr(profiling, "SKETCH", 1_000)
    monkeypatch.setattr(distinct, "SKETCH", 1_000)
    texts = [f"line {n}\nshared {n % 5}" for n in range(3_000)] * 2
    texts += [f"Ein deutscher Satz über die Zahl {n}, die hier steht." for n in range(3_000)]
    found = profiled(write(texts[::3], texts[1::3], texts[2::3]))
    copies = found.duplicates
    assert not copies.counted
    assert copies.exact != surplus(texts)  # it is an estimate
    assert abs(copies.exact - surplus(texts)) < 4 * copies.exact_error
    assert abs(copies.lines - surplus(lines_in(texts))) < 4 * copies.lines_error
    assert found.texts == 400
    german = found.languages["de"]
    assert 0 < german.error < 0.05
    assert abs(german.share - 1 / 3) < 4 * german.error


def test_near_copies_are_counted_beyond_exact_ones(write, profiled):
    whole = [prose(n, 300) for n in range(100)]
    changed = [text.replace(f"n{n}x100 ", "changed ") for n, text in enumerate(whole[:20])]
    found = profiled(write([*whole, *changed, *whole[:5]]))
    assert found.duplicates.near == 20
    assert found.duplicates.exact == 5


def test_near_copies_are_estimated_where_there_are_too_many_texts(write, profiled, monkeypatch):
    monkeypatch.setattr(counting, "NEAR", 500)
    monkeypatch.setattr(profiling, "LOOKED_AT", 10)
    whole = [prose(n, 300) for n in range(1_500)]
    changed = [text.replace(f"n{n}x250 ", "changed ") for n, text in enumerate(whole[:500])]
    copies = profiled(write([*whole, *changed])).duplicates
    assert copies.near_error > 0
    assert abs(copies.near - 500) < 4 * copies.near_error


def test_a_broken_shard_is_named_and_the_work_goes_on_afterwards(write, profiled, tmp_path):
    data = write([prose(1)], [prose(2)])
    sound = (data / "1.jsonl").read_text()
    (data / "1.jsonl").write_text(sound + '{"text": 3}\n')
    with pytest.raises(Failure) as caught:
        profiled(data, tmp_path / "out")
    assert (caught.value.code, caught.value.place) == ("text_not_a_string", "1.jsonl:2")
    assert not (tmp_path / "out" / PROFILE).exists()
    (data / "1.jsonl").write_text(sound)
    assert profiled(data, tmp_path / "out").documents == 2
