"""Packing and shuffling: what comes out depends on the documents, the recipe and the seed alone."""

from __future__ import annotations

import fcntl
import gzip
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from submissions.executor import LocalProcesses
from submissions.failures import Failure
from submissions.hashing import combined_sha256, file_sha256
from training_recipes.encoder import Encoder
from training_recipes.packed_rows import Summary, read_summary, tar_member
from training_recipes.scales import Scale, scale_of
from training_recipes.tokenize import require_enough, tokenize_dataset
from training_recipes.tokenizer import load_tokenizer

Texts = Callable[..., list[str]]
WriteShard = Callable[[Path, list[str]], Path]


def rows_in(folder: Path) -> list[list[int]]:
    """All rows in the manifest's order, read in the slowest and plainest way."""
    rows = []
    for line in (folder / "manifest.jsonl").read_text().splitlines():
        with tarfile.open(folder / (json.loads(line)["shard"] + ".tar")) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                rows.append(json.loads(gzip.decompress(file.read())))
    return rows


def slow_rows(dataset: Path, width: int, seed: int) -> list[list[int]]:
    """What the stage should write, by Hugging Face's library and lists alone."""
    encode = load_tokenizer("smoke").encode
    rows, ends = [], []
    for shard in sorted(dataset.iterdir(), key=file_sha256):
        texts = [json.loads(line)["text"] for line in shard.read_text().splitlines()]
        ids = [token for text in texts for token in [*encode(text).ids, 0]]
        whole = len(ids) // width * width
        rows += [ids[start : start + width] for start in range(0, whole, width)]
        ends += ids[whole:]
    rows += [ends[i : i + width] for i in range(0, len(ends) // width * width, width)]
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(rows))
    return [rows[number] for number in order]


def test_rows_are_those_of_a_slow_reference(
    tmp_path: Path, tiny: Scale, write_shard: WriteShard, some_texts: Texts
) -> None:
    for number in range(5):
        write_shard(tmp_path / "in" / f"{number}.jsonl", some_texts(40 + number, number))
    write_shard(tmp_path / "in" / "end.jsonl", ["a"])  # gives no row, only ids at its end
    summary = tokenize_dataset([tmp_path / "in"], tmp_path / "out", tiny)
    rows = rows_in(tmp_path / "out")
    assert rows == slow_rows(tmp_path / "in", 33, tiny.seed)
    assert (summary.documents, summary.sequences) == (211, len(rows))
    assert summary.tokens == 33 * len(rows)
    assert summary.epochs == pytest.approx(tiny.rows / len(rows), abs=1e-4)


def test_workers_and_encoder_do_not_matter(
    tmp_path: Path, tiny: Scale, dataset: Path, tokens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = tokenize_dataset([dataset], tmp_path / "two", tiny, placement=LocalProcesses(2))
    once = read_summary(tokens)
    assert two == once  # the hashes of the tars' bytes included
    assert two.encoder.startswith("fastokens ")
    monkeypatch.setattr("training_recipes.encoder._fast_tokenizer", lambda path: None)
    monkeypatch.setattr("training_recipes.spill.encoder_of", Encoder)
    monkeypatch.setattr("training_recipes.tokenize.encoder_of", Encoder)
    slow = tokenize_dataset([dataset], tmp_path / "slow", tiny)
    assert slow.encoder.startswith("tokenizers ")
    assert replace(slow, encoder=once.encoder) == once


KILLED = """
import json, os, signal, sys
from pathlib import Path
from training_recipes import scales, tokenize
place, count = sys.argv[3].split(":")
real = getattr(tokenize, place)
calls = 0
def dying(*arguments):
    global calls
    calls += 1
    result = real(*arguments) if place != "write_manifest_and_summary" else None
    if calls == int(count):
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(tokenize, place, dying)
scale = scales.scale_of("tiny", json.loads(sys.argv[4]))
tokenize.tokenize_dataset([sys.argv[1]], Path(sys.argv[2]), scale)
"""


@pytest.mark.parametrize(
    "place", ["spill_shard:1", "shuffle_shard:2", "write_manifest_and_summary:1"]
)
def test_a_killed_run_goes_on_and_repeats_nothing(
    tmp_path: Path, tiny_content: dict[str, object], dataset: Path, place: str
) -> None:
    content = tiny_content | {"rows_per_shard": 1000}
    scale = scale_of("tiny", content)
    output = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(dataset), str(output), place, json.dumps(content)]
    died = subprocess.run(command, capture_output=True, text=True)
    assert died.returncode == -9, died.stderr
    work = tmp_path / ".out.partial"
    done = {path: path.stat().st_mtime_ns for path in work.glob("**/*.json")}
    assert len(done) > 1
    seen = []

    def look(step: int, of: int, unit: str, message: str = "", **metrics: float) -> None:
        seen.append({path: path.stat().st_mtime_ns for path in done if path.exists()})

    summary = tokenize_dataset([dataset], output, scale, progress=look)
    kept = {path: time for path, time in done.items() if path.name != "identity.json"}
    assert kept.items() <= seen[0].items()
    assert kept.items() <= seen[-1].items()
    undisturbed = tokenize_dataset([dataset], tmp_path / "other", scale)
    assert summary == undisturbed
    assert not work.exists()


def test_names_and_order_of_files_do_not_matter(
    tmp_path: Path, tiny: Scale, dataset: Path, tokens: Path
) -> None:
    shutil.copy(dataset / "one.jsonl", tmp_path / "z.jsonl")
    shutil.copy(dataset / "two.jsonl", tmp_path / "a.jsonl")
    renamed = [tmp_path / "z.jsonl", tmp_path / "a.jsonl"]
    again = tokenize_dataset(renamed, tmp_path / "out", tiny)
    assert again == read_summary(tokens)  # the hashes of the tars' bytes included


def test_the_seed_changes_the_order_and_not_the_rows(
    tmp_path: Path, tiny: Scale, dataset: Path, tokens: Path
) -> None:
    summary = tokenize_dataset([dataset], tmp_path / "out", tiny, seed=5)
    first, second = rows_in(tokens), rows_in(tmp_path / "out")
    assert summary.rows_sha256 != read_summary(tokens).rows_sha256
    assert first != second
    assert sorted(first) == sorted(second)


def test_open_lm_can_read_the_folder(tokens: Path) -> None:
    text = (tokens / "manifest.jsonl").read_text()
    assert text.endswith("\n")
    for line in map(json.loads, text.splitlines()):
        with tarfile.open(tokens / f"{line['shard']}.tar") as tar:
            members = tar.getmembers()
            assert len(members) == line["num_sequences"]
            key, _, extension = members[0].name.partition(".")  # as webdataset splits names
            assert extension == "json.gz"
            assert key
            file = tar.extractfile(members[0])
            assert file is not None
            row = json.loads(gzip.decompress(file.read()))
            assert len(row) == 33
            assert all(type(number) is int for number in row)


def test_rows_are_cut_into_shards_of_the_recipe(
    tmp_path: Path, tiny: Scale, dataset: Path, tokens: Path
) -> None:
    cut = tokenize_dataset([dataset], tmp_path / "out", replace(tiny, rows_per_shard=1000))
    assert [shard.num_sequences for shard in cut.shards[:-1]] == [1000] * (len(cut.shards) - 1)
    assert len(cut.shards) > 2
    assert rows_in(tmp_path / "out") == rows_in(tokens)


def test_repeated_documents_are_not_unique(
    tmp_path: Path, tiny: Scale, dataset: Path, tokens: Path
) -> None:
    for name in ("one", "two", "three"):  # the same documents twice, in two equal shards
        source = dataset / ("one.jsonl" if name != "two" else "two.jsonl")
        shutil.copy(source, tmp_path / f"{name}.jsonl")
    summary = tokenize_dataset([tmp_path], tmp_path / "out", tiny)
    once = read_summary(tokens)
    assert summary.documents == 2400
    assert summary.unique_tokens == once.unique_tokens
    assert summary.unique_tokens < summary.tokens


def test_a_small_dataset_is_tokenised_and_told_how_often_it_would_be_read(
    tmp_path: Path, tiny: Scale, write_shard: WriteShard, some_texts: Texts
) -> None:
    write_shard(tmp_path / "few.jsonl", some_texts(400))
    few = tokenize_dataset([tmp_path / "few.jsonl"], tmp_path / "few", tiny)
    assert 1 < few.epochs < tiny.max_epochs
    require_enough(few, tiny)
    write_shard(tmp_path / "fewer.jsonl", some_texts(50))
    fewer = tokenize_dataset([tmp_path / "fewer.jsonl"], tmp_path / "fewer", tiny)
    with pytest.raises(Failure, match=f"4 times at most, needs {tiny.rows:,}") as caught:
        require_enough(fewer, tiny)
    assert caught.value.code == "dataset_too_small"
    write_shard(tmp_path / "no-row.jsonl", ["a"])
    none = tokenize_dataset([tmp_path / "no-row.jsonl"], tmp_path / "none", tiny)
    assert (none.sequences, none.shards, none.tokens, none.unique_tokens) == (0, [], 0, 0)
    with pytest.raises(Failure):
        require_enough(none, tiny)


def mixed(tmp_path: Path, tiny: Scale, weights: dict[str, float]) -> tuple[Path, Summary]:
    """The tokenised mixture of what lies in tmp_path/mix by these weights."""
    sources = [
        {"name": name, "weight": weight, "shards": [f"{name}.jsonl"]}
        for name, weight in weights.items()
    ]
    (tmp_path / "mix" / "mixture.json").write_text(json.dumps({"sources": sources}))
    output = tmp_path / "-".join(map(str, weights.values()))
    return output, tokenize_dataset([tmp_path / "mix"], output, tiny)


def test_a_mixture_has_the_rows_of_each_source_by_its_weight(
    tmp_path: Path, tiny: Scale, write_shard: WriteShard, some_texts: Texts
) -> None:
    write_shard(tmp_path / "mix" / "web.jsonl", some_texts(1200, 1))
    write_shard(tmp_path / "mix" / "books.jsonl", some_texts(200, 2))
    output, summary = mixed(tmp_path, tiny, {"web": 0.7, "books": 0.3})
    rows = Counter(map(tuple, rows_in(output)))
    own = {}
    for name in ("books", "web"):
        alone = tmp_path / f"only-{name}"
        (alone / "in").mkdir(parents=True)
        shutil.copy(tmp_path / "mix" / f"{name}.jsonl", alone / "in")
        own[name] = {tuple(row) for row in slow_rows(alone / "in", 33, 0)}
    assert summary.sequences == sum(rows.values()) == tiny.rows
    books, web = summary.sources
    assert (books.name, web.name) == ("books", "web")
    for source in (books, web):
        counts = [rows[row] for row in own[source.name]]
        assert sum(counts) == source.sequences == round(source.weight * tiny.rows)
        # Whole passes first: no row of a source is read twice more often than another.
        assert max(counts) - min(counts) == 1
        assert source.epochs == pytest.approx(sum(counts) / len(counts), abs=1e-4)
    assert books.epochs > 1 > web.epochs
    assert summary.epochs == books.epochs
    assert books.documents == 200
    assert summary.unique_tokens == summary.tokens  # of those that are read none is a repetition
    assert all(source.unique_tokens <= source.tokens for source in summary.sources)
    require_enough(summary, tiny)


def test_a_mixture_that_repeats_a_source_too_often_is_refused_by_name(
    tmp_path: Path, tiny: Scale, write_shard: WriteShard, some_texts: Texts
) -> None:
    write_shard(tmp_path / "mix" / "web.jsonl", some_texts(1200, 1))
    write_shard(tmp_path / "mix" / "books.jsonl", some_texts(20, 2))
    with pytest.raises(Failure, match=r'"books" would be read [0-9.]+ times.* allows 4') as caught:
        mixed(tmp_path, tiny, {"web": 0.5, "books": 0.5})
    assert caught.value.code == "dataset_too_small"


def test_a_bad_document_names_shard_and_line(
    tmp_path: Path, tiny: Scale, write_shard: WriteShard, some_texts: Texts
) -> None:
    path = write_shard(tmp_path / "bad.jsonl", some_texts(3))
    path.write_text(path.read_text() + '{"txt": "no text"}\n')
    with pytest.raises(Failure) as caught:
        tokenize_dataset([path], tmp_path / "out", tiny)
    assert (caught.value.code, caught.value.place) == ("text_missing", "bad.jsonl:4")


def test_a_finished_folder_is_returned_and_another_is_not_overwritten(
    tmp_path: Path, tiny: Scale, dataset: Path
) -> None:
    output = tmp_path / "out"
    first = tokenize_dataset([dataset], output, tiny)
    written = (output / "summary.json").stat().st_mtime_ns
    assert tokenize_dataset([dataset], output, tiny) == first
    assert (output / "summary.json").stat().st_mtime_ns == written
    with pytest.raises(Failure, match="another dataset, scale or seed") as caught:
        tokenize_dataset([dataset], output, tiny, seed=9)
    assert caught.value.code == "output_exists"


def test_what_another_run_left_is_not_taken_over(
    tmp_path: Path, tiny: Scale, dataset: Path, tokens: Path
) -> None:
    work = tmp_path / ".out.partial"
    (work / "spill").mkdir(parents=True)
    (work / "shard-00000007.tar").write_text("half")
    (work / "spill" / "shard-00000000.json").write_text("{}")
    tokenize_dataset([dataset], tmp_path / "out", tiny)
    names = [{p.name for p in folder.iterdir()} for folder in (tmp_path / "out", tokens)]
    assert names[0] == names[1]
    assert not work.exists()


def test_two_processes_do_not_write_one_folder(tmp_path: Path, tiny: Scale, dataset: Path) -> None:
    (tmp_path / ".out.partial").mkdir()
    with (tmp_path / ".out.partial" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Failure, match="another process is writing"):
            tokenize_dataset([dataset], tmp_path / "out", tiny)


def test_a_dataset_that_changed_since_validation_is_refused(
    tmp_path: Path, tiny: Scale, dataset: Path
) -> None:
    sound = combined_sha256(file_sha256(path) for path in dataset.iterdir())
    tokenize_dataset([dataset], tmp_path / "out", tiny, expected_sha256=sound)
    with pytest.raises(Failure) as caught:
        tokenize_dataset([dataset], tmp_path / "other", tiny, expected_sha256="0" * 64)
    assert caught.value.code == "artifact_corrupt"


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 70_000])
def test_a_tar_member_is_what_tarfile_writes(size: int) -> None:
    content, name = b"x" * size, "00000012-000345.json.gz"
    by_library = io.BytesIO()
    with tarfile.open(fileobj=by_library, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        member = tarfile.TarInfo(name)
        member.size = size
        tar.addfile(member, io.BytesIO(content))
    ours = tar_member(name, content)
    assert by_library.getvalue()[: len(ours)] == ours
    assert set(by_library.getvalue()[len(ours) :]) == {0}


def test_more_than_training_can_use_is_refused_and_not_written(
    tmp_path: Path, tiny: Scale, write_shard: WriteShard, some_texts: Texts
) -> None:
    for number in range(4):
        write_shard(tmp_path / "in" / f"{number}.jsonl", some_texts(500, number))
    enough = tokenize_dataset([tmp_path / "in"], tmp_path / "enough", tiny, multiple=3)
    assert enough == tokenize_dataset([tmp_path / "in"], tmp_path / "as-ever", tiny)
    assert enough.tokens > tiny.tokens_needed
    with pytest.raises(Failure) as raised:
        tokenize_dataset([tmp_path / "in"], tmp_path / "out", tiny, multiple=1)
    assert raised.value.code == "dataset_too_large"
    assert not (tmp_path / "out").exists()


def test_a_shard_is_given_up_when_it_has_too_many_tokens(
    tmp_path: Path, tiny: Scale, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": ""}\n' * (tiny.tokens_needed + 5_000))
    encoded: list[int] = []
    real = Encoder.encode
    monkeypatch.setattr(
        Encoder, "encode", lambda self, texts: encoded.append(len(texts)) or real(self, texts)
    )
    with pytest.raises(Failure) as raised:
        tokenize_dataset([tmp_path / "a.jsonl"], tmp_path / "out", tiny, multiple=1)
    assert raised.value.code == "dataset_too_large"
    assert sum(encoded) <= tiny.tokens_needed + 1_000
