"""Composer and LLM Foundry import without torchvision, and nobody is told that it is there."""

from __future__ import annotations

import subprocess
import sys

CODE = """
from training_recipes.without_torchvision import allow_missing_torchvision
allow_missing_torchvision()
allow_missing_torchvision()
try:
    import torchvision
except ModuleNotFoundError:
    print("absent for us")
import composer, llmfoundry
from composer.utils import misc
from torchmetrics.utilities.imports import _TORCHVISION_AVAILABLE
from transformers.utils import is_torchvision_available
print(is_torchvision_available(), bool(_TORCHVISION_AVAILABLE))
for use in (lambda: misc.transforms.Compose([]), lambda: misc.VisionDataset("folder"),
            lambda: misc.transforms.functional.crop(1)):
    try:
        use()
    except ModuleNotFoundError as error:
        print(error.name, "refused")
print(isinstance(3, misc.VisionDataset))
"""


def test_placeholders_serve_composer_and_refuse_to_work() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "absent for us",
        "False False",
        *["torchvision refused"] * 3,
        "False",
    ], done.stderr
