"""The knobs of the hardware: what may be chosen, what must divide, and the utilisation."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest

from submissions.failures import Failure
from training_recipes.hardware import (
    CHOICES,
    DEFAULT,
    Hardware,
    Processes,
    hardware_of,
    peak_flops,
    processes,
    rows_a_process,
    utilisation,
)


def test_a_job_may_choose_the_knobs_and_nothing_of_the_recipe() -> None:
    assert hardware_of({"scale": "smoke", "seed": 1, "engine": "composer"}) == DEFAULT
    assert hardware_of({"micro_batch": 4, "compile": True}) == Hardware(4, compile=True)
    assert set(CHOICES) == {field.name for field in fields(Hardware)}
    for name in ("lr", "global_batch", "epochs", "z_loss"):
        with pytest.raises(Failure, match=f"{name} is fixed by the recipe") as caught:
            hardware_of({"scale": "smoke", name: 1})
        assert caught.value.code == "recipe_frozen"


def test_batches_that_processes_cannot_share() -> None:
    assert rows_a_process(512, 8, None) == rows_a_process(512, 8, 16) == 64
    for arguments in ((512, 3, None), (512, 8, 48), (512, 8, 128), (512, 8, 0), (512, 8, -1)):
        with pytest.raises(Failure) as caught:
            rows_a_process(*arguments)
        assert caught.value.code == "hardware_unfit"
    with pytest.raises(Failure, match="3 processes cannot share the global batch of 512 rows"):
        rows_a_process(512, 3, None)


def test_the_processes_are_torchruns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert processes() == Processes(0, 1, 0)
    assert processes().writes
    for name, value in (("RANK", "9"), ("WORLD_SIZE", "16"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert processes() == Processes(9, 16, 1)
    assert not processes().writes


def test_utilisation_against_the_published_peaks() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("NVIDIA H200") == 989e12
    assert peak_flops("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_flops("") is peak_flops("Radeon") is None
    # DCLM's 26 H100-hours at 400M-1x are about 22 per cent (6 × parameters × tokens).
    speed = 8_231_321_600 / (26 * 3600)
    assert utilisation(411_616_256, speed, 1, "NVIDIA H100 80GB HBM3") == pytest.approx(
        0.22, abs=5e-3
    )
    assert utilisation(411_616_256, speed, 2, "NVIDIA H200") == pytest.approx(0.11, abs=5e-3)
    assert utilisation(1, 1.0, 1, "") is None


def test_the_choices_are_read_without_torch() -> None:
    code = "import sys, training_recipes.hardware; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
