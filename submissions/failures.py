"""The closed list of failures: who caused each, and what to do next.

Every refusal in Crucible, on the command line, in a stage and on a page, is a `Failure` with one of
these codes. docs/failures.md lists them, and a test checks that the page is complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from submissions.states import Fault


@dataclass(frozen=True)
class FailureKind:
    """Who caused a failure, and the sentence that says what to do about it.

    `from_data`: a dataset can bring it about. A job's other inputs come from the platform: whatever
    else fails in it is the platform's fault, even where the same code at the command line would be
    the user's.
    """

    fault: Fault
    next_step: str
    from_data: bool = False


def _of_data(next_step: str) -> FailureKind:
    return FailureKind(Fault.PARTICIPANT, next_step, from_data=True)


def _theirs(next_step: str) -> FailureKind:
    return FailureKind(Fault.PARTICIPANT, next_step)


def _ours(next_step: str) -> FailureKind:
    return FailureKind(Fault.INFRASTRUCTURE, next_step)


_FIX = "Correct the shard, run `crucible check` again and submit the dataset again."
_ORGANISER = "Ask an organiser to read the log, repair the cause and retry the submission."

FAILURES: dict[str, FailureKind] = {
    # The dataset as submitted.
    "dataset_missing": _of_data("Give a path that exists and can be read."),
    "dataset_empty": _of_data("Add at least one shard with documents."),
    "unknown_format": _of_data(
        "Use .jsonl, .jsonl.gz, .jsonl.zst or .parquet shards; remove other files.",
    ),
    "shard_unreadable": _of_data(_FIX),
    "shard_empty": _of_data("Remove the empty shard, or add documents to it."),
    "shard_truncated": _of_data("Write or copy the whole shard again: its end is missing."),
    "shard_corrupt": _of_data("Write or copy the shard again."),
    "expands_too_much": _of_data(
        "Write the shard again with less repetition, smaller pages or window."
    ),
    "line_too_long": _of_data("Split the document into several."),
    "not_utf8": _of_data(_FIX),
    "not_json": _of_data(_FIX),
    "not_an_object": _of_data('Write one JSON object a line: {"text": "…"}.'),
    "text_missing": _of_data('Give every document a key "text".'),
    "text_not_a_string": _of_data('Make "text" a string in every document.'),
    "mixture_invalid": _of_data(
        "Correct mixture.json; docs/mixtures.md has the rules and an example."
    ),
    "manifest_invalid": _of_data("Make the manifest again with `crucible manifest`."),
    "store_refused": _of_data(
        "Choose a store that the submit page lists, or make the manifest again;"
        " docs/participant.md explains how.",
    ),
    "dataset_too_large": _of_data(
        "Leave out documents or choose a larger scale: `crucible recipe show` says what one reads.",
    ),
    "dataset_too_small": _of_data(
        "Add documents, or choose a smaller scale: see `crucible recipe list`."
    ),
    "unknown_scale": _theirs("Choose a scale that `crucible recipe list` prints."),
    "unknown_track": _theirs("Choose the track filtering or mixing."),
    # Commands and jobs.
    "unknown_suite": _theirs("Choose smoke, core, full or the path of a suite file."),
    "suite_invalid": _theirs("Correct the suite file; docs/evaluation.md describes its form."),
    "unknown_task": _theirs("Choose labels that `crucible suite list` prints."),
    "unknown_engine": _theirs("Choose an engine that `--help` lists."),
    "fetch_failed": _theirs(
        "Check --from and run the command again: it continues where it stopped."
    ),
    "task_file_missing": _theirs("Give the folder that holds the task files with --data."),
    "task_file_invalid": _theirs("Fetch or write the task file again."),
    "index_invalid": _theirs(
        "Give a folder that `crucible contamination index` wrote, or build the index again.",
    ),
    "profile_invalid": _theirs("Name a folder that `crucible profile` wrote."),
    "reports_differ": _theirs("Scan all shards again with the same index."),
    "runs_invalid": _theirs("Correct the table; docs/mixture-lab.md describes its columns."),
    "too_few_runs": _theirs("Train further mixtures: `crucible mix design` suggests which."),
    "fit_invalid": _theirs("Name a file that `crucible mix fit` wrote."),
    "curation_invalid": _theirs(
        "Correct the curation recipe; docs/curation.md lists the steps and their options."
    ),
    "step_failed": _theirs(
        "Correct what the message names and run the command again: it keeps what is done."
    ),
    "sources_invalid": _theirs('Name every source with a number: {"web": 1e9, "code": 2e8}.'),
    "limits_infeasible": _theirs(
        "Take a smaller budget, more epochs, lower floors or more tokens."
    ),
    "results_invalid": _theirs(
        "Give a results.json of `crucible evaluate` or an eval JSON of DCLM."
    ),
    "checkout_invalid": _theirs(
        "Name a checkout of DCLM that holds exp_data/evals and exp_data/models."
    ),
    "not_comparable": _theirs("Give results of one suite, metric version and recipe."),
    "too_few_pairs": _theirs(
        "Train more datasets at both scales, or name two scales that have enough.",
    ),
    "out_of_range": _theirs("Train at the larger scale: the line does not cover such scores."),
    "model_invalid": _theirs(
        "Give a folder with params.json, checkpoint.pt and tokenizer/, or a Hugging Face directory "
        "with config.json, safetensors and tokenizer.json.",
    ),
    "tokens_invalid": _theirs("Give a folder that `crucible tokenize` wrote for this scale."),
    "recipe_frozen": _theirs(
        "Leave the parameter out: `crucible recipe show` lists those that you may choose.",
    ),
    "hardware_unfit": _theirs("Choose another number of processes, or other hardware options."),
    "output_exists": _theirs("Choose an empty output folder, or resume the run in it."),
    "diverged": _of_data(
        "Look at the loss curve and the documents before that step; submit a corrected dataset.",
    ),
    # Talking to a server.
    "not_authorised": _theirs("Create a token on the site's account page and set CRUCIBLE_TOKEN."),
    "out_of_scope": _theirs("Create a token with that scope and set CRUCIBLE_TOKEN."),
    "too_many_requests": _theirs("Wait a minute, then try again."),
    "not_permitted": _theirs("Ask the administrator of the site for a role that may do this."),
    "not_found": _theirs("Check the number: `crucible status` lists your submissions."),
    "budget_exceeded": _theirs(
        "Wait until another submission of your team is over, or ask an organiser for more hours.",
    ),
    "refused": _theirs(
        "Correct what the message names; `--help` and docs/urls.md list what is allowed.",
    ),
    "busy": _theirs("Wait a little, then try again."),
    "server_unreachable": _ours("Check --server and that the site runs, then try again."),
    # The platform and the machine.
    "storage_unreachable": _ours(
        "Check the network and the store (for a command AWS_ENDPOINT_URL too), then try again."
    ),
    "cluster_unreachable": _ours(
        "Check the address with `ray status --address`; install one Ray version everywhere.",
    ),
    "torch_unfit": _ours("Install the torch that the lock files in requirements/ name."),
    "artifact_missing": _ours(_ORGANISER),
    "artifact_corrupt": _ours(_ORGANISER),
    "disk_full": _ours("Free disk space, then retry."),
    "out_of_memory": _ours(_ORGANISER),
    "missing_dependency": _ours(
        "Run `make setup`, which installs what training and evaluation need."
    ),
    "encoder_differs": _ours("Report the document: the two tokenizer libraries disagree on it."),
    "not_a_number": _ours(_ORGANISER),
    "audit_differs": _ours(
        "Ask an organiser to compare the answers in `audit` of results.json; there is no score.",
    ),
    "time_limit": _ours(
        "Retry, or ask an organiser for a longer time limit; the stage has resumed several times.",
    ),
    "recipe_changed": _ours(
        "Ask the organiser to install one release on the site and on all machines that run jobs.",
    ),
    # The limits of a job. In a stage that reads the dataset the fault is the participant's.
    "memory_exceeded": _ours(_ORGANISER),
    "cpu_time_exceeded": _ours(_ORGANISER),
    "time_exceeded": _ours(_ORGANISER),
    "open_files_exceeded": _ours(_ORGANISER),
    "file_size_exceeded": _ours(_ORGANISER),
    "disk_exceeded": _ours(_ORGANISER),
    "launch_refused": _ours(_ORGANISER),
    "lost": _ours(
        "Retry, or ask an organiser to read the log; the stage has run several times.",
    ),
    "internal_error": _ours(_ORGANISER),
}

# The limits of a job (`submissions.limits`): what a participant does whose data exceeded one.
_SMALLER = "Submit a smaller dataset: `crucible recipe show` tells how much the scale reads."
EXCEEDED: dict[str, str] = {
    "memory_exceeded": "Split large documents and row groups, then submit the dataset again.",
    "cpu_time_exceeded": _SMALLER,
    "time_exceeded": _SMALLER,
    "open_files_exceeded": "Merge small shards, then submit the dataset again.",
    "file_size_exceeded": _SMALLER,
    "disk_exceeded": _SMALLER,
}


class FailureDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A failure as failure.json, the database, the API and `--json` output hold it.

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
        """The failure that a job or a server reported; an unlisted code is an internal error."""
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
