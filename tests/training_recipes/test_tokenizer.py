"""The bundled tokenizer, and where others are looked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from submissions.failures import Failure
from submissions.hashing import folder_sha256
from training_recipes.scales import TOKENIZERS, load_scale
from training_recipes.tokenizer import load_tokenizer, tokenizer_folder, tokenizer_sha256

SENTENCE = "Naïve café:\n\n  the answer is\t42 — 日本語 🙂"


def test_ids_are_those_that_evaluation_relies_on() -> None:
    tokenizer = load_tokenizer("smoke")
    assert tokenizer.token_to_id("<|endoftext|>") == 0
    assert len(tokenizer.encode(" a").ids) == 1  # LLM Foundry tells by it that words carry a space
    assert tokenizer.get_vocab_size() == load_scale("smoke").model.vocab


def test_every_text_comes_back_whole() -> None:
    tokenizer = load_tokenizer("smoke")
    assert tokenizer.decode(tokenizer.encode(SENTENCE).ids) == SENTENCE


def test_transformers_reads_it_and_gives_the_same_ids() -> None:
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZERS / "smoke")
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|endoftext|>", 0)
    assert tokenizer(SENTENCE).input_ids == load_tokenizer("smoke").encode(SENTENCE).ids


def test_the_hash_is_of_the_files(tmp_path: Path) -> None:
    shutil.copytree(TOKENIZERS / "smoke", tmp_path / "copy")
    assert folder_sha256(tmp_path / "copy") == tokenizer_sha256("smoke")
    (tmp_path / "copy" / "model.safetensors").write_text("not part of the tokenizer")
    assert tokenizer_sha256(str(tmp_path / "copy")) == tokenizer_sha256("smoke")


def test_a_tokenizer_that_is_not_here_is_refused_without_asking_the_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("CRUCIBLE_TOKENIZERS", raising=False)
    with pytest.raises(Failure, match="nobody/nothing is not on this machine") as caught:
        load_tokenizer("nobody/nothing")
    assert caught.value.code == "missing_dependency"


def test_a_hub_name_is_found_below_the_folder_for_tokenizers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(TOKENIZERS / "smoke", tmp_path / "EleutherAI" / "gpt-neox-20b")
    monkeypatch.setenv("CRUCIBLE_TOKENIZERS", str(tmp_path))
    assert tokenizer_folder("EleutherAI/gpt-neox-20b") == tmp_path / "EleutherAI/gpt-neox-20b"


def test_another_end_of_text_is_refused(tmp_path: Path) -> None:
    content = (TOKENIZERS / "smoke" / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(content.replace("<|endoftext|>", "</s>"))
    with pytest.raises(Failure, match=r"no <\|endoftext\|> with id 0"):
        load_tokenizer(str(tmp_path))
