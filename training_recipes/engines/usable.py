"""Whether torch and the GPUs of this machine can train a scale at all, asked before it begins."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from submissions.failures import Failure
from training_recipes.engines.forward import AMP
from training_recipes.initial_weights import require_recipes_draw
from training_recipes.scales import Scale

DRIVER = Path("/proc/driver/nvidia/version")  # the kernel module's own file


def require_usable(scale: Scale) -> None:
    """Raises `torch_unfit` for a torch that draws other weights or cannot use this machine's GPU,
    `hardware_unfit` for a GPU without the recipe's precision.

    A scale in float32 is trained on a processor beside any driver.
    """
    require_recipes_draw()
    if scale.precision != AMP:
        return
    driver = driver_version()
    if torch.cuda.is_available():
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            gpu = torch.cuda.get_device_name()
            raise Failure("hardware_unfit", f"{scale.name} trains in bfloat16, which {gpu} lacks")
    elif driver and torch.version.cuda:
        raise Failure(
            "torch_unfit",
            f"the NVIDIA driver {driver} does not run torch {torch.__version__}, a build for CUDA "
            f"{torch.version.cuda}: install a newer driver or a build for an older CUDA",
        )
    elif driver:
        raise Failure(
            "torch_unfit",
            f"this machine has an NVIDIA GPU (driver {driver}), and torch {torch.__version__} is a "
            f"build for processors, on which {scale.name} would take too long",
        )


def driver_version() -> str:
    """Of the NVIDIA driver that is loaded; empty where none is."""
    try:
        text = DRIVER.read_text()
    except OSError:
        return ""
    found = re.search(r"Kernel Module(?: for \S+)?\s+(\d[\d.]*)", text)
    return found[1] if found else "of unknown version"
