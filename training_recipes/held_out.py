"""The loss of a model on text that it was not trained on: rows as in training, without z-loss."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name by which everybody knows it
from torch import Tensor

from submissions.failures import Failure
from submissions.progress import Progress, no_progress
from submissions.shard_search import find_shards
from submissions.shards import read_documents
from training_recipes.encoder import Encoder, Ids, pieces
from training_recipes.engines.forward import in_bfloat16
from training_recipes.model import OpenLM
from training_recipes.model_dir import TOKENIZER, load_model_dir
from training_recipes.tokenizer import END_OF_TEXT_ID

ROWS, POSITIONS = 4, 512  # of a forward pass, and of which logits are held: 0.2 GB at most


@dataclass(frozen=True)
class HeldOutLoss:
    """Mean cross-entropy in nats a token; `stderr` is that of the mean over rows.

    Rows that share a document are not independent, so the true error is somewhat larger.
    """

    rows: int
    tokens: int  # that were predicted
    loss: float
    stderr: float


def held_out_loss(
    model_dir: Path,
    paths: Sequence[str | Path],
    precision: str = "fp32",
    limit: int | None = None,
    progress: Progress = no_progress,
) -> HeldOutLoss:
    """Reads the shards at `paths` in their order into rows of the model's length; the last, unless
    it is full, is left out. At most `limit` rows.

    In `bf16` the model runs as it is trained at the scales in bfloat16, otherwise in float32.
    Raises what reading shards raises, `model_invalid`, and `dataset_too_small` below two rows.
    """
    model = load_model_dir(model_dir)
    if precision == "bf16":
        model.tok_embeddings.register_forward_hook(in_bfloat16)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    found: list[float] = []
    encoder = Encoder(str(model_dir / TOKENIZER))
    rows = itertools.islice(packed(_ids(paths, encoder), model.shape.seq_len + 1), limit)
    while batch := list(itertools.islice(rows, ROWS)):
        ids = torch.from_numpy(np.stack(batch).astype(np.int64)).to(device)
        found += _losses(model, ids, precision).tolist()
        progress(len(found), limit or len(found), "rows", "loss")
    if len(found) < 2:
        raise Failure(
            "dataset_too_small",
            f"the text fills {len(found)} rows of {model.shape.seq_len + 1} ids: two are needed",
        )
    losses = np.array(found)
    return HeldOutLoss(
        len(losses),
        len(losses) * model.shape.seq_len,
        float(losses.mean()),
        float(losses.std(ddof=1)) / sqrt(len(losses)),
    )


def packed(documents: Iterator[Ids], length: int) -> Iterator[Ids]:
    """Rows [length] of the ids one after another; what does not fill a row is left out."""
    rest = np.empty(0, np.uint16)
    for ids in documents:
        rest = np.concatenate([rest, ids])
        while len(rest) >= length:
            yield rest[:length]
            rest = rest[length:]


def _ids(paths: Sequence[str | Path], encoder: Encoder) -> Iterator[Ids]:
    """Pieces of documents, and end-of-text after each document."""
    end = np.array([END_OF_TEXT_ID], np.uint16)
    with tempfile.TemporaryDirectory() as scratch:
        for shard in find_shards(paths):
            with shard.fetched(Path(scratch)) as local:
                for document in read_documents(local):
                    for piece in pieces(document.text):
                        yield encoder.encode([piece]).ids
                    yield end


def _losses(model: OpenLM, rows: Tensor, precision: str) -> Tensor:
    """Of each row [B, seq_len + 1] the mean over its positions, [B] in float64."""
    targets = rows[:, 1:].flatten()

    def head(hidden: Tensor, weight: Tensor) -> Tensor:
        parts = torch.split(hidden.flatten(0, 1), POSITIONS)
        return torch.cat(
            [
                F.cross_entropy(F.linear(one, weight).float(), wanted, reduction="none")
                for one, wanted in zip(parts, torch.split(targets, POSITIONS), strict=True)
            ]
        )

    low = precision == "bf16"
    with torch.inference_mode(), torch.autocast(rows.device.type, torch.bfloat16, enabled=low):
        each = model(rows[:, :-1], head=head)
    means: Tensor = each.double().view(len(rows), -1).mean(dim=1).cpu()
    return means
