"""Small pools: JSON lines, and WARC files with real HTTP headers."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from submissions.curation.run import curate

TEXT = """the river carries water from mountains to a distant sea and people that live along it have
built towns with bridges because boats need harbours where traders can rest"""
WORDS = TEXT.split()


def prose(number: int, sentences: int = 8) -> str:
    """English-like sentences, other ones for every number."""
    said = []
    for place in range(sentences):
        start = (number * 7 + place * 5) % len(WORDS)
        words = [*WORDS[start:], *WORDS[:start]][:12]
        said.append(
            " ".join(["On day", str(number), "part", str(place), *words]).capitalize() + "."
        )
    return "\n".join(said)


def write_lines(path: Path, documents: list[dict]) -> Path:
    """A shard of JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in documents))
    return path


def write_warc(path: Path, pages: list[tuple[str, bytes, str]]) -> Path:
    """A WARC of (address, page, Content-Type), the same bytes every time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=path.name.endswith(".gz"))
        for number, (url, page, kind) in enumerate(pages):
            headers = StatusAndHeaders("200 OK", [("Content-Type", kind)], protocol="HTTP/1.1")
            record = writer.create_warc_record(
                url, "response", payload=io.BytesIO(page), http_headers=headers,
                warc_headers_dict={
                    "WARC-Date": "2026-01-01T00:00:00Z",
                    "WARC-Record-ID": f"<urn:uuid:00000000-0000-0000-0000-{number:012d}>",
                },
            )  # fmt: skip
            writer.write_record(record)
    return path


def texts_of(folder: Path) -> list[str]:
    """The texts of an output, in the order of its shards."""
    from submissions.shard_search import find_shards
    from submissions.shards import read_documents

    return [one.text for shard in find_shards([folder]) for one in read_documents(shard)]


def bytes_of(folder: Path) -> dict[str, bytes]:
    """The shards of an output by name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.zst"))}


@pytest.fixture
def run(tmp_path):
    """Curates `inputs` by the text of a recipe; returns (document, output folder)."""

    def start(recipe: str, *inputs: Path, output: str = "out", **options):
        file = tmp_path / "recipe.toml"
        file.write_text(recipe)
        target = tmp_path / output
        return curate(file, [str(one) for one in inputs], target, **options), target

    return start
