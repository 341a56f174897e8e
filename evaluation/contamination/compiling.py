"""Compiles the functions that look at every byte, and keeps what was compiled on disk."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

FOLDER = Path(__file__).parent
# The modules with compiled functions, or with constants that these take in when compiled.
COMPILED = (
    "compiling", "folding", "grams", "hits", "markup", "reading", "rules", "scanner", "vectors",
    "verify", "words",
)  # fmt: skip
# NumPy's division by zero instead of a check at each division; no lock of Python is held.
CACHE = "crucible"  # below the user's cache
OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


def compiled(function: Callable[..., Any]) -> Any:
    """The function as machine code, made at its first call and kept for later processes.

    Numba looks for changes only in the file of the function itself, and would go on with old code
    of a function or constant from another file: so the folder is named after all that matter.
    """
    settings: Any = numba.config
    before, settings.CACHE_DIR = settings.CACHE_DIR, _cache_folder()
    try:
        return numba.njit(**OPTIONS)(function)
    finally:
        settings.CACHE_DIR = before


def is_kept(function: Any) -> bool:
    """Whether a process before this one compiled the function, so that its first call is quick."""
    module = function.__module__.rpartition(".")[2]
    return any(Path(_cache_folder()).rglob(f"{module}.{function.__name__}-*.nbi"))


def cache_folder() -> Path:
    """Where what was compiled is kept; named after the sources, so it never holds older code."""
    return Path(_cache_folder())


@cache
def _cache_folder() -> str:
    """Beside Python's own compiled files, or below the user's cache where that is read-only."""
    sources = [FOLDER / f"{name}.py" for name in COMPILED]
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()
    parent = FOLDER / "__pycache__"
    if not os.access(parent if parent.exists() else FOLDER, os.W_OK):
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        parent = Path(home) / CACHE
    folder = parent / f"compiled-{digest[:16]}"
    if not folder.exists():
        for other in parent.glob("compiled-*"):
            shutil.rmtree(other, ignore_errors=True)
    return str(folder)
