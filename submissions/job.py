"""The job contract: a stage is a function of a job directory, run as a process of its own.

`python -m <package>.<stage> JOB_DIR` reads `job.json`, appends to `progress.jsonl` (which doubles
as the heartbeat) and ends by writing `result.json` or `failure.json`, each by atomic rename.
Whoever starts a stage twice gets the finished result or waits for the running one: an exclusive
`flock` on `lock` marks the living process and is released by the kernel however that process dies.
"""

from __future__ import annotations

import contextlib
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from submissions.failures import CAUSED_BY_A_DATASET, FAILURES, Failure
from submissions.states import Fault

JOB, PROGRESS, RESULT, FAILURE = "job.json", "progress.jsonl", "result.json", "failure.json"
LOCK, PROCESS = "lock", "process.json"
CLOSED = "closed"  # written by the platform under the lock: the attempt is over, do nothing
REPORTED_VERSIONS = (
    "torch", "mosaicml", "llm-foundry", "transformers", "tokenizers", "numpy", "pyarrow",
    "zstandard",
)  # fmt: skip
PROGRESS_PERIOD = 0.5  # seconds between written lines, so that a fast loop cannot fill the disk


@dataclass(frozen=True)
class Artifact:
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

    def as_dict(self) -> dict[str, str]:
        return {"uri": self.uri, "sha256": self.sha256}


def path_of_uri(uri: str) -> Path:
    """The path behind `file:///…`; any other scheme is refused (`artifact_missing`)."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc:
        raise Failure("artifact_missing", f"{uri} is not a file on this machine")
    return Path(unquote(parts.path))


@dataclass(frozen=True)
class StageResult:
    """What a stage hands on: artifacts by name, and figures for people and later stages."""

    outputs: dict[str, Artifact] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)


class Job:
    """One run of one stage, seen from inside its process."""

    def __init__(self, directory: Path) -> None:
        spec = json.loads((directory / JOB).read_text())
        self.directory = directory
        self.key: str = spec["key"]
        self.stage: str = spec["stage"]
        self.parameters: dict[str, Any] = spec["parameters"]
        self.hashes: dict[str, str] = spec.get("hashes", {})
        self.inputs = {name: Artifact(**value) for name, value in spec["inputs"].items()}
        # Kept between attempts of the same stage, so that a new attempt resumes the old one's work.
        self.output = path_of_uri(spec["output"])
        self._last_line = 0.0

    def progress(self, step: int, of: int, unit: str, message: str = "", **metrics: float) -> None:
        """Appends a line to progress.jsonl, at most two a second and always the last step."""
        now = time.time()
        if now - self._last_line < PROGRESS_PERIOD and step != of:
            return
        self._last_line = now
        line = {"time": round(now, 3), "step": step, "of": of, "unit": unit, "message": message}
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        with (self.directory / PROGRESS).open("a") as file:
            file.write(json.dumps(line | {"metrics": finite}) + "\n")


def write_json_atomically(path: Path, document: Any) -> None:
    """Writes JSON for people to read, whole or not at all."""
    with written_atomically(path) as file:
        json.dump(document, file, indent=1, allow_nan=False)


@contextlib.contextmanager
def written_atomically(path: Path) -> Iterator[IO[str]]:
    """Writes and fsyncs beside `path`, then renames: readers see the old file or the whole new."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("w") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries that can change a figure."""
    found = {"python": platform.python_version(), "commit": os.environ.get("CRUCIBLE_COMMIT", "")}
    for name in REPORTED_VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """The machine in words: processor, cores, memory in bytes, GPUs by name."""
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
    return {"cpu": cpu, "cores": os.cpu_count(), "memory": memory, "gpus": gpus}


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
    if isinstance(error, MemoryError):
        return Failure("out_of_memory", "the machine's memory was not enough")
    if isinstance(error, ModuleNotFoundError):
        return Failure("missing_dependency", f"the Python package {error.name} is not installed")
    return Failure("internal_error", f"{type(error).__name__}: {error}")


def _document_of(failure: Failure) -> dict[str, Any]:
    """The failure as it looks from a job, whose parameters no participant chose."""
    document = failure.as_dict()
    if failure.code not in CAUSED_BY_A_DATASET and failure.fault == Fault.PARTICIPANT:
        document["fault"] = Fault.INFRASTRUCTURE
        document["next_step"] = FAILURES["internal_error"].next_step
    return document


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


def run_stage(stage: Callable[[Job], StageResult], arguments: list[str] | None = None) -> int:
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


def _run_locked(stage: Callable[[Job], StageResult], directory: Path) -> int:
    """Runs the stage while this process holds the lock; the exit code."""
    write_json_atomically(directory / PROCESS, {"pid": os.getpid(), "group": os.getpgid(0)})
    (directory / FAILURE).unlink(missing_ok=True)  # of an earlier run: this one ends in one of both
    started = time.time()
    try:
        job = Job(directory)
        print(f"{job.key} started {time.strftime('%Y-%m-%d %H:%M:%S %Z')}", file=sys.stderr)
        job.output.mkdir(parents=True, exist_ok=True)
        result = stage(job)
        document = {
            "key": job.key,
            "stage": job.stage,
            "outputs": {name: value.as_dict() for name, value in result.outputs.items()},
            "figures": result.figures,
            "versions": versions(),
            "hardware": hardware(),
            "seconds": round(time.time() - started, 3),
        }
        write_json_atomically(directory / RESULT, document)
        print(f"{job.key} finished in {document['seconds']:.0f} s", file=sys.stderr)
    except Exception as error:
        traceback.print_exc()
        failure = as_failure(error)
        document = _document_of(failure)
        write_json_atomically(directory / FAILURE, document)
        return 1 if document["fault"] == Fault.PARTICIPANT else 3
    return 0
