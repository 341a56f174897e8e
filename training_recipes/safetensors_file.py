"""Writes safetensors files one tensor at a time, in shards, with the index of Hugging Face.

The library's own writer wants all tensors of a file in memory; the format is eight bytes of length,
a JSON header with every tensor's place, and the bytes.
Source: github.com/huggingface/safetensors, section "Format" of its README.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from submissions.job import write_json_atomically

MAX_SHARD_BYTES = 5_000_000_000  # what `save_pretrained` cuts at
INDEX = "model.safetensors.index.json"
BYTES = 4  # of a float32


class Entry(Protocol):
    """A float32 tensor by name, which is made when it is written."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def tensor(self) -> Callable[[], Tensor]: ...


def write_shards(folder: Path, entries: Sequence[Entry]) -> list[str]:
    """Writes `model.safetensors`, or numbered files and their index; returns the weight files."""
    shards = _shards(entries)
    if len(shards) == 1:
        write_file(folder / "model.safetensors", entries)
        return ["model.safetensors"]
    place: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_file(folder / name, shard)
        place |= {entry.name: name for entry in shard}
    total = sum(size_of(entry) for entry in entries)
    write_json_atomically(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": place})
    return sorted(set(place.values()))


def _shards(entries: Sequence[Entry]) -> list[list[Entry]]:
    """In order, as many to a shard as fit; a larger tensor has its own."""
    shards: list[list[Entry]] = [[]]
    used = 0
    for entry in entries:
        if shards[-1] and used + size_of(entry) > MAX_SHARD_BYTES:
            shards.append([])
            used = 0
        shards[-1].append(entry)
        used += size_of(entry)
    return shards


def write_file(path: Path, entries: Sequence[Entry]) -> None:
    """One safetensors file; only one tensor is in memory at a time."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for entry in entries:
        start, end = end, end + size_of(entry)
        header[entry.name] = {
            "dtype": "F32",
            "shape": list(entry.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of eight
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for entry in entries:
            file.write(entry.tensor().detach().contiguous().numpy().data)


def size_of(entry: Entry) -> int:
    """The bytes of its values."""
    count = BYTES
    for length in entry.shape:
        count *= length
    return count
