"""Tokenising by reference continues by shard: what was read is not asked for again."""

from __future__ import annotations

import json

import pytest

from submissions.failures import Failure
from submissions.manifest import MANIFEST
from submissions.manifest_make import make_manifest
from submissions.references import ACCESS
from submissions.store_access import StoreAccess, write_access
from training_recipes import tokenize
from training_recipes.scales import load_scale
from training_recipes.tokenize import tokenize_dataset


def test_a_killed_run_asks_only_for_the_shards_it_had_not_finished(tmp_path, monkeypatch):
    folder = tmp_path / "pool"
    folder.mkdir()
    for number in range(4):
        lines = [json.dumps({"text": f"document {number} {n}"}) + "\n" for n in range(300)]
        (folder / f"{number}.jsonl").write_text("".join(lines))
    scale = load_scale("smoke")
    uploaded = tokenize_dataset([folder], tmp_path / "uploaded", scale)
    manifest = tmp_path / MANIFEST
    make_manifest(str(folder), manifest)
    write_access(tmp_path / "access" / "1.json", StoreAccess(folders=(str(folder),)))
    monkeypatch.setenv(ACCESS, str(tmp_path / "access" / "1.json"))
    done, real = [], tokenize.spill_shard

    def killed(task):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(task.shard.name)
        return real(task)

    with monkeypatch.context() as patch:
        patch.setattr(tokenize, "spill_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            tokenize_dataset([manifest], tmp_path / "rows", scale)
    kept = {name: (folder / name).read_bytes() for name in done}
    for name in done:
        (folder / name).unlink()
    rows = tokenize_dataset([manifest], tmp_path / "rows", scale)
    assert rows.rows_sha256 == uploaded.rows_sha256
    assert rows.dataset_sha256 == uploaded.dataset_sha256
    with pytest.raises(Failure) as raised:  # a finished run is looked at again: to the last shard
        tokenize_dataset([manifest], tmp_path / "rows", scale)
    assert raised.value.shard in done
    for name, content in kept.items():
        (folder / name).write_bytes(content)
    again = tokenize_dataset([manifest], tmp_path / "rows", scale)
    assert again.rows_sha256 == uploaded.rows_sha256
