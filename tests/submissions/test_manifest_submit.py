"""`crucible submit --manifest`: the manifest goes to the site, and no byte of the data."""

from __future__ import annotations

import json

import pytest

from submissions.cli import main
from submissions.manifest import MANIFEST
from submissions.manifest_make import make_manifest
from tests.submissions.test_client import TOKEN, Server, server  # noqa: F401  (a fixture)

ASK = ["--track", "mixing", "--scale", "smoke", "--name", "n", "--json"]


@pytest.fixture
def submit(server, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setenv("CRUCIBLE_TOKEN", TOKEN)

    def run(*arguments: object) -> tuple[int, dict]:
        words = [str(argument) for argument in arguments]
        code = main(["submit", *words, *ASK, "--server", server.url])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_only_the_manifest_and_the_mixture_are_sent(server: Server, submit, tmp_path):  # noqa: F811
    data = tmp_path / "data"
    data.mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        (data / name).write_text('{"text": "one"}\n')
    manifest = tmp_path / "any-name"
    make_manifest(str(data), manifest)
    code, _ = submit("--manifest", manifest, "--store-key", "lab")
    assert code == 0
    assert server.uploads["u1"] == {MANIFEST: manifest.read_bytes()}
    assert server.submitted[-1]["store_key"] == "lab"
    sources = [{"name": n, "weight": 0.5, "shards": [f"{n}.jsonl"]} for n in ("a", "b")]
    (tmp_path / "mixture.json").write_text(json.dumps({"sources": sources}))
    code, _ = submit("--manifest", manifest, tmp_path / "mixture.json")
    assert code == 0
    assert set(server.uploads["u1"]) == {MANIFEST, "mixture.json"}
    assert "store_key" not in server.submitted[-1]


def test_what_cannot_be_is_said_before_anything_is_sent(server: Server, submit, tmp_path):  # noqa: F811
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    manifest = tmp_path / MANIFEST
    make_manifest(str(tmp_path), manifest)
    (tmp_path / "mixture.json").write_text(
        '{"sources": [{"name": "a", "weight": 1, "shards": ["absent.jsonl"]}]}'
    )
    broken = tmp_path / "broken"
    broken.write_bytes(manifest.read_bytes().replace(b"a.jsonl", b"../a.jsonl"))
    for arguments, words in [
        ([], "name the dataset"),
        (["--manifest", tmp_path / "absent"], "there is no file"),
        (["--manifest", broken], "path below"),
        (["--manifest", manifest, tmp_path / "a.jsonl"], "beside --manifest"),
        (["--manifest", manifest, tmp_path / "mixture.json"], "matches no shard"),
        (["--manifest", manifest, "--upload", "u1"], "--upload continues"),
        ([tmp_path, "--store-key", "lab"], "--store-key goes with"),
    ]:
        code, document = submit(*arguments)
        assert code == 1, arguments
        assert words in document["error"]["message"], arguments
    assert server.requests == []
