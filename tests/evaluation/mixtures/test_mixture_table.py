"""Tables as they come: what is refused, with file and line, and what is put right and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluation.mixtures import table as tables
from evaluation.mixtures.table import columns_of, mixtures_of, read_table, runs_of
from submissions.failures import Failure

HEADER = "mix_a,mix_b,loss_x\n"


def runs(path: Path, text: str | bytes, domains: list[str] | None = None):  # type: ignore[no-untyped-def]
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    table = read_table(path)
    return runs_of(table, columns_of(table, domains, "mix_"), columns_of(table, None, "loss_"))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (HEADER + "0.5,0.5,2\n0.5,0.504,2\n", 3, "sum to 1.004"),
        (HEADER + "0.5,0.495,2\n", 2, "sum to 0.995"),
        (HEADER + "1.2,-0.2,2\n", 2, "the proportion mix_b is negative"),
        (HEADER + "0.5,nan,2\n", 2, "mix_b is nan"),
        (HEADER + "0.5,0.5,NaN\n", 2, "loss_x is NaN"),
        (HEADER + "0.5,0.5,inf\n", 2, "loss_x is inf"),
        (HEADER + "0.5,0.5,\n", 2, "loss_x is empty"),
        (HEADER + "0.5,,2\n", 2, "mix_b is empty"),
        (HEADER + "0.5,0.5,two\n", 2, "loss_x is no number: 'two'"),
        (HEADER + "0.5,0.5,-1\n", 2, "the loss loss_x is not above 0"),
        (HEADER + "0.5,0.5\n", 2, "has 2 cells, and the header 3"),
        (HEADER, None, "no rows"),
        ("", None, "a table has a header"),
        ("mix_a,mix_a,loss_x\n1,0,2\n", None, "two columns are called mix_a"),
        ("a,b,loss_x\n1,0,2\n", None, "no column begins with mix_"),
        ("mix_a,loss_x\n1,2\n", None, "two domains or more"),
        (HEADER + '"0.5,0.5,2\n', None, "is not CSV"),
        (b"mix_a,mix_b,loss_x\n\xff,0,2\n", None, "is not UTF-8"),
    ],
)
def test_bad_tables_are_refused_with_the_place(
    tmp_path: Path, text: str | bytes, line: int | None, said: str
) -> None:
    with pytest.raises(Failure, match=said) as caught:
        runs(tmp_path / "runs.csv", text)
    failure = caught.value
    assert (failure.code, failure.shard, failure.line) == ("runs_invalid", "runs.csv", line)


def test_unknown_and_doubled_names_are_refused(tmp_path: Path) -> None:
    text = HEADER + "0.5,0.5,2\n"
    with pytest.raises(Failure, match='no column "c" or "mix_c"'):
        runs(tmp_path / "r.csv", text, ["a", "c"])
    with pytest.raises(Failure, match="named twice"):
        runs(tmp_path / "r.csv", text, ["a", "a"])
    with pytest.raises(Failure, match="both as a domain and as a target"):
        runs(tmp_path / "r.csv", text, ["a", "loss_x"])


def test_a_missing_file_and_a_large_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Failure) as caught:
        read_table(tmp_path / "none.csv")
    assert caught.value.code == "dataset_missing"
    monkeypatch.setattr(tables, "MAX_ROWS", 3)
    with pytest.raises(Failure, match="3 rows"):
        runs(tmp_path / "r.csv", HEADER + "0.5,0.5,2\n" * 4)
    monkeypatch.setattr(tables, "MAX_BYTES", 10)
    with pytest.raises(Failure, match="larger than"):
        runs(tmp_path / "r.csv", HEADER)


def test_rounded_proportions_are_renormalised_and_said(tmp_path: Path) -> None:
    found = runs(tmp_path / "r.csv", HEADER + "0.5,0.496,2\n0.5,0.5,3\n0.6,0.403,2\n")
    assert np.allclose(found.mixtures.values.sum(axis=1), 1, atol=1e-12)
    assert found.mixtures.values[0, 0] == pytest.approx(0.5 / 0.996)
    assert found.mixtures.renormalised == 2
    assert found.notes[0].startswith("2 of 3 rows do not sum to 1")
    assert runs(tmp_path / "r.csv", HEADER + "0.5,0.5,2\n").notes == ()


def test_names_may_leave_the_prefix_out_and_stay_as_they_were_given(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("\ufeffmix_b,share,mix_a,loss_x\n0.2,0.3,0.5,2\n\n", encoding="utf-8")
    table = read_table(path)
    domains = columns_of(table, ["a", "share", "mix_b"], "mix_")
    found = mixtures_of(table, domains)
    assert found.domains == ("a", "share", "mix_b")
    assert found.values.tolist() == [[0.5, 0.3, 0.2]]
