"""Builds the bundled tokenizer: byte-level BPE over the documentation in Python's own library.

Run once by hand, `python -m training_recipes.build_tokenizer FOLDER`; its result is committed as
tokenizers/smoke, because another Python release has other docstrings and would give other ids. The
layout follows GPT-NeoX's: <|endoftext|> is id 0, NFC, no space put before a text.
"""

from __future__ import annotations

import ast
import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from training_recipes.tokenizer import END_OF_TEXT, FILE

VOCABULARY = 4096
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def build_tokenizer(folder: Path) -> None:
    """Trains the tokenizer and writes its Hugging Face files into `folder`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documentation(), trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / FILE))
    special = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "unk_token": END_OF_TEXT}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000,
        **special,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=1) + "\n")


def documentation() -> Iterator[str]:
    """The chapters of the language reference that `help()` shows, then all docstrings."""
    yield from topics.values()
    yield from docstrings(Path(sysconfig.get_paths()["stdlib"]))


def docstrings(library: Path) -> Iterator[str]:
    """Every docstring below `library`, by file name, installed packages aside."""
    for path in sorted(library.rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):  # the library's tests hold broken files on purpose
            continue
        for node in ast.walk(tree):
            if isinstance(node, DOCUMENTED):
                text = ast.get_docstring(node)
                if text:
                    yield text


if __name__ == "__main__":
    build_tokenizer(Path(sys.argv[1]))
