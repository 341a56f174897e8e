"""The lock files are what the requirement files ask for: nothing is left out, nothing has moved."""

from __future__ import annotations

import re
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"
ENTRY = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+?)((?: \\\n +--hash=sha256:[0-9a-f]{64})*)$", re.M)


def plain(name: str) -> str:
    """A distribution's name as indexes compare it; extras left out."""
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


def pins(path: Path) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9_.\[\],-]+)==(\S+)", path.read_text(), re.MULTILINE)
    return {plain(name): version for name, version in found}


def lock(name: str) -> dict[str, str]:
    """Versions by name, each entry with a hash; every line of the file belongs to one."""
    text = (REQUIREMENTS / name).read_text()
    entries = ENTRY.findall(text)
    assert all(hashes for _, _, hashes in entries)
    bare = "".join(line for line in text.splitlines(True) if not line.startswith("#"))
    assert ENTRY.sub("", bare).strip() == ""
    return {plain(entry): version for entry, version, _ in entries}


def test_the_gpu_lock_has_all_that_is_asked_for_in_the_versions_that_were_tested():
    locked = lock("lock-gpu.txt")
    files = ("../requirements.txt", "compute.txt", "compute-nodeps.txt")
    asked = {name: version for file in files for name, version in pins(REQUIREMENTS / file).items()}
    assert len(asked) > 50
    assert asked.items() <= locked.items()
    tested = pins(REQUIREMENTS / "constraints.txt")
    cuda = {name for name in locked if name.startswith(("nvidia-", "cuda-"))} | {"triton"}
    assert {name: tested.get(name) for name in locked.keys() - cuda} == {
        name: version for name, version in locked.items() if name not in cuda
    }


def test_the_cpu_lock_is_the_same_without_torch_and_cuda():
    gpu, cpu = lock("lock-gpu.txt"), lock("lock-cpu.txt")
    assert cpu.items() <= gpu.items()
    left_out = gpu.keys() - cpu.keys()
    assert {name for name in left_out if not name.startswith(("nvidia-", "cuda-"))} == {
        "torch", "triton"
    }  # fmt: skip
    assert not any(name.startswith(("nvidia-", "cuda-")) for name in cpu)
