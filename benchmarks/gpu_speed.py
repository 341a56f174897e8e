"""Ten minutes on one GPU: correctness first, then the speed of training and evaluation.

    python benchmarks/gpu_speed.py --json speed.json [--seconds 540] [--only NAME …] [--tiny]

Writes a JSON line after each case. Cases that the file holds are not run again, so that a run that
was cut off goes on with the same command; one that failed is tried again. A case is begun only
while time is left for it. If the results of the device are wrong nothing else is measured. With
--tiny shapes are shrunk, to try the code on a CPU; such figures say nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks import gpu_cases  # noqa: E402
from benchmarks.gpu_cases import Machine, Setting  # noqa: E402


@dataclass(frozen=True)
class Case:
    """One line of the file: its name, the seconds it may take, and what measures it."""

    name: str
    seconds: float
    measure: Callable[[Machine], dict[str, Any]]


def training(name: str, seconds: float, scale: str, rows: int, **options: Any) -> Case:
    """A case of gpu_cases.training."""
    setting = Setting(scale, rows, **options)
    return Case(name, seconds, partial(gpu_cases.training, setting=setting))


def cases(on_gpu: bool) -> list[Case]:
    """All of them, the most telling first; correctness before any speed."""
    exact = "tf32" if on_gpu else "fp32"
    return [
        Case("machine", 20, gpu_cases.machine),
        Case("correctness", 40, gpu_cases.correctness),
        training("400m eager 8 flash", 15, "400m-1x", 8, attention="flash"),
        training("400m eager 8 cudnn", 15, "400m-1x", 8, attention="cudnn"),
        training("400m eager 16 flash", 15, "400m-1x", 16, attention="flash"),
        training("400m eager 16 cudnn", 15, "400m-1x", 16, attention="cudnn"),
        training("400m compiled 16 plain loss", 60, "400m-1x", 16, chunked=False, compile=True),
        training("400m compiled 16", 45, "400m-1x", 16, compile=True),
        training("400m compiled 32", 45, "400m-1x", 32, compile=True),
        training("400m compiled 16 plain AdamW", 45, "400m-1x", 16, fused=False, compile=True),
        training("1b compiled 4", 45, "1b-1x", 4, compile=True),
        training("1b compiled 8", 45, "1b-1x", 8, compile=True),
        training("7b 2 blocks 2", 25, "7b-1x", 2, compile=True, layers=2),
        training("7b 4 blocks 2", 25, "7b-1x", 2, compile=True, layers=4),
        training("7b 4 blocks 4", 25, "7b-1x", 4, compile=True, layers=4),
        training("79m compiled 64", 20, "79m-1x", 64, compile=True),
        training("79m compiled 64 graphs", 25, "79m-1x", 64, compile=True, graphs=True),
        training("11m compiled 64", 20, "11m-1x", 64, compile=True),
        training("11m compiled 64 graphs", 25, "11m-1x", 64, compile=True, graphs=True),
        Case(f"evaluate 400m {exact}", 15, partial(
            gpu_cases.evaluation, scale_name="400m-1x", precision=exact)),
        Case("evaluate 400m bf16", 15, partial(
            gpu_cases.evaluation, scale_name="400m-1x", precision="bf16")),
        Case(f"evaluate 1b {exact}", 20, partial(
            gpu_cases.evaluation, scale_name="1b-1x", precision=exact)),
        Case("evaluate 1b bf16", 20, partial(
            gpu_cases.evaluation, scale_name="1b-1x", precision="bf16")),
        Case("loader", 15, gpu_cases.loader),
        Case("profile 400m compiled 16", 40, partial(
            gpu_cases.profile, setting=Setting("400m-1x", 16, compile=True))),
    ]  # fmt: skip


def main() -> int:
    """0 when every case that was begun gave figures, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cases, by name")
    parser.add_argument("--tiny", action="store_true", help="shrunk shapes")
    arguments = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    if not on_gpu and not arguments.tiny:
        parser.error("there is no GPU here: --tiny tries the code without one")
    machine = Machine(torch.device("cuda" if on_gpu else "cpu"), arguments.tiny)
    ends = time.monotonic() + arguments.seconds
    done = finished(arguments.json)
    failed = 0
    for case in cases(on_gpu):
        if case.name in done or (arguments.only and case.name not in arguments.only):
            continue
        if time.monotonic() + case.seconds > ends:
            print(f"{case.name}: no time left", file=sys.stderr)
            if case.name == "correctness":
                break  # no speed of a device that may compute something else
            continue
        line = run(case, machine)
        append(arguments.json, line)
        print(json.dumps(line)[:200], file=sys.stderr)
        failed += "error" in line
        if line.get("ok") is False:
            print("the device computes something else: nothing is measured", file=sys.stderr)
            return 1
    return min(failed, 1)


def run(case: Case, machine: Machine) -> dict[str, Any]:
    """The line of a case; what it raises becomes its `error`, and the next case has its memory."""
    began = time.monotonic()
    if machine.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    try:
        found = case.measure(machine)
    except Exception as error:  # a case that a machine cannot run must not cost the others
        found = {"error": f"{type(error).__name__}: {error}"[:500]}
    line = {"case": case.name, "tiny": machine.tiny, "wall": round(time.monotonic() - began, 1)}
    gc.collect()
    if machine.on_gpu:
        torch.cuda.empty_cache()
    return line | found


def finished(path: Path) -> set[str]:
    """Names of the cases that have figures; a line that was cut off is taken out of the file.

    A wrong `correctness` is not finished: it is asked again.
    """
    if not path.exists():
        return set()
    whole = path.read_text().rpartition("\n")[0]
    path.write_text(whole + "\n" if whole else "")
    lines = [json.loads(line) for line in whole.splitlines()]
    return {line["case"] for line in lines if "error" not in line and line.get("ok") is not False}


def append(path: Path, line: dict[str, Any]) -> None:
    """Adds a line at once, so that a run that is cut off loses one case."""
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    sys.exit(main())
