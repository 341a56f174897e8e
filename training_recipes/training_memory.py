"""How much of a GPU's memory training takes, and how many rows of a forward pass fit.

Arithmetic, so that all processes of a run find the same number before they begin.
docs/training.md has the formulas. Without torch.
"""

from __future__ import annotations

from submissions.failures import Failure
from training_recipes.hardware import Hardware
from training_recipes.scales import ModelShape, Scale

CHUNK = 2048  # positions of which the loss holds logits at one time: 0.4 GB at the large scales
USABLE = 0.9  # of what is free: the rest goes to fragments and to libraries
# A parameter: weight, gradient and two moments in float32, and its copy in bfloat16.
FIXED = 18
# A token and layer in bfloat16: inputs and outputs of norms, queries, keys and values twice, what
# attention gives (20 x dim), and the feed-forward part (8 x its width).
BY_DIM, BY_HIDDEN = 20, 8
COMPILED = 30 / 42  # torch.compile computes norms and SiLU again instead of keeping them


def rows_that_fit(
    scale: Scale, share: int, memory: float, world_size: int, hardware: Hardware
) -> int:
    """The largest divisor of `share` rows that one process with `memory` bytes free can take.

    Raises `hardware_unfit` where not even one row fits.
    """
    for parts in range(1, share + 1):
        if share % parts == 0:
            rows = share // parts
            if training_bytes(scale, rows, world_size, hardware) <= USABLE * memory:
                return rows
    needed = training_bytes(scale, 1, world_size, hardware) / USABLE
    way = "more GPUs" if hardware.fsdp else "--fsdp over several GPUs"
    raise Failure(
        "hardware_unfit",
        f"one row of {scale.name} takes about {needed / 1e9:.0f} GB, and {memory / 1e9:.0f} GB are "
        f"free: use larger GPUs or {way}",
    )


def training_bytes(scale: Scale, rows: int, world_size: int, hardware: Hardware) -> float:
    """Of one process at its peak, with `rows` rows in a forward pass."""
    shape = scale.model
    size = 1 if scale.precision == "amp_bfloat16" else 2
    kept = COMPILED if hardware.compile else 1.0
    token = kept * size * shape.layers * (BY_DIM * shape.dim + BY_HIDDEN * shape.ffn_hidden)
    positions = rows * shape.seq_len
    return _fixed(shape, world_size, hardware.fsdp) + positions * token + _loss(scale, positions)


def _fixed(shape: ModelShape, world_size: int, sharded: bool) -> float:
    """Weights, gradients, moments; sharded, the shards and what is gathered at one time."""
    if not sharded:
        return float(FIXED * shape.params_trained)
    embeddings = 2 * shape.vocab * shape.dim
    block = (shape.params - embeddings) / shape.layers
    gathered = 6 * (embeddings + 2 * block)  # bfloat16 weights and float32 gradients
    return FIXED * shape.params_trained / world_size + gathered


def _loss(scale: Scale, positions: int) -> float:
    """Logits and log-probabilities in float32, and their gradient in bfloat16: 10 bytes each."""
    vocab, dim = scale.model.vocab, scale.model.dim
    if scale.precision != "amp_bfloat16":
        return 12.0 * positions * vocab
    return 10.0 * min(positions, CHUNK) * vocab + 4.0 * vocab * dim  # and the matrix's gradient
