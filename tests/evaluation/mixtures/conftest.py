"""Runs made from a law that is known, as a table and as arrays."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from evaluation.mixtures.laws import Floats
from evaluation.mixtures.table import Mixtures, Runs

Truth = Callable[[Floats], Floats]  # mixtures [n, 3] to losses [n, 2]


def drawn(count: int, domains: int, seed: int) -> Floats:
    """Mixtures [n, M], some of them without a domain."""
    generator = np.random.default_rng(seed)
    found = generator.dirichlet(np.full(domains, 0.7), size=count)
    found[found < 0.03] = 0
    shares: Floats = found / found.sum(axis=1, keepdims=True)
    return shares


@pytest.fixture(scope="session")
def truth() -> Truth:
    """Two losses with an optimum inside: a power-sum law that is none of the exact forms."""

    def losses(r: Floats) -> Floats:
        first = 2.0 + 1 / (0.4 * (r[:, 0] + 0.02) ** 0.4 + 0.9 * (r[:, 1] + 0.02) ** 0.6 + 0.1)
        second = 1.5 + np.exp(-1.2 * r[:, 2] - 0.4 * r[:, 0])
        return np.column_stack([first, second])

    return losses


@pytest.fixture(scope="session")
def runs_of_truth(truth: Truth) -> Callable[..., Runs]:
    """Makes runs with noise in nats."""

    def make(count: int = 24, noise: float = 0.003, seed: int = 1) -> Runs:
        r = drawn(count, 3, seed)
        losses = truth(r) + noise * np.random.default_rng(seed + 100).standard_normal((count, 2))
        return Runs(Mixtures(("a", "b", "c"), r, 0), ("x", "y"), losses, "0" * 64)

    return make


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """A CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


@pytest.fixture
def table_of(tmp_path: Path) -> Callable[..., Path]:
    """Writes runs as a table with mix_ and loss_ columns."""

    def make(runs: Runs, name: str = "runs.csv") -> Path:
        columns = [f"mix_{d}" for d in runs.domains] + [f"loss_{t}" for t in runs.targets]
        rows = np.hstack([runs.mixtures.values, runs.losses]).tolist()
        return write_table(tmp_path / name, columns, rows)

    return make
