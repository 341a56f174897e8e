"""Reports: of one shard, and of a dataset, which is the sum of its shards' in any order.

Every example that stands somewhere is listed with the number of documents at each severity; of the
documents themselves, the evidence, only the first few of each are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from evaluation.contamination.index import Index
from evaluation.contamination.methods import Found, by_task, merged
from evaluation.contamination.rules import PASSAGE, SEVERITIES
from submissions.failures import Failure

EVIDENCE = 5  # documents that are kept of an example at a severity: the first by shard and line

# The severity of every example found in a document, and what makes the evidence of it.
FoundExamples = dict[int, tuple[int, Callable[[], dict[str, Any]]]]


@dataclass
class ShardReport:
    """What stands in one shard. `counts`: documents at each severity, by example of the index;
    `flagged`: documents by their gravest finding; `bytes` of JSON lines, decompressed; `methods`
    and `by_method` as `methods.Methods` counts."""

    index_hash: str
    shard: str
    documents: int = 0
    bytes: int = 0
    flagged: list[int] = field(default_factory=lambda: [0] * len(SEVERITIES))
    counts: dict[int, list[int]] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    methods: Found = field(default_factory=dict)
    by_method: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        methods = {name: sorted(found.items()) for name, found in self.methods.items()}
        return {**vars(self), "counts": sorted(self.counts.items()), "methods": methods}

    def count(self, found: FoundExamples) -> None:
        """Adds one document's findings; documents come in order."""
        if found:
            self.flagged[min(severity for severity, _ in found.values())] += 1
        for example, (severity, evidence) in found.items():
            counts = self.counts.setdefault(example, [0] * len(SEVERITIES))
            counts[severity] += 1
            if counts[severity] <= EVIDENCE:
                self.findings.append(evidence())

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        """The report that `as_dict` gave."""
        methods = {name: dict(found) for name, found in document["methods"].items()}
        return cls(**{**document, "counts": dict(document["counts"]), "methods": methods})


class Report:
    """The report of a dataset, shard after shard in any order."""

    def __init__(self, index: Index, methods: Iterable[str] = ()) -> None:
        self.index = index
        self.methods: Found = {name: {} for name in methods}
        self.by_method = dict.fromkeys(methods, 0)
        self.shards: list[dict[str, Any]] = []
        self.flagged = [0] * len(SEVERITIES)
        self.counts: dict[int, list[int]] = {}
        self.evidence: dict[tuple[int, int], list[dict[str, Any]]] = {}

    def add(self, report: ShardReport) -> None:
        """Adds a shard's; raises `reports_differ` when it was made with another index."""
        if report.index_hash != self.index.hash:
            said = (
                f"its report is of the index {report.index_hash[:12]}, not {self.index.hash[:12]}"
            )
            raise Failure("reports_differ", said, shard=report.shard)
        self.shards.append(
            {"name": report.shard, "documents": report.documents, "bytes": report.bytes}
        )
        self.flagged = _sum(self.flagged, report.flagged)
        for example, counts in report.counts.items():
            self.counts[example] = _sum(self.counts.get(example, [0] * len(counts)), counts)
        self.methods = merged(self.methods, report.methods)
        for name, documents in report.by_method.items():
            self.by_method[name] += documents
        touched = {}
        for finding in report.findings:
            key = finding["example"], finding["severity"]
            touched[key] = self.evidence.setdefault(key, [])
            touched[key].append({**finding, "shard": report.shard})
        for kept in touched.values():
            kept.sort(key=lambda finding: (finding["shard"], finding["line"]))
            del kept[EVIDENCE:]

    def document(self, seconds: float) -> dict[str, Any]:
        """The whole report; `seconds` is how long the scan took."""
        labels = [task["label"] for task in self.index.tasks]
        return {
            "index_hash": self.index.hash,
            "missing_tasks": self.index.meta["missing"],
            "documents": sum(shard["documents"] for shard in self.shards),
            "bytes": sum(shard["bytes"] for shard in self.shards),
            "seconds": seconds,
            "flagged_documents": dict(zip(SEVERITIES, self.flagged, strict=True)),
            "tasks": self._tasks(labels),
            "examples": [
                {"task": labels[task], "index": row, "severity": SEVERITIES[gravest(counts)],
                 "documents": dict(zip(SEVERITIES, counts, strict=True))}
                for task, row, counts in self._found()
            ],
            "findings": list(self._findings(labels)),
            "methods": {
                name: {"documents": self.by_method[name], "tasks": tasks}
                for name, tasks in by_task(self.index, self.methods).items()
            },
            "shards": sorted(self.shards, key=lambda shard: str(shard["name"])),
        }  # fmt: skip

    def _owners(self, example: int) -> list[tuple[int, int]]:
        first = self.index.first_owner
        owners = self.index.owners[first[example] : first[example + 1], 1:]
        return [(task, row) for task, row in owners.tolist()]

    def _found(self) -> list[tuple[int, int, list[int]]]:
        """(task, row, documents by severity) of every example that stands somewhere."""
        return sorted(
            (task, row, counts)
            for example, counts in self.counts.items()
            for task, row in self._owners(example)
        )

    def _tasks(self, labels: list[str]) -> dict[str, dict[str, int]]:
        """Of each task its examples, how many are checkable and how many stand somewhere."""
        found = Counter((task, gravest(counts)) for task, _, counts in self._found())
        return {
            labels[number]: {"examples": task["examples"], "checkable": task["checkable"]}
            | {name: found[number, severity] for severity, name in enumerate(SEVERITIES)}
            for number, task in enumerate(self.index.tasks)
        }

    def _findings(self, labels: list[str]) -> Iterable[dict[str, Any]]:
        """The evidence, sorted by task, row, severity and place, once for each owner."""
        keyed = sorted(
            (task, row, severity, example)
            for example, severity in self.evidence
            for task, row in self._owners(example)
        )
        for task, row, severity, example in keyed:
            for finding in self.evidence[example, severity]:
                rest = {
                    k: v for k, v in finding.items() if k not in ("example", "severity", "shard")
                }
                yield {"task": labels[task], "index": row, "severity": SEVERITIES[severity],
                       "shard": finding["shard"], **rest}  # fmt: skip


def gravest(counts: list[int]) -> int:
    """The gravest severity that any document has."""
    return next((k for k, count in enumerate(counts) if count), PASSAGE)


def _sum(a: list[int], b: list[int]) -> list[int]:
    return [x + y for x, y in zip(a, b, strict=True)]
