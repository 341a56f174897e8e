"""Language identification: what is judged of a text, and what the model says."""

from __future__ import annotations

import pytest

from submissions.languages import UNKNOWN, language_of

SENTENCES = {
    "en": "The river rises in the hills and flows through three villages before it meets the sea.",
    "de": "Der Fluss entspringt in den Hügeln und fließt durch drei Dörfer bis ins Meer.",
    "fr": "La rivière prend sa source dans les collines et traverse trois villages avant la mer.",
    "ja": "川は丘に源を発し、海に注ぐ前に三つの村を流れている。",
    "zh": "这条河发源于山丘，流经三个村庄后汇入大海。",
    "ru": "Река берёт начало в холмах и протекает через три деревни, прежде чем впасть в море.",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_the_language_of_a_sentence(code):
    found = language_of(SENTENCES[code])
    assert found.code == code
    assert 0.5 < found.share <= 1.0


def test_the_middle_of_a_text_is_judged():
    links = "[ 1 ] [ next ] [ home ] " * 60
    assert language_of(links + SENTENCES["fr"] * 12 + links).code == "fr"


def test_capitals_and_lines_do_not_mislead():
    assert language_of(SENTENCES["de"].upper().replace(" ", "\n")).code == "de"


@pytest.mark.parametrize("text", ["", " \n\t", "12 345,60 €", "\0\x01"])
def test_a_text_without_letters_has_no_language(text):
    assert language_of(text) == (UNKNOWN, 0.0)


def test_half_a_surrogate_pair_is_no_reason_to_stop():
    assert language_of("\ud800 " + SENTENCES["en"]).code == "en"
