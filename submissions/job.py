"""The job contract: a stage is a function of a job directory, run as a process of its own.

`python -m <package>.<stage> JOB_DIR` reads `job.json`, appends to `progress.jsonl` (which doubles
as the heartbeat) and ends by writing `result.json` or `failure.json`, each by atomic rename.
Whoever starts a stage twice gets the finished result or waits for the running one: an exclusive
`flock` on `lock` marks the living process and is released by the kernel however that process dies.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import structs

from submissions.codec import convert, encode, read, to_json
from submissions.failures import EXCEEDED, FAILURES, Failure, FailureDocument
from submissions.files import written_atomically
from submissions.limits import Usage, blamed
from submissions.states import Fault

T = TypeVar("T")
JOB, PROGRESS, RESULT, FAILURE = "job.json", "progress.jsonl", "result.json", "failure.json"
LOCK, PROCESS = "lock", "process.json"
CLOSED = "closed"  # written by the platform under the lock: the attempt is over, do nothing
REPORTED_VERSIONS = (
    "torch", "mosaicml", "llm-foundry", "transformers", "tokenizers", "numpy", "pyarrow",
    "zstandard",
)  # fmt: skip
# Set by the process that watches a job (`submissions.warden`): its pid, which is also its group. In
# a cage a job cannot see its own pid as others see it.
WATCHED_BY = "CRUCIBLE_WARDEN"
# The errors by which the kernel reports a limit that it enforces itself.
TOO_MUCH = {
    errno.EMFILE: ("open_files_exceeded", "a process has more files open than it may"),
    errno.EFBIG: ("file_size_exceeded", "a file became larger than it may"),
}
PROGRESS_PERIOD = 0.5  # seconds between written lines, so that a fast loop cannot fill the disk


class Artifact(msgspec.Struct, frozen=True):
    """A file or folder by URI, with the hash that its consumer may rely on."""

    uri: str
    sha256: str

    @property
    def path(self) -> Path:
        """The local path of a `file://` URI."""
        return path_of_uri(self.uri)

    def verified(self, sha256_of: Callable[[Path], str]) -> Path:
        """The local path, once it is there and has the promised hash, if one was promised.

        Raises `artifact_missing` or `artifact_corrupt`.
        """
        if not self.path.exists():
            raise Failure("artifact_missing", f"there is no {self.path}")
        if self.sha256 and sha256_of(self.path) != self.sha256:
            raise Failure("artifact_corrupt", f"{self.path} is not what its stage handed on")
        return self.path


def path_of_uri(uri: str) -> Path:
    """The path behind `file:///…`; any other scheme is refused (`artifact_missing`)."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc:
        raise Failure("artifact_missing", f"{uri} is not a file on this machine")
    return Path(unquote(parts.path))


class JobDocument(msgspec.Struct, frozen=True, kw_only=True):
    """job.json, by which the platform says what to do."""

    key: str
    stage: str
    inputs: dict[str, Artifact]
    parameters: dict[str, Any]
    hashes: dict[str, str] = {}
    output: str  # URI of a folder that all attempts of the stage share


class ProcessDocument(msgspec.Struct, frozen=True, kw_only=True):
    """process.json: who to stop, a watched job's warden, else the job's own process and group.

    Group 0 would be the reader's own, and group 1 everybody's.
    """

    pid: int
    group: Annotated[int, msgspec.Meta(ge=2)]


class ProgressLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of progress.jsonl: `step` of `of` units done, `of` 0 while the total is unknown.

    `time` is in seconds since the epoch; `metrics` are figures to show, all of them finite.
    """

    time: float
    step: int
    of: int
    unit: str
    message: str = ""
    metrics: dict[str, float] = {}


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """The machine in words: processor, cores, memory in bytes, GPUs by name."""

    cpu: str = ""
    cores: int | None = None
    memory: int | None = None
    gpus: list[str] = []


class ResultDocument(msgspec.Struct, frozen=True, kw_only=True):
    """result.json, whose `figures` are read by the type of the stage that wrote them.

    `seconds` are of the stage's last start alone.
    """

    key: str
    stage: str
    outputs: dict[str, Artifact] = {}
    figures: dict[str, Any] = {}
    versions: dict[str, str] = {}
    hardware: Hardware = Hardware()
    seconds: float

    def figures_as(self, kind: type[T]) -> T:
        """The figures as the stage's type; raises `artifact_corrupt` where they are not."""
        where = f"the result of {self.key}, figures"
        return convert(kind, self.figures, code="artifact_corrupt", where=where)


@dataclass(frozen=True)
class StageResult(Generic[T]):
    """What a stage hands on: artifacts by name, and its figures for people and later stages."""

    outputs: dict[str, Artifact]
    figures: T


class Job:
    """One run of one stage, seen from inside its process."""

    def __init__(self, directory: Path) -> None:
        spec = read(JobDocument, directory / JOB, code="internal_error")
        self.directory = directory
        self.key = spec.key
        self.stage = spec.stage
        self.parameters = spec.parameters
        self.hashes = spec.hashes
        self.inputs = spec.inputs
        # Kept between attempts of the same stage, so that a new attempt resumes the old one's work.
        self.output = path_of_uri(spec.output)
        self._last_line = 0.0

    def require_recipe(self, sha256: str, found: str = "this machine has") -> None:
        """Refuses to work by another recipe than the platform means: `recipe_changed`.

        `found` says in the sentence whose recipe `sha256` is.
        """
        meant = self.hashes.get("recipe", "")
        if meant != sha256:
            raise Failure(
                "recipe_changed",
                f"the job is for the recipe {meant[:12] or '(none)'}, and {found} "
                f"{sha256[:12] or '(none)'}",
            )

    def progress(self, step: int, of: int, unit: str, message: str = "", **metrics: float) -> None:
        """Appends a line to progress.jsonl, at most two a second and always the last step."""
        now = time.time()
        if now - self._last_line < PROGRESS_PERIOD and step != of:
            return
        self._last_line = now
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        line = ProgressLine(
            time=round(now, 3), step=step, of=of, unit=unit, message=message, metrics=finite
        )
        with (self.directory / PROGRESS).open("ab") as file:
            file.write(json.dumps(to_json(line)).encode() + b"\n")


def write_json_atomically(path: Path, document: Any) -> None:
    """Writes JSON for people to read, whole or not at all."""
    content = encode(document)
    with written_atomically(path, "wb") as file:
        file.write(content)


def versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries that can change a figure."""
    found = {"python": platform.python_version(), "commit": os.environ.get("CRUCIBLE_COMMIT", "")}
    for name in REPORTED_VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> Hardware:
    """This machine, as far as it tells."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux, or a processor that does not give its name
    gpus: list[str] = []
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        cuda = sys.modules["torch"].cuda
        gpus = [cuda.get_device_name(i) for i in range(cuda.device_count())]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Hardware(cpu=cpu, cores=os.cpu_count(), memory=memory, gpus=gpus)


def code_commit(folder: Path) -> str:
    """The commit of the checkout that holds `folder`, with `-dirty` for uncommitted changes."""
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40",
                   "--exclude=*"]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def as_failure(error: BaseException) -> Failure:
    """Every exception becomes a listed failure; what is not foreseen is ours, not theirs."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure("disk_full", f"no space left for {error.filename or 'the output'}")
    if isinstance(error, OSError) and error.errno in TOO_MUCH:
        code, sentence = TOO_MUCH[error.errno]
        return Failure(code, f"{sentence} ({error.filename or 'name unknown'})")
    if isinstance(error, MemoryError):
        return Failure("out_of_memory", "the machine's memory was not enough")
    if isinstance(error, ModuleNotFoundError):
        return Failure("missing_dependency", f"the Python package {error.name} is not installed")
    return Failure("internal_error", f"{type(error).__name__}: {error}")


def _document_of(failure: Failure, stage: str) -> FailureDocument:
    """The failure as it looks from a job of that stage, whose parameters no participant chose."""
    if failure.code in EXCEEDED and WATCHED_BY in os.environ:
        return blamed(failure, stage, Usage()).document
    if FAILURES[failure.code].from_data or failure.fault != Fault.PARTICIPANT:
        return failure.document
    return structs.replace(
        failure.document,
        fault=Fault.INFRASTRUCTURE,
        next_step=FAILURES["internal_error"].next_step,
    )


def _take_lock(directory: Path) -> int | None:
    """The lock's file descriptor, or None when another process holds it for good."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    for _ in range(20):  # a prober holds the lock for microseconds: try again, not give up
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            time.sleep(0.1)
    os.close(descriptor)
    return None


def run_stage(stage: Callable[[Job], StageResult[Any]], arguments: list[str] | None = None) -> int:
    """The `main` of every stage module: runs `stage` on JOB_DIR and writes how it ended.

    Returns the exit code: 0 finished (now or earlier, or running elsewhere), 1 the participant's
    fault, 3 the platform's.
    """
    (directory_name,) = sys.argv[1:] if arguments is None else arguments
    directory = Path(directory_name).resolve()
    lock = _take_lock(directory)
    if lock is None:
        print(f"{directory.name}: already running", file=sys.stderr)
        return 0
    try:
        if (directory / RESULT).exists() or (directory / CLOSED).exists():
            return 0
        return _run_locked(stage, directory)
    finally:
        os.close(lock)


def _run_locked(stage: Callable[[Job], StageResult[Any]], directory: Path) -> int:
    """Runs the stage while this process holds the lock; the exit code."""
    watcher = int(os.environ.get(WATCHED_BY, "0"))
    process = ProcessDocument(pid=watcher or os.getpid(), group=watcher or os.getpgid(0))
    write_json_atomically(directory / PROCESS, process)
    (directory / FAILURE).unlink(missing_ok=True)  # of an earlier run: this one ends in one of both
    started, stage_name = time.time(), ""
    try:
        job = Job(directory)
        stage_name = job.stage
        print(f"{job.key} started {time.strftime('%Y-%m-%d %H:%M:%S %Z')}", file=sys.stderr)
        job.output.mkdir(parents=True, exist_ok=True)
        result = stage(job)
        document = ResultDocument(
            key=job.key,
            stage=job.stage,
            outputs=result.outputs,
            figures=to_json(result.figures),
            versions=versions(),
            hardware=hardware(),
            seconds=round(time.time() - started, 3),
        )
        write_json_atomically(directory / RESULT, document)
        print(f"{job.key} finished in {document.seconds:.0f} s", file=sys.stderr)
    except Exception as error:
        traceback.print_exc()
        failure = _document_of(as_failure(error), stage_name)
        write_json_atomically(directory / FAILURE, failure)
        return 1 if failure.fault == Fault.PARTICIPANT else 3
    return 0
