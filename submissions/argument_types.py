"""What options of the command line may be: looked at before any work, refused with exit code 2."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

MOST_SEED = 2**32 - 1  # what NumPy and PyTorch both take


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A whole number from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if number < least or (most is not None and number > most):
            span = f"from {least} to {most}" if most is not None else f"of at least {least}"
            raise argparse.ArgumentTypeError(f"{text} must be a whole number {span}")
        return number

    return parse


positive = whole(1)
seed = whole(0, MOST_SEED)


def given_path(text: str) -> str:
    """A path or URI that is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty; write . for this folder")
    return text


def output_folder(text: str) -> Path:
    """A folder that is there or can be made."""
    path = Path(given_path(text))
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a file, not a folder")
    return _makeable(path)


def output_file(text: str) -> Path:
    """A file that is there or can be made."""
    path = Path(given_path(text))
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder: name a file in it")
    return _makeable(path)


def _makeable(path: Path) -> Path:
    """The path, if the nearest folder above it that is there can be written to."""
    try:
        path.name.encode()
        above = next(one for one in path.absolute().parents if one.exists() or one.is_symlink())
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("the path is not UTF-8") from None
    if not above.is_dir():
        raise argparse.ArgumentTypeError(f"{path} cannot be made: {above} is a file")
    if not os.access(above, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{path} cannot be made: {above} cannot be written to")
    return path
