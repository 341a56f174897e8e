"""Our architecture against the real open_lm: same weights, same logits, checkpoints both ways.

    PYTHONPATH=.:PATH_TO_OPEN_LM .venv/bin/python benchmarks/open_lm_parity.py [--model DIR]

Needs open_lm (commit 9bb92ef) and what it imports: webdataset 0.2.86, braceexpand, pandas. Where
xformers is missing a stub takes its place, and the feed-forward part is `swiglu_torch`, which is
the same function. Prints one JSON document; exit code 1 when a gap exceeds the limit. CPU, float32.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from submissions.codec import to_json
from training_recipes.model import KeyValueCache, OpenLM
from training_recipes.model_dir import (
    CHECKPOINT,
    load_model_dir,
    save_model_dir,
)
from training_recipes.open_lm_params import params_of_shape
from training_recipes.scales import Scale, load_scale
from training_recipes.tokenizer import tokenizer_folder

LIMIT = 1e-5  # largest difference of a logit


def main() -> int:
    """Runs every comparison; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="smoke", help="whose shape, with random weights")
    parser.add_argument("--model", type=Path, help="a trained model directory of that shape")
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, help="ids a row; the model's length if left out")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    document = compare(arguments)
    print(json.dumps(document, indent=2))
    return 0 if document["ok"] else 1


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """The largest gaps, and whether all are within the limit."""
    stubbed = stub_xformers_if_missing()
    scale = load_scale(arguments.scale)
    shape = scale.model
    trained = load_model_dir(arguments.model) if arguments.model else None
    length = arguments.length or shape.seq_len
    torch.manual_seed(0)
    ids = torch.randint(shape.vocab, (arguments.rows, length))
    document: dict[str, Any] = {
        "model": str(arguments.model or arguments.scale), "xformers": not stubbed,
        "ids": list(ids.shape),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        torch.manual_seed(124)
        run = open_lm_arguments(write_model_json(scale, home, stubbed))
        theirs = create_open_lm(run)
        torch.manual_seed(124)
        ours = OpenLM(shape).eval()
        document["initial_weights_equal"] = same_weights(ours, theirs)
        ours = trained or away_from_the_start(ours)

        save_model_dir(home / "ours", ours, tokenizer_folder("smoke"))
        load_into_open_lm(theirs, home / "ours" / CHECKPOINT)
        expected = theirs(ids)[0]
        document["ours_to_open_lm"] = gap(ours(ids), expected)
        document["both_with_a_cache"] = gap(with_a_cache(ours, ids), with_their_cache(theirs, ids))

        (home / "back").mkdir()
        lines = [f"{name}: {value}\n" for name, value in sorted(vars(run).items())]
        (home / "back" / "params.txt").write_text("".join(lines))  # as open_lm's main writes it
        named = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}
        torch.save({"epoch": 1, "name": "back", "state_dict": named}, home / "back" / CHECKPOINT)
        document["open_lm_to_ours"] = gap(load_model_dir(home / "back")(ids), expected)
    document["largest_logit"] = float(expected.abs().max())
    gaps = [document[key] for key in ("ours_to_open_lm", "both_with_a_cache", "open_lm_to_ours")]
    document["ok"] = document["initial_weights_equal"] and max(gaps) <= LIMIT
    return document


def stub_xformers_if_missing() -> bool:
    """open_lm imports xformers.ops whether or not it is used."""
    try:
        importlib.import_module("xformers.ops")
    except ImportError:
        sys.modules["xformers"] = package = types.ModuleType("xformers")
        sys.modules["xformers.ops"] = package.ops = types.ModuleType("xformers.ops")  # type: ignore
        return True
    return False


def write_model_json(scale: Scale, folder: Path, stubbed: bool) -> Path:
    """The configuration under the name that DCLM gives it."""
    params = to_json(params_of_shape(scale.model))
    params |= {"ffn_type": "swiglu_torch"} if stubbed else {}
    path = folder / f"{scale.open_lm.model}.json"
    path.write_text(json.dumps(params))
    return path


def open_lm_arguments(model: Path) -> Any:
    """open_lm's arguments, all but these at their defaults."""
    from open_lm.params import parse_args

    return parse_args(
        ["--model", str(model), "--attn-name", "torch_attn", "--qk-norm",
         "--model-norm", "gain_only_lp_layer_norm", "--train-num-samples", "1"]
    )  # fmt: skip


def create_open_lm(arguments: Any) -> Any:
    """A fresh model of open_lm's own class."""
    from open_lm.model import create_model

    return create_model(arguments).eval()


def load_into_open_lm(model: Any, checkpoint: Path) -> None:
    """By the function with which open_lm itself loads."""
    from open_lm.main import load_model

    arguments = open_lm_arguments(Path("unused"))
    arguments.resume, arguments.distributed = str(checkpoint), False
    load_model(arguments, model)


def away_from_the_start(model: OpenLM) -> OpenLM:
    """Gains other than one and weights whose mean is not zero, as after training."""
    for name, weight in model.named_parameters():
        weight += 0.2 * torch.rand(weight.shape[-1]) * (1 if "norm" in name else weight.std())
    return model


def same_weights(ours: OpenLM, theirs: Any) -> bool:
    """Same names, same values to the last bit."""
    mine, other = ours.state_dict(), theirs.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[k], other[k]) for k in mine)


def with_a_cache(model: OpenLM, ids: Tensor) -> Tensor:
    """The logits when the second half is read position by position."""
    cache = KeyValueCache()
    return torch.cat([model(part, cache=cache) for part in half_and_single_ids(ids)], dim=1)


def with_their_cache(model: Any, ids: Tensor) -> Tensor:
    """The same in open_lm."""
    past, logits = None, []
    for part in half_and_single_ids(ids):
        some, _, past = model(part, past_key_values=past, use_cache=True)
        logits.append(some)
    return torch.cat(logits, dim=1)


def half_and_single_ids(ids: Tensor) -> list[Tensor]:
    half = ids.shape[1] // 2
    return [ids[:, :half], *ids[:, half:].split(1, dim=1)]


def gap(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


if __name__ == "__main__":
    sys.exit(main())
