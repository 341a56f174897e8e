"""mixture.json: what it may say, which shards it takes, and the hash and figures of a mixture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from submissions import validate
from submissions.check import Report, check_dataset
from submissions.dataset import Dataset, find_dataset
from submissions.failures import FAILURES, Failure
from submissions.hashing import combined_sha256, file_sha256
from submissions.job import run_stage
from submissions.mixture import MAX_BYTES

SHARDS = ("web-0.jsonl", "web-1.jsonl", "books/old/a.jsonl", "books/b.jsonl", "code.jsonl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five shards in a folder, each with 40 bytes of text of its own."""
    root = tmp_path / "data"
    for number, name in enumerate(SHARDS):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps({"text": str(number) * 40}) + "\n")
    return root


def source(name: str, weight: Any, *shards: str) -> dict[str, Any]:
    return {"name": name, "weight": weight, "shards": list(shards)}


WEB = source("web", 0.7, "web-*.jsonl")
BOOKS = source("books", 0.2, "books/")
CODE = source("code", 0.1, "code.jsonl")


def mix(folder: Path, *sources: Any, name: str = "mixture.json") -> Path:
    path = folder / name
    path.write_text(json.dumps({"sources": list(sources)}))
    return path


def names(dataset: Dataset) -> dict[str, list[str]]:
    return {s.name: [shard.name for shard in s.shards] for s in dataset.sources}


def refusal(*paths: Path | str, code: str = "mixture_invalid") -> Failure:
    with pytest.raises(Failure) as caught:
        find_dataset(paths)
    assert caught.value.code == code
    return caught.value


def hash_of(dataset: Dataset) -> str:
    return dataset.sha256({s.name: file_sha256(Path(s.address)) for s in dataset.shards})


def test_sources_take_the_shards_that_their_patterns_match(folder: Path) -> None:
    mix(folder, WEB, BOOKS, CODE)
    dataset = find_dataset([folder])
    assert dataset.weighted
    assert names(dataset) == {
        "books": ["books/b.jsonl", "books/old/a.jsonl"],
        "code": ["code.jsonl"],
        "web": ["web-0.jsonl", "web-1.jsonl"],
    }
    assert [source.weight for source in dataset.sources] == [0.2, 0.1, 0.7]
    assert [shard.name for shard in dataset.shards] == sorted(SHARDS)
    assert names(find_dataset([folder / "mixture.json"])) == names(dataset)


def test_without_weights_all_shards_are_one_source(folder: Path) -> None:
    dataset = find_dataset([folder])
    assert not dataset.weighted
    assert names(dataset) == {"": sorted(SHARDS)}
    assert hash_of(dataset) == combined_sha256(file_sha256(folder / name) for name in SHARDS)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["**/*.jsonl"], SHARDS),
        (["**"], SHARDS),
        (["."], SHARDS),
        (["*"], SHARDS),  # a folder that matches is taken whole
        (["*.jsonl"], ("web-0.jsonl", "web-1.jsonl", "code.jsonl")),
        (["books"], ("books/old/a.jsonl", "books/b.jsonl")),
        (["b*s/*.jsonl"], ("books/b.jsonl",)),
        (["b*s/*"], ("books/old/a.jsonl", "books/b.jsonl")),
        (["books/**/a.jsonl"], ("books/old/a.jsonl",)),
        (["**/old/"], ("books/old/a.jsonl",)),
        (["./web-[01].jsonl", "web-0.jsonl"], ("web-0.jsonl", "web-1.jsonl")),
        (["web-?.jsonl"], ("web-0.jsonl", "web-1.jsonl")),
    ],
)
def test_patterns(folder: Path, patterns: list[str], expected: tuple[str, ...]) -> None:
    rest = sorted(set(SHARDS) - set(expected))
    sources = [source("some", 0.5, *patterns), source("rest", 0.5, *rest)]
    path = mix(folder, *(sources if rest else [source("some", 1, *patterns)]))
    for given in (folder, path):  # the same, whether the folder or the file is handed in
        assert names(find_dataset([given]))["some"] == sorted(expected)


def test_names_with_wildcards_in_them_mean_themselves(folder: Path) -> None:
    for name in SHARDS:
        (folder / name).unlink()
    for name in ("a[1].jsonl", "a1.jsonl"):
        (folder / name).write_text('{"text": "x"}\n')
    path = mix(folder, source("one", 0.5, "a[1].jsonl"), source("other", 0.5, "a1.jsonl"))
    for given in (folder, path):
        assert names(find_dataset([given]))["one"] == ["a[1].jsonl"]


def test_the_users_own_file_may_name_shards_anywhere(folder: Path, tmp_path: Path) -> None:
    away = tmp_path / "away" / "w.jsonl"
    away.parent.mkdir()
    away.write_text('{"text": "x"}\n')
    (folder / "notes.txt").write_text("not handed in")
    sources = [source("away", 0.5, str(away.parent / "*")), source("books", 0.25, "books"),
               source("up", 0.25, "../data/web-*")]  # fmt: skip
    dataset = find_dataset([mix(folder, *sources)])
    assert names(dataset)["away"] == ["w.jsonl"]
    assert names(dataset)["books"] == ["books/b.jsonl", "books/old/a.jsonl"]
    assert len(names(dataset)["up"]) == 2


def test_equal_names_from_two_places_are_told_apart(folder: Path, tmp_path: Path) -> None:
    for place in ("x", "y"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.jsonl").write_text(json.dumps({"text": place}) + "\n")
    sources = [source(place, 0.5, str(tmp_path / place)) for place in ("x", "y")]
    found = names(find_dataset([mix(folder, *sources)]))
    assert found == {p: [f"{tmp_path}/{p}/a.jsonl"] for p in ("x", "y")}


OUTSIDE = "leads out of the folder"


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ([WEB, BOOKS | {"weight": 0.3}], "code.jsonl: no source claims this shard"),
        ([WEB, BOOKS, CODE, source("web", 0.0001, "x")], 'two sources are called "web"'),
        ([WEB, BOOKS, source("code", 0.2, "code.jsonl")], "the weights sum to 1.1, not to 1"),
        ([WEB, BOOKS, source("code", 0.10001, "code.jsonl")], "the weights sum to 1.00001, not"),
        ([WEB, BOOKS, CODE | {"shards": ["gone-*"]}], 'the source "code": "gone-*" matches no'),
        ([WEB, BOOKS, CODE | {"shards": ["code.jsonl", "gone"]}], '"gone" matches no shard: the'),
        ([WEB, BOOKS, CODE | {"shards": ["cod[.jsonl"]}], '"cod[.jsonl" matches no shard'),
        ([WEB, BOOKS, CODE | {"shards": ["**/*"]}], "b.jsonl: the sources"),
        ([WEB, BOOKS, CODE | {"shards": []}], "sources[2].shards must have at least 1 element"),
        (
            [WEB, BOOKS, CODE | {"shards": "code.jsonl"}],
            "sources[2].shards is a string, not a list",
        ),
        ([WEB, BOOKS, CODE | {"shards": [""]}], 'sources[2]: each of "shards" must be a file name'),
        ([WEB, BOOKS, CODE | {"shards": ["a\nb"]}], 'sources[2]: each of "shards" must be'),
        ([WEB, BOOKS, CODE | {"name": ""}], "sources[2]: the name must have 1 to 80 letters"),
        ([WEB, BOOKS, CODE | {"name": "<b>"}], "sources[2]: the name must have"),
        ([WEB, BOOKS, CODE | {"name": "x" * 81}], "sources[2]: the name must have"),
        ([WEB, BOOKS, CODE | {"name": 7}], "sources[2].name is a whole number, not a string"),
        ([WEB, BOOKS, CODE | {"weight": "0.1"}], "sources[2].weight is a string, not a number"),
        ([WEB, BOOKS, CODE | {"weight": True}], "sources[2].weight is a truth value, not a number"),
        ([WEB, BOOKS, CODE | {"weight": 0}], "sources[2].weight must be above 0"),
        ([WEB, BOOKS, CODE | {"weight": -0.1}], "sources[2].weight must be above 0"),
        ([WEB, BOOKS, CODE | {"weight": 10**300}], "sources[2].weight must be at most 1"),
        ([WEB, BOOKS, CODE | {"epochs": 3}], 'sources[2] has the unknown key "epochs"'),
        ([WEB, BOOKS, {"name": "code"}], 'sources[2] has no "weight"'),
        ([WEB, BOOKS, 7], "sources[2] is a whole number, not an object"),
        ([], "mixture.json: sources must have at least 1 element"),
        ([CODE] * 1001, "sources must have at most 1000 elements"),
        ([WEB, BOOKS, CODE | {"shards": ["*x"] * 1001}], "1,002 patterns with wildcards, and 1,0"),
        ([WEB, BOOKS, CODE | {"shards": ["/etc/passwd"]}], OUTSIDE),
        ([WEB, BOOKS, CODE | {"shards": ["books/../../x"]}], OUTSIDE),
        ([WEB, BOOKS, CODE | {"shards": ["s3://bucket/key.jsonl"]}], OUTSIDE),
    ],
)
def test_what_a_mixture_must_not_say(folder: Path, sources: list[Any], said: str) -> None:
    mix(folder, *sources)
    assert said in str(refusal(folder))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "mixture.json is not JSON: "),
        (b'{"sources": [{"weight": NaN}]}', "mixture.json is not JSON: NaN is no number"),
        (b'{"sources": [{"weight": 1e999}]}', "mixture.json"),
        (b'{"sources": ' + b"[" * 100_000, "mixture.json: sources[0] is a list"),
        (b'{"x": ' + b"[" * 100_000, "mixture.json has the unknown key"),
        (b'{"sources":\n [{"weight" 3}]}', "mixture.json is not JSON: expected ':' at line 2"),
        (b"\xff\xfe", "mixture.json is not JSON: "),
        (b'{"sources": [%s], "seed": 1}' % json.dumps(WEB).encode(), 'the unknown key "seed"'),
        (b"[]", "mixture.json is a list, not an object"),
        (b"{}", 'mixture.json has no "sources"'),
        (b'{"sources": {}}', "mixture.json: sources is an object, not a list"),
        (b" " * (MAX_BYTES + 1), "larger than 1 MiB"),
    ],
)
def test_what_is_no_mixture(folder: Path, content: bytes, said: str) -> None:
    (folder / "mixture.json").write_bytes(content)
    assert said in str(refusal(folder))
    assert FAILURES["mixture_invalid"].from_data


def test_links_lead_nowhere(folder: Path, tmp_path: Path) -> None:
    elsewhere = mix(tmp_path, source("all", 1, "."), name="elsewhere.json")
    for target in (elsewhere, Path("/nowhere")):
        (folder / "mixture.json").symlink_to(target)
        assert "is no regular file" in str(refusal(folder))
        (folder / "mixture.json").unlink()
    mix(folder, source("all", 1, "."))
    (folder / "secret.jsonl").symlink_to(elsewhere)
    assert refusal(folder, code="shard_unreadable").shard == "secret.jsonl"


def test_a_mixture_stands_alone_and_at_the_root(folder: Path) -> None:
    path = mix(folder, WEB, BOOKS, CODE)
    assert "must be the only input" in str(refusal(folder, folder / "code.jsonl"))
    assert "must be the only input" in str(refusal(folder / "code.jsonl", path))
    path.rename(folder / "books" / "mixture.json")
    assert refusal(folder, code="unknown_format").shard == "books/mixture.json"
    refusal(folder / "mixture.json", code="dataset_missing")


def test_the_hash_covers_weights_and_which_shard_is_whose(folder: Path) -> None:
    seen = {hash_of(find_dataset([folder]))}

    def new(*sources: Any) -> bool:
        mix(folder, *sources)
        before = len(seen)
        seen.add(hash_of(find_dataset([folder])))
        return len(seen) > before

    rest = BOOKS | {"shards": ["books", "code.jsonl"]}
    assert new(WEB, BOOKS, CODE)
    assert not new(CODE, BOOKS, WEB | {"shards": ["web-1.jsonl", "web-0.jsonl"]})
    assert new(WEB | {"weight": 0.6}, BOOKS, CODE | {"weight": 0.2})
    assert new(WEB | {"weight": 0.8}, rest)
    assert new(WEB | {"weight": 0.8, "shards": ["web-*", "code.jsonl"]}, BOOKS)
    assert new(WEB | {"weight": 0.8}, rest | {"name": "rest"})


def check(path: Path, tokens: int, track: str = "mixing") -> Report:
    return check_dataset(
        [path], track=track, scale="smoke", tokens_needed=tokens, bytes_per_token=4.0, max_epochs=4,
        multiple=10**6,
    )  # fmt: skip


def test_figures_of_each_source(folder: Path) -> None:
    mix(folder, WEB, BOOKS, CODE)
    report = check(folder, tokens=50)
    assert report.ok
    document = json.loads(json.dumps(report.as_dict()))
    assert document["sources"][2] == {
        "name": "web", "weight": 0.7, "shards": 2, "documents": 2, "bytes": 106, "text_bytes": 80,
        "tokens_estimate": 20, "tokens_error": None, "epochs_estimate": 1.75,
    }  # fmt: skip
    assert (document["tokens_estimate"], document["epochs_estimate"]) == (50, 1.0)
    assert document["manifest_sha256"] == hash_of(find_dataset([folder]))


def test_a_source_is_not_repeated_too_often(folder: Path) -> None:
    mix(folder, source("web", 0.1, "web-*"), source("books", 0.1, "books"),
        source("code", 0.8, "code.jsonl"))  # fmt: skip
    code = check(folder, tokens=1).sources[1]
    most = 4 * (code.text_bytes + code.documents)  # 4 passes, at a byte a token
    assert check(folder, tokens=int(most / 0.8)).ok
    (problem,) = check(folder, tokens=int(most / 0.8) + 2).problems
    assert problem.code == "dataset_too_small"
    assert 'the source "code" holds about 10 tokens' in problem.message
    assert "4 times" in problem.message


def test_weights_belong_to_the_mixing_track(folder: Path) -> None:
    mix(folder, WEB, BOOKS, CODE)
    with pytest.raises(Failure, match="this is the filtering track") as caught:
        check(folder, tokens=1, track="filtering")
    assert caught.value.code == "mixture_invalid"


@pytest.fixture
def run(tmp_path: Path, folder: Path) -> Callable[[], dict[str, Any]]:
    """Runs the validate stage on the folder; what it left behind."""

    def stage() -> dict[str, Any]:
        job = tmp_path / "job"
        job.mkdir()
        parameters = {"track": "mixing", "scale": "smoke", "tokens": 1, "bytes_per_token": 4.0,
                      "max_epochs": 4, "multiple": 10**6}  # fmt: skip
        spec = {"key": "1-validate-a1", "stage": "validate", "parameters": parameters,
                "inputs": {"dataset": {"uri": folder.as_uri(), "sha256": ""}},
                "output": (tmp_path / "output").as_uri()}  # fmt: skip
        (job / "job.json").write_text(json.dumps(spec))
        run_stage(validate.stage, [str(job)])
        (left,) = [p for p in job.iterdir() if p.name in ("result.json", "failure.json")]
        document: dict[str, Any] = json.loads(left.read_text())
        return document

    return stage


def test_the_stage_reports_the_sources(folder: Path, run: Callable[[], dict[str, Any]]) -> None:
    mix(folder, WEB, BOOKS, CODE)
    result = run()
    assert [s["name"] for s in result["figures"]["sources"]] == ["books", "code", "web"]
    assert result["outputs"]["dataset"]["sha256"] == hash_of(find_dataset([folder]))


@pytest.mark.parametrize("pattern", ["s3://bucket/secret.jsonl", "/etc", "../../x", "x://y"])
def test_a_job_follows_no_address_of_a_participant(
    folder: Path,
    run: Callable[[], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    pattern: str,
) -> None:
    def reached(uri: str) -> None:
        raise AssertionError(uri)

    monkeypatch.setattr("submissions.s3.s3_shards_at", reached)
    mix(folder, WEB, BOOKS, CODE | {"shards": [pattern]})
    failure = run()
    assert (failure["code"], failure["fault"]) == ("mixture_invalid", "participant")
