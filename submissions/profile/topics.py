"""Clusters of texts with names, and a map of them: k-means over vectors, named by c-TF-IDF.

Grootendorst 2022, "BERTopic: Neural topic modeling with a class-based TF-IDF procedure", for the
names. The map is the plane of the two largest principal components: what lies together is alike,
what lies far apart may still be alike in other directions.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from submissions.profile.embeddings import Vectors

MOST, PER_TOPIC = 24, 5  # topics, and the least square root of texts that asks for one more
NAMED_BY = 4  # words of a topic's name
WORDS = 10  # that are listed of a topic
EVERYWHERE = 0.25  # of the texts: a word in so many of them names no topic
SEED = 1


@dataclass(frozen=True)
class Clusters:
    """The topic of each text, the words of each topic, the best first, and places in 0..1.

    `kept` is the share of the vectors' variance that the plane of the map shows.
    """

    topic_of: NDArray[np.int64]
    words: list[list[str]]
    places: NDArray[np.float64]
    centres: NDArray[np.float64]
    kept: float


def find_topics(
    vectors: Vectors, terms: Sequence[Sequence[str]], copies: NDArray[np.int64]
) -> Clusters:
    """Clusters of texts by their unit vectors [n, d] and words; the same for the same input.

    The topic of most documents, by the copies [n] of each text, comes first.
    """
    count = min(MOST, max(1, round(math.sqrt(len(vectors) / PER_TOPIC))))
    labels = _clusters(vectors, count)
    sizes = np.bincount(labels, weights=copies, minlength=count)
    seen = list(dict.fromkeys(labels.tolist()))
    ranked = sorted(seen, key=lambda label: (-sizes[label], seen.index(label)))
    number = {label: place for place, label in enumerate(ranked)}
    topic_of = np.array([number[label] for label in labels.tolist()], dtype=np.int64)
    places, kept = _plane(vectors)
    centres = np.array([places[topic_of == topic].mean(axis=0) for topic in range(len(ranked))])
    return Clusters(topic_of, _words_of(topic_of, terms, len(ranked)), places, centres, kept)


def centres_of(vectors: Vectors, topic_of: NDArray[np.int64]) -> Vectors:
    """The mean vector of each topic, shape (topics, d)."""
    count = int(topic_of.max(initial=-1)) + 1
    means = [vectors[topic_of == topic].mean(axis=0) for topic in range(count)]
    return np.array(means, dtype=np.float32).reshape(count, vectors.shape[1])


def nearest(vectors: Vectors, centres: Vectors) -> NDArray[np.int64]:
    """The topic whose centre is nearest to each vector, shape (n,)."""
    # |v - c|² without |v|², which is the same for every centre.
    distance = (centres**2).sum(axis=1) - 2 * vectors @ centres.T
    found: NDArray[np.int64] = distance.argmin(axis=1).astype(np.int64)
    return found


def _clusters(vectors: Vectors, count: int) -> NDArray[np.int64]:
    if count == 1:
        return np.zeros(len(vectors), np.int64)
    os.environ.setdefault("JOBLIB_MULTIPROCESSING", "0")
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    # One thread: with several, sums of floats would depend on their number.
    with threadpool_limits(1):
        model = MiniBatchKMeans(count, random_state=SEED, n_init=3, batch_size=1024)
        labels: NDArray[np.int64] = model.fit_predict(vectors).astype(np.int64)
    return labels


def _plane(vectors: Vectors) -> tuple[NDArray[np.float64], float]:
    """Places in 0..1 on the two largest principal components, and the share of variance there."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    values, axes = np.linalg.eigh(centred.T @ centred / max(len(vectors), 1))
    chosen = axes[:, [-1, -2]]
    # An axis has no direction: the side of its largest entry counts as right, so that maps agree.
    chosen = chosen * np.sign(chosen[np.abs(chosen).argmax(axis=0), [0, 1]])
    places = centred @ chosen
    low, span = places.min(axis=0), np.ptp(places, axis=0)
    total = float(values.sum())
    kept = float(values[-2:].sum()) / total if total > 0 else 1.0
    return (places - low) / np.where(span > 0, span, 1.0), min(max(kept, 0.0), 1.0)


def _words_of(
    topic_of: NDArray[np.int64], terms: Sequence[Sequence[str]], count: int
) -> list[list[str]]:
    """The words that set each topic apart: common in it, and rare over all topics."""
    counts: list[Counter[str]] = [Counter() for _ in range(count)]
    for topic, words in zip(topic_of.tolist(), terms, strict=True):
        counts[topic].update(words)
    total: Counter[str] = sum(counts, Counter())
    average = sum(total.values()) / count
    chosen = []
    for whole in counts:
        # Of one topic alone every word is in all texts of it.
        telling = {w: n for w, n in whole.items() if total[w] <= EVERYWHERE * len(terms)}
        own = Counter(telling or whole)
        texts = max(sum(own.values()), 1)
        weight = {
            word: times / texts * math.log(1 + average / total[word]) for word, times in own.items()
        }
        chosen.append(sorted(weight, key=lambda word: (-weight[word], word))[:WORDS])
    return chosen


def topic_name(words: Sequence[str], number: int) -> str:
    """The first words, or its number where there are none."""
    return ", ".join(words[:NAMED_BY]) or f"topic {number + 1}, without words"
