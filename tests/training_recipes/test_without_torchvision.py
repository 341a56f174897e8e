"""Composer and LLM Foundry import without torchvision, and nobody is told that it is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training_recipes.without_torchvision import allow_missing_torchvision

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def misc() -> Any:
    """Composer's module that imports torchvision; LLM Foundry is imported too."""
    allow_missing_torchvision()
    import composer.utils.misc
    import llmfoundry  # noqa: F401

    return composer.utils.misc


def test_it_stays_absent_for_everybody_else() -> None:
    """In a process of its own, in which Composer has not been served yet."""
    code = (
        "from training_recipes.without_torchvision import allow_missing_torchvision as allow\n"
        "allow()\nallow()\n"
        "try:\n    import torchvision\n"
        "except ModuleNotFoundError:\n    print('absent')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "absent\n", done.stderr


@pytest.mark.usefixtures("misc")
def test_the_libraries_that_ask_are_told_that_it_is_absent() -> None:
    from torchmetrics.utilities.imports import _TORCHVISION_AVAILABLE
    from transformers.utils import is_torchvision_available

    assert not is_torchvision_available()
    assert not _TORCHVISION_AVAILABLE


@pytest.mark.parametrize(
    "use",
    [
        lambda misc: misc.transforms.Compose([]),
        lambda misc: misc.VisionDataset("folder"),
        lambda misc: misc.transforms.functional.crop(1),
    ],
)
def test_placeholders_serve_composer_and_refuse_to_work(
    misc: Any, use: Callable[[Any], Any]
) -> None:
    with pytest.raises(ModuleNotFoundError, match="Crucible trains and evaluates text only") as bad:
        use(misc)
    assert bad.value.name == "torchvision"
    assert not isinstance(3, misc.VisionDataset)
