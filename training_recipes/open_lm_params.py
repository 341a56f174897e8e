"""A model's shape as open_lm writes it: in a model JSON, or in a training's `params.txt`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType, structs

from submissions.failures import Failure
from training_recipes.scales import ModelShape, load_scale, scale_names

FILE = "params.txt"


Size = Annotated[int, msgspec.Meta(ge=1)]
Word = str | None | UnsetType  # None: a run that does not say it


class Params(msgspec.Struct, frozen=True, kw_only=True):
    """open_lm's model JSON, as far as it decides the architecture."""

    hidden_dim: Size
    n_layers: Size
    n_heads: Size
    seq_len: Size
    vocab_size: Size
    post_embed_norm: bool | UnsetType = UNSET
    weight_tying: bool | UnsetType = UNSET
    model_norm: Word = UNSET
    qk_norm: bool = False
    ffn_type: str = "swiglu"  # open_lm's default
    positional_embedding_type: Word = UNSET


def params_of_shape(shape: ModelShape) -> Params:
    """A shape in the keys of open_lm's model JSON."""
    return Params(
        hidden_dim=shape.dim,
        n_layers=shape.layers,
        n_heads=shape.heads,
        seq_len=shape.seq_len,
        vocab_size=shape.vocab,
        post_embed_norm=shape.post_embed_norm,
        weight_tying=shape.weight_tying,
        model_norm=shape.norm,
        qk_norm=shape.qk_norm,
        ffn_type=shape.ffn_type,
        positional_embedding_type=shape.positional_embedding,
    )


def params_of_run(path: Path) -> Params:
    """The model JSON of the run: its named configuration, completed by its arguments.

    A line is `name: value`. The file names the configuration and does not hold it, so that this
    knows the ones that DCLM's scales use; `model_invalid` for any other.
    """
    lines = [line.partition(": ") for line in path.read_text(errors="replace").splitlines()]
    arguments = {name: value for name, _, value in lines}
    name = Path(arguments.get("model", "")).stem
    scales = [load_scale(scale) for scale in scale_names()]
    shapes = {scale.open_lm.model: scale.model for scale in scales}
    if name not in shapes:
        raise Failure(
            "model_invalid",
            f"{path} names the model configuration {name!r}, which no scale uses: put its JSON"
            " beside it as params.json",
        )
    return structs.replace(
        params_of_shape(shapes[name]),
        model_norm=arguments.get("model_norm"),
        qk_norm=arguments.get("qk_norm") == "True",
        positional_embedding_type=arguments.get("positional_embedding_type"),
    )
