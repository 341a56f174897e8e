"""Reads the small JSON files of the mixture lab, field by field: each may be damaged or hostile."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from evaluation.mixtures.laws import Floats
from submissions.failures import Failure

MAX_BYTES = 32 * 2**20


def read_json(path: Path, code: str, most: int = MAX_BYTES) -> Any:
    """The document in a file of at most `most` bytes; failures get the given code."""
    if not path.is_file():
        raise Failure("dataset_missing", f"there is no file {path}")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise Failure(code, f"{path.name} is larger than {most // 2**20} MiB")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Failure(code, f"{path.name} is not JSON: {error.msg}, line {error.lineno}") from None


def numbers_by_name(document: Any, name: str, what: str) -> dict[str, float]:
    """An object of numbers, all at least 0; raises `sources_invalid`."""
    if isinstance(document, dict) and isinstance(document.get("sources"), list):
        document = document["sources"]
    if isinstance(document, list):
        document = {_name_of(entry, name): entry.get("tokens") for entry in document}
    if not isinstance(document, dict) or not 1 <= len(document) <= 1_000:
        raise Failure("sources_invalid", f'{name} must hold an object {{"source": {what}}}')
    for key, value in document.items():
        if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
            raise Failure("sources_invalid", f'{name}: "{key}" needs a number of {what}, 0 or more')
    return {key: float(value) for key, value in document.items()}


def _name_of(entry: Any, name: str) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise Failure("sources_invalid", f'{name}: every source needs "name" and "tokens"')
    found: str = entry["name"]
    return found


def array(value: Any, shape: tuple[int, ...], where: str) -> Floats:
    """Finite numbers of exactly this shape; raises `fit_invalid`."""
    try:
        found = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise Failure("fit_invalid", f"{where} holds no array of numbers") from None
    if found.shape != shape or not np.isfinite(found).all():
        said = f"{where} must be {' × '.join(map(str, shape))} finite numbers"
        raise Failure("fit_invalid", said)
    return found


def field(document: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """A key's value of a given type; raises `fit_invalid`."""
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Failure("fit_invalid", f'{where} has no proper "{key}"')
    return value
