"""Where each token of a batch lies: one flat run of tokens, and padded views for attention only.

The flat order is all prefixes, then all suffixes. Norms and matrices work on the flat tokens, so
that no padding costs anything there; attention sees [B, P] prefixes and [B, S] suffixes. In the
last layer only the tokens are computed after which something is predicted, at most Q an item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.native.plan import Item

Array = NDArray[Any]


@dataclass(frozen=True)
class Padded:
    """A padded view [B, width] of flat rows, and what its queries may see.

    `at` [B · width] names the flat row of each place (any row where there is padding), `back` the
    place of each row. `allowed` is bool [B, 1, width, keys]; None: each place what is before it.
    """

    at: Tensor
    back: Tensor
    allowed: Tensor | None


@dataclass(frozen=True)
class Layout:
    """One batch of B items on the model's device.

    `ids`, `positions` [N]. `prefixes` and `suffixes` (None where no item has any) view the N flat
    tokens, `asked` the M tokens `asked_at` after which something is predicted, item by item. Of
    these, pair i is followed by `targets[i]` at `pair_at[i]`; the pairs of one scored row stand
    together, and `lengths` says how many each row has.
    """

    items: int
    ids: Tensor
    positions: Tensor
    last_position: int
    prefixes: Padded
    suffixes: Padded | None
    asked: Padded
    asked_at: Tensor
    pair_at: Tensor
    targets: Tensor
    lengths: list[int]


def lay_out(batch: list[Item], device: torch.device, pad_id: int) -> Layout:
    """The layout of a batch whose items all have suffixes, or none of which has."""

    def tensor(array: Array) -> Tensor:
        return torch.from_numpy(array).to(device, non_blocking=True)

    def padded(at: Array, back: Array, allowed: Array | None) -> Padded:
        return Padded(tensor(at), tensor(back), None if allowed is None else tensor(allowed))

    lengths = np.array([len(item.prefix) for item in batch])
    counts = np.array([item.suffix_tokens for item in batch])
    ids = np.concatenate([item.prefix for item in batch])
    at, back = _padded(lengths)
    real = np.arange(lengths.max()) < lengths[:, None]
    if masked := batch[0].masked:
        real &= ids[at].reshape(real.shape) != pad_id
    prefixes = padded(at, back, _all_earlier(real) if masked else None)
    suffixes = own = None
    if counts.any():
        at, back = _padded(counts)
        own = _own(batch, int(counts.max()))
        before = np.broadcast_to(real[:, None, :], (*own.shape[:2], real.shape[1]))
        suffixes = padded(at + len(ids), back, np.concatenate((before, own), axis=-1)[:, None])
        ids = np.concatenate([ids, *(suffix for item in batch for suffix in item.suffixes)])
    positions = _positions(batch)
    asked = [_asked(item) for item in batch]
    flat = _flat(asked, lengths, counts)
    number = np.array([len(places) for places, _ in asked])
    at, back = _padded(number)
    allowed = _allowed(
        np.concatenate([p for p, _ in asked])[at].reshape(len(batch), -1), lengths, real, own
    )
    firsts = np.cumsum(number) - number
    pairs = [pair + first for (_, pair), first in zip(asked, firsts, strict=True)]
    rows = [scored for item in batch for scored in item.scored]
    return Layout(
        len(batch), tensor(ids.astype(np.int64)), tensor(positions), int(positions.max()),
        prefixes, suffixes, padded(at, back, allowed), tensor(flat),
        tensor(np.concatenate(pairs)), tensor(_joined([row.targets for row in rows])),
        [len(row.targets) for row in rows],
    )  # fmt: skip


def _padded(lengths: Array) -> tuple[Array, Array]:
    """Flat row of each padded place (the item's last where there is none), and the way back."""
    starts = np.cumsum(lengths) - lengths
    columns = np.arange(lengths.max())
    at = starts[:, None] + np.minimum(columns, np.maximum(lengths[:, None] - 1, 0))
    return at.reshape(-1), np.flatnonzero(columns < lengths[:, None])


def _joined(parts: list[Array]) -> Array:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])


def _positions(batch: list[Item]) -> Array:
    parts = [np.arange(item.start, item.start + len(item.prefix)) for item in batch]
    for item in batch:
        first = item.start + len(item.prefix)
        parts += [np.arange(first, first + len(suffix)) for suffix in item.suffixes]
    return np.concatenate(parts)


def _all_earlier(real: Array) -> Array:
    """As the reference masks padding inside a text: padding is visible to no place.

    A place that would see nothing sees everything; its result is never read.
    """
    allowed = real[:, None, None, :] & np.tri(real.shape[1], dtype=bool)
    return np.asarray(allowed | ~allowed.any(axis=-1, keepdims=True))


def _own(batch: list[Item], width: int) -> Array:
    """[B, S, S]: a suffix token sees the tokens of its own suffix up to itself."""
    number = np.full((len(batch), width), -1)  # which suffix a place is of
    for row, item in enumerate(batch):
        sizes = [len(suffix) for suffix in item.suffixes]
        number[row, : sum(sizes)] = np.repeat(np.arange(len(sizes)), sizes)
    return np.asarray((number[:, :, None] == number[:, None, :]) & np.tri(width, dtype=bool))


def _asked(item: Item) -> tuple[Array, Array]:
    """The places of an item after which something is predicted, each once; the place of each pair.

    A prompt without scored rows is asked after its last token.
    """
    if not item.scored:
        return np.array([len(item.prefix) - 1]), np.empty(0, dtype=np.int64)
    places = np.concatenate([scored.places for scored in item.scored])
    distinct, pair = np.unique(places, return_inverse=True)
    return distinct, pair.reshape(-1)


def _flat(asked: list[tuple[Array, Array]], lengths: Array, counts: Array) -> Array:
    """The flat tokens of the asked places."""
    prefix_start = np.cumsum(lengths) - lengths
    suffix_start = lengths.sum() + np.cumsum(counts) - counts
    return np.concatenate(
        [
            places + np.where(places < lengths[i], prefix_start[i], suffix_start[i] - lengths[i])
            for i, (places, _) in enumerate(asked)
        ]
    )


def _allowed(places: Array, lengths: Array, real: Array, own: Array | None) -> Array:
    """What asked places [B, Q] see: [B, 1, Q, P + S]."""
    limit = np.minimum(places, lengths[:, None] - 1)
    before = (np.arange(real.shape[1]) <= limit[:, :, None]) & real[:, None, :]
    if own is None:
        return np.asarray(before | ~before.any(axis=-1, keepdims=True))[:, None]
    inside = places - lengths[:, None]
    rows = np.take_along_axis(own, np.maximum(inside, 0)[:, :, None], axis=1)
    rows &= inside[:, :, None] >= 0
    return np.asarray(np.concatenate((before, rows), axis=-1)[:, None])
