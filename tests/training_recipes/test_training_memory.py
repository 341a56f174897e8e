"""Rows of a forward pass by arithmetic: what fits, what divides, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from submissions.failures import Failure
from training_recipes.hardware import Hardware
from training_recipes.scales import load_scale
from training_recipes.training_memory import USABLE, rows_that_fit, training_bytes

H100 = 80e9


def test_what_fits_fits_and_twice_as_much_does_not() -> None:
    for name in ("11m-1x", "79m-1x", "400m-1x", "1b-1x"):
        scale = load_scale(name)
        share = scale.optimizer.global_batch
        for hardware in (Hardware(), Hardware(compile=True)):
            rows = rows_that_fit(scale, share, H100, 1, hardware)
            assert share % rows == 0
            assert training_bytes(scale, rows, 1, hardware) <= USABLE * H100
            if rows < share:
                assert training_bytes(scale, 2 * rows, 1, hardware) > USABLE * H100


def test_the_numbers_are_plausible() -> None:
    """By hand: 400m-1x keeps 2.1 GB a row, and 7.4 GB of weights and moments."""
    scale = load_scale("400m-1x")
    one, two = (training_bytes(scale, rows, 1, Hardware()) for rows in (1, 2))
    assert two - one == pytest.approx(2.1e9, rel=0.05)
    assert one - (two - one) == pytest.approx(7.4e9 + 1.2e9, rel=0.1)
    assert rows_that_fit(scale, 512, H100, 1, Hardware()) == 16
    assert rows_that_fit(scale, 64, H100, 8, Hardware(compile=True)) == 32


def test_a_model_that_does_not_fit_is_sharded_or_refused() -> None:
    scale = load_scale("7b-1x")
    with pytest.raises(Failure, match="--fsdp over several GPUs") as caught:
        rows_that_fit(scale, 256, H100, 8, Hardware())
    assert caught.value.code == "hardware_unfit"
    assert rows_that_fit(scale, 256, H100, 8, Hardware(fsdp=True)) >= 2
    with pytest.raises(Failure, match="larger GPUs or more GPUs"):
        rows_that_fit(scale, 256, 20e9, 8, Hardware(fsdp=True))


def test_memory_is_counted_without_torch() -> None:
    code = "import sys, training_recipes.training_memory; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
