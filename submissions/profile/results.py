"""The profile of a dataset as its JSON has it. docs/profile.md says what each figure means.

Every share or mean comes with its standard error: 0 where all texts were looked at.
"""

from __future__ import annotations

import msgspec


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A share of the documents, from 0 to 1."""

    share: float
    error: float


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A share with a name."""

    name: str
    share: float
    error: float


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """The mean over documents, with quantiles and a histogram: documents by the bin's lower edge.

    `histogram` counts the texts that were looked at, with their copies.
    """

    mean: float
    error: float
    p5: float
    median: float
    p95: float
    histogram: list[tuple[float, int]]


class Duplicates(msgspec.Struct, frozen=True, kw_only=True):
    """Surplus copies: of whole documents, of near copies beyond them, of lines and paragraphs.

    `counted`: exact, lines and paragraphs are exact; otherwise estimated with these errors. The
    characters are those of the surplus copies.
    """

    exact: int
    near: int
    lines: int
    paragraphs: int
    counted: bool
    exact_error: float
    near_error: float
    lines_error: float
    paragraphs_error: float
    exact_characters: int
    lines_characters: int
    paragraphs_characters: int
    total_lines: int
    total_paragraphs: int


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster: its share of the documents, its words, and its place on the map, in 0..1."""

    name: str
    words: list[str]
    share: float
    error: float
    texts: int
    x: float
    y: float


class SourceProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A source of a mixture, or the whole dataset under the name "". Tokens are estimated."""

    name: str
    weight: float | None
    documents: int
    bytes: int
    tokens: int | None
    tokens_error: int | None


class Personal(msgspec.Struct, frozen=True, kw_only=True):
    """The share of documents with such data, and how many matches the texts looked at hold."""

    share: float
    error: float
    matches: int


class Novelty(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of five words in the texts looked at: how many, and the share that are no repetition."""

    runs: int
    distinct: float


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """What this dataset shares with another, as shares of this one's distinct texts.

    `near` holds exact copies too. `runs` is the share of runs of five words that the other's sample
    holds; it is a lower bound where either was sampled.
    """

    name: str
    exact: float
    exact_error: float
    near: float
    near_error: float
    jaccard: float
    jaccard_error: float
    runs: float


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Everything; `sampled` documents were looked at closely, copies of one text together."""

    documents: int
    sampled: int
    texts: int
    bytes: int
    empty: int
    longest: int
    languages: dict[str, Share]
    scripts: dict[str, Share]
    duplicates: Duplicates
    lengths: dict[str, Mean]
    topics: list[Topic]
    map_variance: float
    sources: list[SourceProfile]
    compression: Mean
    repetition: dict[str, Mean]
    boilerplate: Mean
    code: Share
    personal: dict[str, Personal]
    domains: list[Named]
    novelty: Novelty
    quality: Mean
    rules: dict[str, Share]
    against: list[Overlap] = []
    versions: dict[str, str] = {}
    seconds: float = 0.0
