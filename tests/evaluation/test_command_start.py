"""What a command imports: no library that it does not use, since each costs time at every start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Runs command lines one after another; after each, which of the modules named are imported.
CODE = """
import contextlib, io, json, sys
from submissions.cli import main

names, found = json.loads(sys.argv[1]), []
for arguments in json.loads(sys.argv[2]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        assert main(arguments) in (0, 1), arguments
    found.append(sorted(set(names) & set(sys.modules)))
print(json.dumps(found))
"""
COMPILER = ["torch._dynamo", "torch._inductor", "torch.fx.experimental.symbolic_shapes", "sympy"]
COMPOSER = ["composer", "llmfoundry", "streaming", "torchmetrics", "datasets", "mcli"]
OTHERS = ["pandas", "scipy", "sklearn", "matplotlib", "numba", "ray", "boto3", "pyarrow"]
LIGHT = ["torch", "transformers", "numpy", "tokenizers", "requests"]


def imported(*command_lines: list[str]) -> list[list[str]]:
    """The heavy modules in one process after each of these command lines."""
    names = json.dumps(COMPILER + COMPOSER + OTHERS + LIGHT)
    done = subprocess.run(
        [sys.executable, "-c", CODE, names, json.dumps(command_lines)],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_no_command_imports_what_it_does_not_use(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text('{"text": "a few words"}\n')
    (tmp_path / "dclm.json").write_text('{"name": "x", "eval_metrics": {"icl": {"copa": 0.5}}}')
    help_, recipes, check, score, evaluate = imported(
        ["--help"],
        ["recipe", "list"],
        ["check", str(tmp_path), "--track", "filtering", "--scale", "smoke"],
        ["score", str(tmp_path / "dclm.json")],
        ["evaluate", "--model", str(tiny_model), "--suite", "smoke", "--limit", "1", "--tasks",
         "smoke_article,smoke_completion", "--output", str(tmp_path / "out")],
    )  # fmt: skip
    assert help_ == recipes == []
    assert check == score == ["numpy", "tokenizers"]  # the check tokenises a sample
    assert (tmp_path / "out" / "results.json").exists()
    assert {"torch", "tokenizers"} <= set(evaluate) <= set(LIGHT)
