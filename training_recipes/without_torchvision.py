"""Lets Composer and Streaming be imported where torchvision is not installed.

Both import torchvision at module level for image work that we never do, and no torchvision wheel
runs beside a CPU build of torch (its compiled part is CUDA's). Nothing is installed under that
name: `pip list` stays honest, and transformers and torchmetrics still learn that it is absent.
See docs/decisions/0003-split-install.md.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any, NoReturn

ABSENT = "torchvision"
SERVED_PACKAGES = ("composer", "streaming")  # they import it and, without images, never use it


def allow_missing_torchvision() -> None:
    """Call before importing composer, streaming or llmfoundry; harmless when called again.

    Does nothing where torchvision is installed. Elsewhere the two packages get placeholders, each
    of which raises ModuleNotFoundError as soon as something is made of it or called.
    """
    if any(isinstance(finder, _PlaceholderFinder) for finder in sys.meta_path):
        return
    if importlib.util.find_spec(ABSENT) is not None:
        return
    # torchmetrics asks lightning_utilities, which keeps its first answer: ask it before
    # `sys.modules` holds a module of that name, so that the answer is right.
    from lightning_utilities.core.imports import package_available

    package_available(ABSENT)
    sys.meta_path.append(_PlaceholderFinder())


class _PlaceholderModule(ModuleType):
    """Stands for a module or a function: has every attribute, and raises when it is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # protocols such as __path__ must be seen to be missing
            raise AttributeError(name)
        qualified = f"{self.__name__}.{name}"
        if name[
            0
        ].isupper():  # a class: composer and streaming annotate with it and inherit from it
            return type(qualified, (), {"__new__": _refuse})
        return _PlaceholderModule(qualified)

    def __call__(self, *_arguments: Any, **_named: Any) -> NoReturn:
        _refuse(self)


def _refuse(used: Any, *_arguments: Any, **_named: Any) -> NoReturn:
    raise ModuleNotFoundError(
        f"{used.__name__} is needed, but torchvision is not installed: Crucible trains and "
        "evaluates text only",
        name=ABSENT,
    )


class _PlaceholderLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _PlaceholderModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: attributes are made when they are asked for."""


class _PlaceholderFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != ABSENT or _importing_package() not in SERVED_PACKAGES:
            return None
        return ModuleSpec(fullname, _PlaceholderLoader(), is_package=True)


def _importing_package() -> str:
    """The top-level package whose code asks for the import, past importlib's own frames."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package != "importlib":
            return package
        frame = frame.f_back
    return ""
