"""The two engines with a model: our own model directory, or a Hugging Face directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation import hf_folder
from submissions.failures import Failure
from submissions.hashing import combined_sha256, file_sha256, folder_sha256

if TYPE_CHECKING:
    from evaluation.hf_model import HuggingFaceModel
    from evaluation.llm_foundry import LLMFoundryEngine
    from evaluation.native.engine import NativeEngine
    from training_recipes.model import OpenLM

REFERENCE = "llm-foundry"
ENGINES = ("native", REFERENCE)
DEFAULT_ENGINE = "native"
# The native engine's: fp32 alone; tf32, in which a GPU multiplies float32 matrices as Composer lets
# it; bf16, with float32 rotary tables and sums of logits.
PRECISIONS = ("fp32", "tf32", "bf16")


def load_engine(
    name: str, model: Path, precision: str | None = None
) -> NativeEngine | LLMFoundryEngine:
    """The engine of that name, with the model of a folder.

    `precision` (the native engine's; None: float32) is refused for another (`unknown_engine`).
    """
    if name not in ENGINES:
        raise Failure("unknown_engine", f"there is no engine {name!r}: {', '.join(ENGINES)}")
    if precision is not None and name == REFERENCE:
        raise Failure(
            "unknown_engine", f"{REFERENCE} has no choice of precision: use the engine native"
        )
    if name == "native":
        from evaluation.native.engine import NativeEngine

        return NativeEngine(load_model(model), tokenizer_folder(model), precision or "fp32")
    return load_reference(model)


def load_reference(model: Path, exactly: bool = False) -> LLMFoundryEngine:
    """The reference engine; `exactly` as of `LLMFoundryEngine`."""
    from evaluation.llm_foundry import LLMFoundryEngine
    from evaluation.native.tokens import read_tokenizer

    tokenizer: Any = read_tokenizer(tokenizer_folder(model))
    return LLMFoundryEngine(load_model(model), tokenizer, exactly=exactly)


def load_model(model: Path) -> OpenLM | HuggingFaceModel:
    """The model of a folder, in float32 on the CPU; `model_invalid` when it cannot be read."""
    if hf_folder.is_hugging_face(model):
        from evaluation.hf_model import load_hugging_face

        return load_hugging_face(model)
    from training_recipes.model_dir import load_model_dir

    return load_model_dir(model)


def tokenizer_folder(model: Path) -> Path:
    """Where a model's tokenizer is."""
    return model if hf_folder.is_hugging_face(model) else model / "tokenizer"


def tokenizer_sha256(model: Path) -> str:
    """The hash of the tokenizer's files."""
    if hf_folder.is_hugging_face(model):
        return hf_folder.tokenizer_sha256(model)
    return folder_sha256(model / "tokenizer")


def model_sha256(model: Path) -> str:
    """The hash of what determines a model's answers; `model_invalid` when a part is missing."""
    if hf_folder.is_hugging_face(model):
        return hf_folder.hugging_face_sha256(model)
    for name in ("params.json", "checkpoint.pt", "tokenizer"):
        if not (model / name).exists():
            raise Failure("model_invalid", f"{model} has no {name}")
    files = (model / "params.json", model / "checkpoint.pt")
    return combined_sha256([*map(file_sha256, files), folder_sha256(model / "tokenizer")])
