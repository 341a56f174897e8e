"""How pages write figures."""

from __future__ import annotations

import pytest

from crucible.filters import p_text, percent


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1234, "12.3"), (None, "–"), (-0.05, "\u22125.0"), (-0.0001, "0.0"), (1.0, "100.0")],
)
def test_per_cent(value, text):
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "p = 1.000"), (0.0421, "p = 0.042"), (0.0004, "p < 0.001"), (None, "")],
)
def test_p_values(value, text):
    assert p_text(value) == text
