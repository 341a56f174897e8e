"""Token estimates: from a sample that is counted, with an error that tells how far off they are."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from submissions.check import check_dataset
from submissions.cli import main
from submissions.token_sample import DOCUMENTS, TokenSample
from training_recipes.encoder import token_counter


def by_letter(texts: Sequence[str]) -> list[int]:
    """A tokenizer that splits ideographs and keeps four other letters together."""
    return [sum(4 if ord(c) > 0x3000 else 1 for c in text) // 4 for text in texts]


def sample_of(texts: Sequence[str], name: str = "") -> TokenSample:
    sample = TokenSample(name)
    for text in texts:
        sample.add(text, len(text.encode()))
    return sample


def mixed(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [draw.choice(["水", "word "]) * draw.randrange(20, 400) for _ in range(count)]


def test_a_small_dataset_is_counted_whole() -> None:
    texts = mixed(50, 1)
    tokens = sample_of(texts).tokens(by_letter, 3.1)
    assert tokens.estimate == sum(by_letter(texts)) + len(texts)
    assert tokens.error == 0


def test_the_error_tells_how_far_the_estimate_is_off() -> None:
    errors = []
    for seed in range(40):
        texts = mixed(DOCUMENTS * 8, seed)
        tokens = sample_of(texts, str(seed)).tokens(by_letter, 3.1)
        assert tokens.error
        truth = sum(by_letter(texts)) + len(texts)
        errors.append((tokens.estimate - truth) / tokens.error)
        assert truth <= tokens.most
    spread = (sum(error**2 for error in errors) / len(errors)) ** 0.5
    assert 0.6 < spread < 1.4


def test_a_sample_is_the_same_again() -> None:
    texts = mixed(2_000, 3)
    assert sample_of(texts).texts == sample_of(texts).texts
    assert sample_of(texts).texts != sample_of(texts, "other").texts


def test_without_a_tokenizer_only_what_cannot_be_enough_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "a" * 999}) + "\n")
    for needed, refused in ((1_000, False), (1_001, True)):
        report = check_dataset([path], track="filtering", scale="x", tokens_needed=needed,
                               bytes_per_token=4.0, max_epochs=1)  # fmt: skip
        assert report.tokens_error is None
        assert report.tokens_estimate == 250
        assert [p.code for p in report.problems] == ["dataset_too_small"] * refused


def test_the_command_counts_with_the_tokenizer_of_the_scale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["Chinese takes more: 水在标准大气压下的沸点是一百摄氏度。" * 30, "plain words " * 200]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    main(["check", str(tmp_path), "--track", "filtering", "--scale", "smoke", "--json"])
    document = json.loads(capsys.readouterr().out)
    count = token_counter("smoke")
    assert count is not None
    assert document["tokens_estimate"] == sum(count(texts)) + len(texts)
    assert document["tokens_error"] == 0
    assert token_counter("no-such-tokenizer") is None
