"""Loads tokenizers: the bundled one by name, others by folder or by Hugging Face hub name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from submissions.failures import Failure
from submissions.hashing import combined_sha256, file_sha256
from training_recipes.scales import TOKENIZERS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE = "tokenizer.json"
FILES = (FILE, "tokenizer_config.json", "special_tokens_map.json")
END_OF_TEXT = "<|endoftext|>"
END_OF_TEXT_ID = 0
# Set to the folder that holds a tokenizer's files, for machines without access to the hub.
FOLDER_VARIABLE = "CRUCIBLE_TOKENIZERS"


def tokenizer_folder(name: str) -> Path:
    """The local folder with a tokenizer's Hugging Face files.

    `name` is a bundled tokenizer ("smoke"), a path, or a hub name ("EleutherAI/gpt-neox-20b"). A
    hub name is looked for below $CRUCIBLE_TOKENIZERS, then in the hub's cache on this machine;
    nothing is fetched here. Raises `missing_dependency` where it is not to be found.
    """
    candidates = [TOKENIZERS / name, Path(name)]
    if os.environ.get(FOLDER_VARIABLE):
        candidates.insert(0, Path(os.environ[FOLDER_VARIABLE]) / name)
    for folder in candidates:
        if (folder / FILE).is_file():
            return folder
    if name.count("/") == 1 and not name.startswith(("/", ".")):
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(name, FILE)
        if isinstance(cached, str):
            return Path(cached).parent
    raise Failure(
        "missing_dependency",
        f"the tokenizer {name} is not on this machine: put its {FILE} into the folder "
        f"${FOLDER_VARIABLE}/{name}, or fetch it once with "
        f"`huggingface-cli download {name} --include '*token*'`",
    )


def load_tokenizer(name: str) -> Tokenizer:
    """The tokenizer (of the `tokenizers` library), checked to have <|endoftext|> as id 0."""
    from tokenizers import Tokenizer

    folder = tokenizer_folder(name)
    try:
        tokenizer = Tokenizer.from_file(str(folder / FILE))
    except Exception as error:  # the library raises bare Exception
        raise Failure("missing_dependency", f"cannot read {folder / FILE}: {error}") from None
    if tokenizer.token_to_id(END_OF_TEXT) != END_OF_TEXT_ID:
        raise Failure("missing_dependency", f"{folder / FILE} has no {END_OF_TEXT} with id 0")
    return tokenizer


def tokenizer_files(folder: Path) -> list[Path]:
    """The files of a Hugging Face fast tokenizer in `folder`, which may hold others."""
    return [folder / name for name in FILES if (folder / name).is_file()]


def tokenizer_sha256(name: str) -> str:
    """Hash of a tokenizer's files: the same for the folder `tokenizer/` of a trained model."""
    return combined_sha256(file_sha256(path) for path in tokenizer_files(tokenizer_folder(name)))
