"""A Hugging Face directory: config.json, *.safetensors and tokenizer.json, all of it hostile.

transformers never sees the folder itself, in which an adapter's file could name another model or a
tokenizer's file Python code. It gets a view: a temporary folder with the few files that a causal
model needs, the JSON ones checked and written anew, and links to the weights.
"""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from submissions.codec import read
from submissions.failures import Failure
from submissions.hashing import combined_sha256, file_sha256
from submissions.job import write_json_atomically

CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
TOKENIZER_FILES = (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json")
MAX_JSON = 4 * 2**20  # bytes of a configuration or an index
MAX_TOKENIZER = 64 * 2**20  # bytes; the largest known ones, of 256,000 ids, have half of it
MOST_FILES = 1000
# Numbers that a configuration may hold: in a key with one of these words it counts modules, of
# which a model is built (and lists are made) before anything else limits them.
COUNTING, MOST_COUNTED, MOST = ("layer", "expert", "head", "block"), 100_000, 2**40
# Keys by which a configuration names Python code or another model, or asks for another reader.
NOT_DATA = ("auto_map", "custom_pipelines", "_name_or_path", "from_slow", "tokenizer_file",
            "chat_template", "_attn_implementation")  # fmt: skip


def is_hugging_face(folder: Path) -> bool:
    """Whether a folder is a Hugging Face directory and not our own model directory."""
    return (folder / CONFIG).exists() and not (folder / "params.json").exists()


@contextmanager
def view_of_model(folder: Path) -> Iterator[Path]:
    """A folder from which transformers may read the model; `model_invalid` where it may not."""
    config = checked_config(folder)
    weights = weight_files(folder)
    with tempfile.TemporaryDirectory(prefix="crucible-") as name:
        view = Path(name)
        write_json_atomically(view / CONFIG, config)
        for path in weights:
            (view / path.name).symlink_to(path.resolve())
        if (folder / INDEX).exists():
            write_json_atomically(view / INDEX, _index(folder))
        yield view


@contextmanager
def view_of_tokenizer(folder: Path) -> Iterator[Path]:
    """A folder from which transformers may read the tokenizer; `model_invalid` likewise.

    config.json is in it too: the kind of model chooses the tokenizer's class where no other does.
    """
    with tempfile.TemporaryDirectory(prefix="crucible-") as name:
        view = Path(name)
        write_json_atomically(view / CONFIG, checked_config(folder))
        for path in tokenizer_files(folder):
            if path.name != TOKENIZER:
                write_json_atomically(view / path.name, _data_only(_read(path, MAX_JSON)))
                continue
            if path.stat().st_size > MAX_TOKENIZER:
                raise _invalid(path, f"has more than {MAX_TOKENIZER:,} bytes")
            (view / path.name).symlink_to(path.resolve())
        yield view


def tokenizer_files(folder: Path) -> list[Path]:
    """The tokenizer's files; `model_invalid` where tokenizer.json is missing."""
    _regular(folder / TOKENIZER)
    return [_regular(folder / name) for name in TOKENIZER_FILES if (folder / name).exists()]


def weight_files(folder: Path) -> list[Path]:
    """The files of weights: the one, or all that the index names."""
    if not (folder / INDEX).exists():
        return [_regular(folder / WEIGHTS)]
    names = sorted(set(_index(folder)["weight_map"].values()))
    return [_regular(folder / name) for name in names]


def hugging_face_sha256(folder: Path) -> str:
    """The hash of all files that determine an answer, whatever else the folder holds."""
    files = [_regular(folder / CONFIG), *weight_files(folder)]
    return combined_sha256([*map(file_sha256, files), tokenizer_sha256(folder)])


def tokenizer_sha256(folder: Path) -> str:
    """The hash of the tokenizer's files."""
    return combined_sha256(map(file_sha256, tokenizer_files(folder)))


def checked_config(folder: Path) -> dict[str, Any]:
    """config.json without what is no data; `model_invalid` for numbers that no model has."""
    config = _read(_regular(folder / CONFIG), MAX_JSON)
    if not isinstance(config.get("model_type"), str):
        raise _invalid(folder / CONFIG, "names no model_type")
    for key in ("quantization_config", "compression_config"):
        if config.get(key) is not None:
            raise _invalid(
                folder / CONFIG, f"has a {key}: give weights in float32, float16 or bfloat16"
            )
    for key, value in _numbers(config, ""):
        most = MOST_COUNTED if any(word in key.lower() for word in COUNTING) else MOST
        if abs(value) > most:
            raise _invalid(folder / CONFIG, f"says {key} = {value:g}, above {most:,}")
    return _data_only(config)


def _index(folder: Path) -> dict[str, Any]:
    """The index, of which every weight is in a safetensors file of this folder."""
    found = _read(_regular(folder / INDEX), 4 * MAX_JSON)
    places = found.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise _invalid(folder / INDEX, "has no weight_map")
    names = set(map(str, places.values()))
    bad = [n for n in names if not n.endswith(".safetensors") or Path(n).name != n]
    if bad:
        raise _invalid(folder / INDEX, f"names {min(bad)[:100]!r}, no safetensors file beside it")
    if len(names) > MOST_FILES:
        raise _invalid(folder / INDEX, f"names {len(names):,} files, over {MOST_FILES:,}")
    return {"metadata": {}, "weight_map": places}


def _data_only(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in NOT_DATA}


def _numbers(value: Any, key: str) -> Iterator[tuple[str, float]]:
    """Every number of a document, with the key nearest to it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, key)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield key, value


def _read(path: Path, limit: int) -> dict[str, Any]:
    return read(dict[str, Any], path, code="model_invalid", where=str(path), limit=limit)


def _regular(path: Path) -> Path:
    """A file, or a link to one as in the hub's cache; a pipe or a device would never end."""
    try:
        found = path.stat()
    except OSError:
        raise _missing(path) from None
    if not stat.S_ISREG(found.st_mode):
        raise _invalid(path, "is no file")
    return path


def _missing(path: Path) -> Failure:
    if path.name != WEIGHTS:
        return Failure("model_invalid", f"{path.parent} has no {path.name}")
    others = [*path.parent.glob("*.bin"), *path.parent.glob("*.pt"), *path.parent.glob("*.pth")]
    hint = f"; {others[0].name} may hold code and is not read" if others else ""
    return Failure("model_invalid", f"{path.parent} has neither {WEIGHTS} nor {INDEX}{hint}")


def _invalid(path: Path, what: str) -> Failure:
    return Failure("model_invalid", f"{path} {what}")
