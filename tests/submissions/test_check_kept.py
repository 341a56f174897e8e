"""A check that was killed continues where it was, and finds what an unbroken one finds."""

from __future__ import annotations

import json

import pytest

from submissions import check, check_kept


def run(folder, kept=None):
    return check.check_dataset(
        [folder], track="filtering", scale="smoke", tokens_needed=10_000, bytes_per_token=4.0,
        max_epochs=4, kept=kept, count_tokens=lambda texts: [len(text) // 3 for text in texts],
    )  # fmt: skip


def test_a_killed_check_continues(tmp_path, monkeypatch):
    folder, kept = tmp_path / "data", tmp_path / "checked.json"
    folder.mkdir()
    for number in range(5):
        lines = [json.dumps({"text": f"{number} {n} " * (n % 9 + 1)}) + "\n" for n in range(200)]
        (folder / f"{number}.jsonl").write_text("".join(lines))
    monkeypatch.setattr(check_kept, "PERIOD", 0.0)
    unbroken, read, real = run(folder), [], check._check_shard

    def killed(shard, *rest):
        if len(read) == 3:
            raise KeyboardInterrupt
        read.append(shard.name)
        return real(shard, *rest)

    monkeypatch.setattr(check, "_check_shard", killed)
    with pytest.raises(KeyboardInterrupt):
        run(folder, kept)
    monkeypatch.setattr(
        check, "_check_shard", lambda *given: read.append(given[0].name) or real(*given)
    )
    assert run(folder, kept).as_dict() == unbroken.as_dict()
    assert read == [f"{number}.jsonl" for number in range(5)]
    read.clear()
    (folder / "1.jsonl").write_text('{"text": "other"}\n')  # then nothing is believed
    assert run(folder, kept).as_dict() == run(folder).as_dict()
    assert read[:2] == ["0.jsonl", "1.jsonl"]
    kept.write_text("{")
    assert run(folder, kept).ok
