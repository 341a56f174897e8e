"""WARC files that are cut, damaged, huge or lie about their encoding."""

from __future__ import annotations

import gzip
import io

import pytest
from warcio.warcwriter import WARCWriter

from submissions.curation.reading import LARGEST_PAGE, read_input
from submissions.curation.run import curate
from submissions.curation.step import Document
from submissions.curation.steps.extract import DEEPEST, Extract
from submissions.failures import Failure
from submissions.shards import LocalShard
from tests.submissions.curation.conftest import texts_of, write_warc

PAGE = "<html><body><p>Der Fluß fließt über die Brücke, sagt Ольга, {}.</p></body></html>"
HTML = "text/html; charset=utf-8"


def shard_of(path, content: bytes | None = None) -> LocalShard:
    if content is not None:
        path.write_bytes(content)
    return LocalShard(path.name, "warc.gz" if path.suffix == ".gz" else "warc", path)


@pytest.fixture
def whole(tmp_path) -> bytes:
    pages = [(f"http://a.example/{n}", PAGE.format(n).encode() * 30, HTML) for n in range(3)]
    return write_warc(tmp_path / "a.warc", pages).read_bytes()


def refusal(shard: LocalShard) -> Failure:
    with pytest.raises(Failure) as caught:
        list(read_input(shard))
    return caught.value


@pytest.mark.parametrize(
    ("cut", "line", "code"),
    [(100, 3, "shard_truncated"), (3500, 2, "shard_truncated"), (0, None, None)],
)
def test_a_plain_file_that_ends_in_a_record_names_it(tmp_path, whole, cut, line, code):
    shard = shard_of(tmp_path / "b.warc", whole[: len(whole) - cut])
    if line is None:
        assert [one.line for one in read_input(shard)] == [1, 2, 3]
    else:
        failure = refusal(shard)
        assert (failure.code, failure.line) == (code, line)


def test_a_compressed_file_that_is_cut_is_no_shorter_file(tmp_path, whole):
    packed = gzip.compress(whole, mtime=0)
    failure = refusal(shard_of(tmp_path / "b.warc.gz", packed[:-30]))
    assert (failure.code, failure.shard) == ("shard_truncated", "b.warc.gz")


@pytest.mark.parametrize("content", [b"hello world" * 50, b"\0" * 5000, b"WARC/1.0\r\n"])
def test_what_is_no_warc_is_a_failure(tmp_path, content):
    failure = refusal(shard_of(tmp_path / "b.warc", content))
    assert failure.code in ("shard_corrupt", "shard_truncated", "shard_empty")


def test_a_huge_page_is_dropped_and_the_next_one_read(tmp_path):
    huge = b"<p>" + b"word " * (LARGEST_PAGE // 5 * 5)
    pages = [("http://a.example/0", huge, HTML), ("http://a.example/1", b"<p>Hello</p>", HTML)]
    first, second = read_input(shard_of(write_warc(tmp_path / "a.warc", pages)))
    assert first.page == b""
    assert Extract().apply(first) == "page larger than 10 MiB"
    assert Extract().apply(second) is None
    assert second.text == "Hello"


def test_what_is_no_html_is_passed_over(tmp_path):
    pages = [("http://a.example/i", b"\x89PNG", "image/png"), ("http://a.example/p", b"<p>P", HTML)]
    (page,) = read_input(shard_of(write_warc(tmp_path / "a.warc", pages)))
    assert (page.line, page.url) == (2, "http://a.example/p")


@pytest.mark.parametrize(
    ("encoding", "said", "meta"),
    [
        ("utf-8", "utf-8", ""),
        ("utf-8", "iso-8859-1", ""),  # the server lies
        ("utf-8", "", '<meta charset="koi8-r">'),  # the page lies
        ("utf-8", "no-such-charset", ""),
        ("utf-8", "utf\x00-8", ""),
        ("windows-1251", "windows-1251", ""),
        ("windows-1251", "", '<meta charset="windows-1251">'),
    ],
)
def test_encodings_that_lie_do_not_change_the_text(encoding, said, meta):
    text = "Ольга говорит, что река течёт под мостом к морю."
    page = f"<html><head>{meta}</head><body><p>{text}</p></body></html>".encode(encoding)
    document = Document(1, "", page=page, charset=said)
    assert Extract().apply(document) is None
    assert document.text == text


def test_bytes_in_no_encoding_are_dropped():
    document = Document(1, "", page=bytes(range(128, 256)) * 50, charset="utf-8")
    reason = Extract().apply(document)
    assert reason is not None or "\ufffd" not in document.text


@pytest.mark.parametrize("tag", ["div", "article"])
def test_a_page_nested_without_end_is_dropped_at_once(tag):
    """The extractor's time grows with the square of the depth: hours for this page."""
    page = f"<{tag}>".encode() * 300_000 + b"text"
    reason = Extract().apply(Document(1, "", page=page))
    assert reason == f"page nested deeper than {DEEPEST:,} levels"


@pytest.mark.parametrize("engine", ["resiliparse", "wet", "trafilatura"])
def test_each_engine_finds_the_text(engine):
    article = "".join(f"<p>Paragraph {n} tells at length how rivers run.</p>" for n in range(9))
    page = f"<html><body><nav>Home | About</nav><article>{article}</article></body></html>"
    document = Document(1, "", page=page.encode())
    assert Extract(engine=engine).apply(document) is None
    assert "Paragraph 8 tells at length" in document.text
    assert ("About" in document.text) == (engine == "wet")


def test_a_wet_file_holds_texts_and_needs_no_extraction(tmp_path):
    wet = tmp_path / "a.wet"
    with wet.open("wb") as file:
        writer = WARCWriter(file, gzip=False)
        for number in range(2):
            body = io.BytesIO(f"Der Fluß {number}".encode())
            record = writer.create_warc_record(f"http://a.example/{number}", "conversion", body,
                                               warc_content_type="text/plain")  # fmt: skip
            writer.write_record(record)
    (tmp_path / "recipe.toml").write_text('[[steps]]\nuse = "exact-duplicates"\n')
    report = curate(tmp_path / "recipe.toml", [wet], tmp_path / "out")
    assert report["documents"] == 2
    assert texts_of(tmp_path / "out") == ["Der Fluß 0", "Der Fluß 1"]
