"""The loss on held-out text against the plain computation, and beside published runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from submissions.cli import Commands
from submissions.failures import Failure
from training_recipes import loss_commands, verify_stack
from training_recipes.encoder import Encoder
from training_recipes.held_out import held_out_loss, packed
from training_recipes.model_dir import load_model_dir
from training_recipes.scales import Scale, load_scale
from training_recipes.verify_stack import compared

Report = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="module")
def text(
    tmp_path_factory: pytest.TempPathFactory,
    write_shard: Callable[[Path, list[str]], Path],
    some_texts: Callable[[int, int], list[str]],
) -> Path:
    """Two shards of held-out text."""
    folder = tmp_path_factory.mktemp("held-out")
    write_shard(folder / "a.jsonl", some_texts(6, 11))
    write_shard(folder / "b.jsonl", some_texts(3, 12))
    return folder


def run(*arguments: object) -> tuple[dict[str, Any], str]:
    parser = argparse.ArgumentParser()
    loss_commands.register(Commands(parser.add_subparsers(required=True)))
    parsed = parser.parse_args([str(argument) for argument in arguments])
    document = json.loads(json.dumps(parsed.run(parsed), allow_nan=False))
    return document, parsed.render(document)


def test_it_is_the_mean_cross_entropy_of_the_packed_rows(
    trained: Report, text: Path, some_texts: Callable[[int, int], list[str]]
) -> None:
    model = load_model_dir(trained[0]).double()  # the truth, within the rounding of float32
    encoder, ids = Encoder("smoke"), []
    for document in some_texts(6, 11) + some_texts(3, 12):
        ids += [*encoder.encode([document]).ids.tolist(), 0]
    length = model.shape.seq_len + 1
    rows = torch.tensor(ids[: len(ids) // length * length]).view(-1, length)
    logits = model(rows[:, :-1])
    each = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none")
    means = each.double().view(len(rows), -1).mean(dim=1)
    found = held_out_loss(trained[0], [text])
    assert (found.rows, found.tokens) == (len(rows), rows[:, 1:].numel())
    assert len(rows) > 8
    rounding = 100 * torch.finfo(torch.float32).eps
    assert found.loss == pytest.approx(means.mean().item(), rel=rounding)
    assert found.stderr == pytest.approx(means.std().item() / len(rows) ** 0.5, rel=1e-3)
    limited = held_out_loss(trained[0], [text], limit=5)
    assert limited.rows == 5
    assert limited.loss == pytest.approx(means[:5].mean().item(), rel=rounding)


def test_a_trained_model_has_learnt_and_bfloat16_is_near(trained: Report, text: Path) -> None:
    exact, low = (held_out_loss(trained[0], [text], precision) for precision in ("fp32", "bf16"))
    assert exact.loss < 6  # the logarithm of 4,096 is 8.3
    assert low.loss != exact.loss
    assert low.loss == pytest.approx(exact.loss, rel=4 * torch.finfo(torch.bfloat16).eps)


def test_rows_are_cut_from_the_ids_in_their_order() -> None:
    pieces = [np.arange(3), np.arange(3, 4), np.arange(4, 13)]
    rows = packed((piece.astype(np.uint16) for piece in pieces), 5)
    assert [row.tolist() for row in rows] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_too_little_text_is_refused(
    trained: Report, tmp_path: Path, write_shard: Callable[[Path, list[str]], Path]
) -> None:
    shard = write_shard(tmp_path / "a.jsonl", ["two words"])
    with pytest.raises(Failure, match="fills 0 rows of 33 ids") as caught:
        held_out_loss(trained[0], [shard])
    assert caught.value.code == "dataset_too_small"


def test_the_command_says_what_it_measured(trained: Report, text: Path) -> None:
    document, told = run("loss", "--model", trained[0], "--input", text, "--limit", 4)
    assert set(document) == {"rows", "tokens", "loss", "stderr", "precision"}
    assert (document["rows"], document["precision"]) == (4, "fp32")
    assert "128 tokens in 4 rows" in told


def test_a_published_run_is_trained_and_compared(
    monkeypatch: pytest.MonkeyPatch, trained: Report, tokens: Path, text: Path, tiny: Scale
) -> None:
    """With the tiny scale in the place of 11m-1x, whose run is finished already."""
    monkeypatch.setattr(loss_commands, "load_scale", lambda name: tiny)
    arguments = ("verify-stack", "--data", tokens, "--input", text, "--output", trained[0])
    with pytest.raises(Failure, match="no published loss of tiny") as caught:
        run(*arguments)
    assert caught.value.code == "unknown_scale"
    loss = held_out_loss(trained[0], [text]).loss
    monkeypatch.setitem(verify_stack.PUBLISHED, "tiny", loss + 0.04)
    document, told = run(*arguments)
    assert document["ok"]
    assert document["difference"] == pytest.approx(-0.04)
    assert "agrees within 0.05" in told
    monkeypatch.setitem(verify_stack.PUBLISHED, "tiny", loss + 0.06)
    document, told = run(*arguments)
    assert not document["ok"]
    assert "DOES NOT AGREE" in told


def test_the_published_losses_are_of_scales_of_the_ladder() -> None:
    """Trained on C4 the same run has 5.2207 at 11m-1x: another dataset must not pass for this."""
    for name in verify_stack.PUBLISHED:
        assert compared(load_scale(name), verify_stack.PUBLISHED[name], 0.0).ok
    assert not compared(load_scale("11m-1x"), 5.2207, 0.0).ok
    assert not compared(load_scale("79m-1x"), 3.8003, 0.0).ok
    assert not compared(replace(load_scale("154m-1x")), 3.4326, 0.0).ok
