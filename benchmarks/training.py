"""Seconds of a training step: our engine `composer` and open_lm, same model, batch and thread.

    PYTHONPATH=.:PATH_TO_OPEN_LM OMP_NUM_THREADS=1 .venv/bin/python benchmarks/training.py

The median step of each, after some to warm up, in turns and in one process, and the ratio: above 1
ours is the faster. Prints a JSON document. See training_steps.py for what it needs. CPU.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from training_steps import composer_steps, make_up_rows, open_lm_steps

from training_recipes.scales import load_scale

WARM_UP = 10  # steps


def main() -> None:
    """Rounds of both; the fastest round of each counts, since other work can only slow one down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="smoke")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="tokenised rows of that scale")
    arguments = parser.parse_args()
    scale, steps = load_scale(arguments.scale), arguments.steps
    seconds: dict[str, list[float]] = {"composer": [], "open_lm": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens = arguments.data or make_up_rows(folder, scale)
        for number in range(arguments.rounds):
            ours = composer_steps(tokens, scale, steps, folder / f"ours-{number}")
            theirs = open_lm_steps(tokens, scale, steps, folder / f"theirs-{number}")
            seconds["composer"].append(ours.seconds(WARM_UP))
            seconds["open_lm"].append(theirs.seconds(WARM_UP))
    best = {engine: min(values) for engine, values in seconds.items()}
    batch = scale.optimizer.global_batch * scale.model.seq_len
    document = {
        "scale": scale.name,
        "steps": steps,
        "seconds_a_step": best,
        "tokens_per_second": {engine: round(batch / value) for engine, value in best.items()},
        "rounds": seconds,
        "open_lm_over_composer": round(best["open_lm"] / best["composer"], 3),
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
