"""The closed list of ways in which work can fail: whose fault it is and what to do next.

Every refusal in Crucible, at the command line, in a stage and on a page, is a `Failure` with one of
these codes. docs/failures.md lists them, and a test holds that the page is complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from submissions.states import Fault


@dataclass(frozen=True)
class FailureKind:
    """Whose fault a failure is and the sentence that says what to do about it."""

    fault: Fault
    next_step: str


_FIX = "Correct the shard, run `crucible check` again and hand the dataset in anew."
_ORGANISER = (
    "Nothing to do for the participant: the organiser looks at the log and starts it again."
)

FAILURES: dict[str, FailureKind] = {
    # The dataset as handed in.
    "dataset_missing": FailureKind(Fault.PARTICIPANT, "Give a path that exists and can be read."),
    "dataset_empty": FailureKind(
        Fault.PARTICIPANT, "Hand in at least one shard that holds documents."
    ),
    "unknown_format": FailureKind(
        Fault.PARTICIPANT, "Hand in .jsonl, .jsonl.gz, .jsonl.zst or .parquet shards."
    ),
    "shard_unreadable": FailureKind(Fault.PARTICIPANT, _FIX),
    "shard_empty": FailureKind(Fault.PARTICIPANT, "Remove the empty shard or fill it."),
    "shard_truncated": FailureKind(
        Fault.PARTICIPANT, "Write or copy the shard again: its end is missing."
    ),
    "shard_corrupt": FailureKind(Fault.PARTICIPANT, "Write or copy the shard again."),
    "line_too_long": FailureKind(Fault.PARTICIPANT, "Split the document into several."),
    "not_utf8": FailureKind(Fault.PARTICIPANT, _FIX),
    "not_json": FailureKind(Fault.PARTICIPANT, _FIX),
    "not_an_object": FailureKind(Fault.PARTICIPANT, 'Write one JSON object a line: {"text": "…"}.'),
    "text_missing": FailureKind(Fault.PARTICIPANT, 'Give every document a key "text".'),
    "text_not_a_string": FailureKind(Fault.PARTICIPANT, 'Make "text" a string in every document.'),
    "mixture_invalid": FailureKind(
        Fault.PARTICIPANT, "Correct mixture.json; docs/mixtures.md has the rules and an example."
    ),
    "dataset_too_small": FailureKind(
        Fault.PARTICIPANT, "Add documents, or choose a smaller scale: see `crucible recipe list`."
    ),
    "unknown_scale": FailureKind(
        Fault.PARTICIPANT, "Choose one that `crucible recipe list` prints."
    ),
    "unknown_track": FailureKind(Fault.PARTICIPANT, "Choose filtering or mixing."),
    # The work that was asked for.
    "unknown_suite": FailureKind(
        Fault.PARTICIPANT, "Choose smoke, core, full or the path of a suite file."
    ),
    "suite_invalid": FailureKind(
        Fault.PARTICIPANT, "Correct the suite file; docs/evaluation.md describes its form."
    ),
    "unknown_task": FailureKind(
        Fault.PARTICIPANT, "Choose labels that `crucible suite list` prints."
    ),
    "unknown_engine": FailureKind(Fault.PARTICIPANT, "Choose an engine that `--help` lists."),
    "fetch_failed": FailureKind(
        Fault.PARTICIPANT, "Check --from and run the command again: it goes on where it stopped."
    ),
    "task_file_missing": FailureKind(
        Fault.PARTICIPANT, "Name with --data the folder that holds the task files."
    ),
    "task_file_invalid": FailureKind(Fault.PARTICIPANT, "Fetch or write the task file again."),
    "index_invalid": FailureKind(
        Fault.PARTICIPANT,
        "Name a folder that `crucible contamination index` wrote, or build it anew.",
    ),
    "reports_differ": FailureKind(
        Fault.PARTICIPANT, "Scan all shards again with one and the same index."
    ),
    "runs_invalid": FailureKind(
        Fault.PARTICIPANT, "Correct the table; docs/mixture-lab.md describes its columns."
    ),
    "too_few_runs": FailureKind(
        Fault.PARTICIPANT, "Train further mixtures: `crucible mix design` suggests which."
    ),
    "fit_invalid": FailureKind(Fault.PARTICIPANT, "Name a file that `crucible mix fit` wrote."),
    "sources_invalid": FailureKind(
        Fault.PARTICIPANT, 'Name every source with a number: {"web": 1e9, "code": 2e8}.'
    ),
    "limits_infeasible": FailureKind(
        Fault.PARTICIPANT, "Take a smaller budget, more epochs, lower floors or more tokens."
    ),
    "results_invalid": FailureKind(
        Fault.PARTICIPANT, "Give a results.json of `crucible evaluate` or an eval JSON of DCLM."
    ),
    "checkout_invalid": FailureKind(
        Fault.PARTICIPANT, "Name a checkout of DCLM that holds exp_data/evals and exp_data/models."
    ),
    "not_comparable": FailureKind(
        Fault.PARTICIPANT, "Give results of one suite, metric version and recipe."
    ),
    "too_few_pairs": FailureKind(
        Fault.PARTICIPANT,
        "Train more datasets at both scales, or name two scales that have enough.",
    ),
    "out_of_range": FailureKind(
        Fault.PARTICIPANT, "Only a run at the larger scale can tell: the line knows no such scores."
    ),
    "model_invalid": FailureKind(
        Fault.PARTICIPANT, "Name a folder with params.json, checkpoint.pt and tokenizer/."
    ),
    "tokens_invalid": FailureKind(
        Fault.PARTICIPANT, "Name a folder that `crucible tokenize` wrote."
    ),
    "recipe_frozen": FailureKind(
        Fault.PARTICIPANT, "Leave it out: `crucible recipe show` lists what may be chosen."
    ),
    "hardware_unfit": FailureKind(
        Fault.PARTICIPANT, "Choose another number of processes, or other hardware knobs."
    ),
    "output_exists": FailureKind(
        Fault.PARTICIPANT, "Choose an empty output folder, or resume the run that is in it."
    ),
    "diverged": FailureKind(
        Fault.PARTICIPANT,
        "Look at the loss curve and at the documents before that step; then hand in a new dataset.",
    ),
    # Talking to a server.
    "not_authorised": FailureKind(
        Fault.PARTICIPANT, "Make a token on the site's account page and set CRUCIBLE_TOKEN."
    ),
    "not_found": FailureKind(Fault.PARTICIPANT, "Look at the number again: `crucible status`."),
    "budget_exceeded": FailureKind(
        Fault.PARTICIPANT,
        "Wait until another submission of your team is over, or ask an organiser for more.",
    ),
    "refused": FailureKind(Fault.PARTICIPANT, "Do what the sentence says and ask again."),
    "server_unreachable": FailureKind(
        Fault.INFRASTRUCTURE, "Check --server and that the site is up, then ask again."
    ),
    # The platform and the machine.
    "storage_unreachable": FailureKind(
        Fault.INFRASTRUCTURE, "Check the network and AWS_ENDPOINT_URL, then run the command again."
    ),
    "cluster_unreachable": FailureKind(
        Fault.INFRASTRUCTURE,
        "Check the address with `ray status --address`, and both Ray versions.",
    ),
    "torch_unfit": FailureKind(
        Fault.INFRASTRUCTURE, "Install the torch that the lock files in requirements/ name."
    ),
    "artifact_missing": FailureKind(Fault.INFRASTRUCTURE, _ORGANISER),
    "artifact_corrupt": FailureKind(Fault.INFRASTRUCTURE, _ORGANISER),
    "disk_full": FailureKind(Fault.INFRASTRUCTURE, "Free space, then start the stage again."),
    "out_of_memory": FailureKind(Fault.INFRASTRUCTURE, _ORGANISER),
    "missing_dependency": FailureKind(
        Fault.INFRASTRUCTURE, "Run `make setup`, which installs what training and evaluation need."
    ),
    "encoder_differs": FailureKind(
        Fault.INFRASTRUCTURE, "Report it with the document: the two tokenizer libraries disagree."
    ),
    "not_a_number": FailureKind(Fault.INFRASTRUCTURE, _ORGANISER),
    "audit_differs": FailureKind(
        Fault.INFRASTRUCTURE, "No score is made: the organiser looks at `audit` in results.json."
    ),
    "time_limit": FailureKind(
        Fault.INFRASTRUCTURE,
        "It went on where it was a few times by itself: try again, or tell the organiser.",
    ),
    "recipe_changed": FailureKind(
        Fault.INFRASTRUCTURE,
        "The organiser installs the same release on the site and on every machine that runs jobs.",
    ),
    "launch_refused": FailureKind(Fault.INFRASTRUCTURE, _ORGANISER),
    "lost": FailureKind(
        Fault.INFRASTRUCTURE,
        "The stage was started again a few times by itself: try again, or tell the organiser.",
    ),
    "internal_error": FailureKind(Fault.INFRASTRUCTURE, _ORGANISER),
}


# What a dataset can bring about. A job's other inputs come from the platform: whatever else fails
# in it is the platform's fault, even where the same code at the command line would be the user's.
CAUSED_BY_A_DATASET = frozenset(
    {
        "dataset_missing", "dataset_empty", "unknown_format", "shard_unreadable", "shard_empty",
        "shard_truncated", "shard_corrupt", "line_too_long", "not_utf8", "not_json",
        "not_an_object", "text_missing", "text_not_a_string", "mixture_invalid",
        "dataset_too_small", "diverged",
    }
)  # fmt: skip


class FailureDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A failure as it stands in failure.json, in the database, in the API and in `--json` output.

    A code of a newer release may be one that this one does not list.
    """

    code: str
    fault: Fault
    message: str
    shard: str | None = None
    line: int | None = None
    next_step: str = ""


class Failure(Exception):
    """One clear sentence about what went wrong, with its code and place.

    `shard` and `line` (counted from 1) name the place in a dataset where there is one.
    """

    def __init__(
        self, code: str, message: str, *, shard: str | None = None, line: int | None = None
    ) -> None:
        kind = FAILURES[code]  # an unlisted code is a bug and fails here, loudly
        super().__init__(message)
        self.code = code
        self.message = message
        self.shard = shard
        self.line = line
        self.fault: Fault = kind.fault
        self.next_step = kind.next_step

    def __reduce__(self) -> tuple[Any, ...]:
        """How it comes back from a worker process."""
        return _failure_again, (self.code, self.message, self.shard, self.line)

    @property
    def place(self) -> str:
        """`shard:line`, as far as known; the empty string when there is no place."""
        if self.shard is None:
            return ""
        return self.shard if self.line is None else f"{self.shard}:{self.line}"

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message

    @classmethod
    def of(cls, document: FailureDocument) -> Failure:
        """The failure that a job or a server told of; an unlisted code is an internal error."""
        code = document.code if document.code in FAILURES else "internal_error"
        failure = cls(code, document.message, shard=document.shard, line=document.line)
        failure.fault = document.fault
        failure.next_step = document.next_step or failure.next_step
        return failure

    @property
    def document(self) -> FailureDocument:
        """The failure as others read it."""
        return FailureDocument(
            code=self.code,
            fault=self.fault,
            message=self.message,
            shard=self.shard,
            line=self.line,
            next_step=self.next_step,
        )

    def as_dict(self) -> dict[str, str | int | None]:
        """`document` as JSON has it."""
        fields: dict[str, str | int | None] = msgspec.to_builtins(self.document)
        return fields


def _failure_again(code: str, message: str, shard: str | None, line: int | None) -> Failure:
    return Failure(code, message, shard=shard, line=line)
