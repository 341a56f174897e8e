"""Two loss curves from the same data, seed and initial weights: our trainer's and open_lm's.

    PYTHONPATH=.:PATH_TO_OPEN_LM OMP_NUM_THREADS=1 .venv/bin/python benchmarks/loss_parity.py

Prints one JSON document with the largest gap between the losses of a step, once with our loss
function, which computes its gradient in one piece and rounds otherwise, and once with open_lm's in
its place. `--data` is a folder of `crucible tokenize`; without it text is made up. See
training_steps.py for what it needs. CPU.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from unittest import mock

from torch import Tensor
from training_steps import composer_steps, make_up_rows, open_lm_steps

from training_recipes.engines import forward
from training_recipes.scales import load_scale


def main() -> None:
    """Both engines, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="smoke")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--data", type=Path, help="tokenised rows of that scale")
    arguments = parser.parse_args()
    scale, steps = load_scale(arguments.scale), arguments.steps
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens = arguments.data or make_up_rows(folder, scale)
        theirs = open_lm_steps(tokens, scale, steps, folder / "theirs").losses
        ours = composer_steps(tokens, scale, steps, folder / "ours").losses
        with mock.patch.object(forward, "training_loss", open_lm_loss):
            same = composer_steps(tokens, scale, steps, folder / "same").losses
    document = {
        "scale": scale.name,
        "recipe_sha256": scale.recipe_sha256,
        "steps": steps,
        "largest_gap": largest_gap(ours, theirs),
        "largest_gap_of_the_first_half": largest_gap(ours[: steps // 2], theirs[: steps // 2]),
        "largest_gap_with_its_loss_function": largest_gap(same, theirs),
        "first_and_last_loss": [theirs[0], theirs[-1]],
    }
    print(json.dumps(document, indent=1))


def open_lm_loss(logits: Tensor, targets: Tensor, z_loss: float) -> Tensor:
    """open_lm's own, for logits [B, T, V] and targets [B, T]."""
    from open_lm.losses import CrossEntropyLossWithZLoss

    loss: Tensor = CrossEntropyLossWithZLoss(z_loss)(logits.flatten(0, -2), targets.flatten())
    return loss


def largest_gap(ours: list[float], theirs: list[float]) -> float:
    """Between the two losses of a step."""
    return max(abs(a - b) for a, b in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    main()
