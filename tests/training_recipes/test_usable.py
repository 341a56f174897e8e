"""What torch and GPU cannot do is said in a sentence before anything is computed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from submissions.failures import Failure
from training_recipes.engines import usable
from training_recipes.engines.usable import driver_version, require_usable
from training_recipes.scales import Scale, load_scale
from training_recipes.train import train

# As drivers write it: the closed module, and the open one.
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n"
SCALE = load_scale("11m-1x")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "version"
    path.write_text(CLOSED)
    monkeypatch.setattr(usable, "DRIVER", path)
    return path


def test_the_driver_names_its_version(driver: Path) -> None:
    assert driver_version() == "550.54.15"
    driver.write_text(OPEN)
    assert driver_version() == "570.86.15"
    driver.write_text("something else")
    assert driver_version() == "of unknown version"
    driver.unlink()
    assert driver_version() == ""


def test_a_driver_too_old_for_the_cuda_build(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Failure, match=r"driver 550\.54\.15 does not run .* CUDA 13\.0") as caught:
        require_usable(SCALE)
    assert caught.value.code == "torch_unfit"
    require_usable(load_scale("smoke"))  # float32, on the processor
    driver.unlink()
    require_usable(SCALE)  # without a GPU the processor may try


def test_a_build_for_processors_on_a_machine_with_a_gpu(
    driver: Path, monkeypatch: pytest.MonkeyPatch, tokens: Path, tmp_path: Path, tiny: Scale
) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(Failure, match="build for processors") as caught:
        train(tokens, tmp_path / "model", replace(tiny, precision="amp_bfloat16"))
    assert caught.value.code == "torch_unfit"
    assert list(tmp_path.glob("*model*")) == []


def test_a_gpu_without_bfloat16(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(Failure, match="bfloat16, which Tesla T4 lacks") as caught:
        require_usable(SCALE)
    assert caught.value.code == "hardware_unfit"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    require_usable(SCALE)
