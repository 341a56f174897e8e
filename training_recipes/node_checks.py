"""What `crucible doctor` asks of a machine that trains and evaluates: torch, GPU, engines."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from functools import partial

from submissions.diagnosis import Check, asked
from submissions.failures import Failure
from training_recipes.scales import Scale, load_scale
from training_recipes.tokenizer import load_tokenizer, tokenizer_sha256
from training_recipes.without_torchvision import allow_missing_torchvision

# Driver that a CUDA build needs at least; NVIDIA's release notes of CUDA 12 and 13.
OPEN_LM_STEP = "To have a second engine, follow docs/training.md; nothing needs it."
DRIVER_OF_CUDA = {"12": "525", "13": "580"}


def node_checks(scales: list[str], *, matters: bool = True) -> list[Check]:
    """All of them, for the given scales."""
    loaded = [load_scale(name) for name in scales]
    checks = [asked("torch", _torch, matters=matters), _driver(loaded, matters)]
    checks += [
        asked("tokenizer", partial(_tokenizer, name), matters=matters)
        for name in sorted({scale.tokenizer for scale in loaded})
    ]
    checks.append(asked("composer", partial(imported, "composer", "mosaicml"), matters=matters))
    checks.append(asked("open_lm", _open_lm, matters=False, next_step=OPEN_LM_STEP))
    return checks


def _torch() -> str:
    import torch

    from training_recipes.initial_weights import require_recipes_draw

    require_recipes_draw()
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "processors"
    return f"torch {torch.__version__}, built for {build}, draws the recipes' weights"


def _driver(scales: list[Scale], matters: bool) -> Check:
    """The driver and the GPU, for each scale that is trained on one."""

    def question() -> str:
        import torch

        from training_recipes.engines.usable import driver_version, require_usable

        for scale in scales:
            require_usable(scale)
        if torch.cuda.is_available():
            count, name = torch.cuda.device_count(), torch.cuda.get_device_name()
            return f"{count} x {name}, NVIDIA driver {driver_version()}"
        driver = driver_version()
        if driver and torch.version.cuda:
            raise Failure("torch_unfit", _too_old(driver, torch.version.cuda))
        on_gpu = [scale.name for scale in scales if scale.precision != "fp32"]
        if on_gpu:
            raise Failure(
                "hardware_unfit", f"no GPU here, and {on_gpu[0]} is trained on GPUs: run this on "
                "the machine that has them, or name scales for processors with --scale"
            )  # fmt: skip
        return "no GPU; the scales in float32 need none"

    return asked("driver", question, matters=matters)


def _too_old(driver: str, cuda: str) -> str:
    needed = DRIVER_OF_CUDA.get(cuda.partition(".")[0], "a newer one")
    return (
        f"the NVIDIA driver {driver} does not run torch's CUDA {cuda}, which needs driver "
        f"{needed} or newer: update it, or install requirements/lock-cpu.txt to do without the GPU"
    )


def _tokenizer(name: str) -> str:
    load_tokenizer(name)
    return f"{name}, {tokenizer_sha256(name)[:12]}"


def imported(module: str, distribution: str) -> str:
    """Its version, once it was really imported: torch and it must fit."""
    allow_missing_torchvision()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken package raises anything
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise Failure("missing_dependency", f"{module} cannot be imported: {said[-1]}") from None
    return f"{distribution} {importlib.metadata.version(distribution)}"


def _open_lm() -> str:
    if importlib.util.find_spec("open_lm") is None:
        raise Failure("missing_dependency", "not installed; only --engine open_lm needs it")
    return f"open_lm {importlib.metadata.version('open_lm')}"
