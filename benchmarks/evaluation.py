"""CPU seconds a question, of the native engine beside LLM Foundry and lm-eval, in one run.

    python benchmarks/evaluation.py --data FOLDER --tokenizer FOLDER [--peer PYTHON] [--tasks A,B]

The model is a random one of 10.1 million parameters with the vocabulary of GPT-NeoX, in float32 on
one core. Every way is asked the first questions of a task, from its file to the answers: reading,
prompts, tokenising, computing; importing and loading the model are left out. The slow ways are
asked fewer questions, and what they answer is compared. LLM Foundry runs at DCLM's settings (rows
of 2,048 tokens, two at a time, the attention mask handed to the model for each) around our model,
or with --open-lm around open_lm's own, as DCLM has it; lm-eval (when --peer names a Python that has
it) with batches of 16 on the texts of the same prompts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.open_lm_parity import (  # noqa: E402
    create_open_lm,
    load_into_open_lm,
    open_lm_arguments,
    stub_xformers_if_missing,
)
from evaluation.audit import compare  # noqa: E402
from evaluation.evaluate import load_engine  # noqa: E402
from evaluation.examples import Example  # noqa: E402
from evaluation.native import engine as native_engine  # noqa: E402
from evaluation.native.engine import NativeEngine  # noqa: E402
from evaluation.native.prompts import GroupPrompts  # noqa: E402
from evaluation.native.rows import GENERATION, draw_examples, read_groups  # noqa: E402
from evaluation.suite import Suite, Task, load_suite, task_path  # noqa: E402
from training_recipes.model import OpenLM  # noqa: E402
from training_recipes.model_dir import CHECKPOINT, PARAMS, save_model_dir  # noqa: E402
from training_recipes.scales import ModelShape  # noqa: E402

SHAPE = ModelShape(dim=96, layers=4, heads=2, seq_len=2048, vocab=50432, qk_norm=True)
LM_EVAL_BATCH = 16


@dataclass(frozen=True)
class Plan:
    """How many questions each way is asked, and how many times as fast native has to be."""

    native: int
    lm_eval: int
    reference: int
    target: int


PLANS = {
    "copa": Plan(100, 100, 8, 300),
    "winograd": Plan(273, 273, 8, 300),
    "lambada_openai": Plan(400, 200, 12, 250),
    "hellaswag_zeroshot": Plan(400, 100, 4, 200),
    "arc_easy": Plan(100, 40, 3, 100),
    "bigbench_operators": Plan(210, 100, 12, 60),
    "boolq": Plan(60, 12, 10, 25),
    "svamp_cot": Plan(300, 32, 4, 40),
    "gsm8k_cot": Plan(128, 16, 6, 10),
}
LONG = 5.0  # CPU seconds; what takes longer is not run three times


def native(engine: NativeEngine, suite: Suite, task: Task, path: Path, n: int) -> list[Example]:
    """The native engine's records of the first n rows."""
    known: dict[Task, dict[int, Example]] = {task: {}}
    ((_, records, _),) = engine.evaluate_tasks(suite, {task: path}, n, known, lambda *_: None)
    return records


def timed(work: Callable[[], Any], questions: int) -> tuple[float, Any]:
    """CPU seconds a question of this process with all its threads, and what the work gave."""
    started = time.process_time()
    found = work()
    return (time.process_time() - started) / questions, found


def requests_of(engine: NativeEngine, task: Task, path: Path, n: int) -> list[dict[str, Any]]:
    """What lm-eval is asked: every option of the first n questions, or what is to be written."""
    (group,) = read_groups(task, path)
    prompts = GroupPrompts(task, group, engine.encoder, SHAPE.seq_len)
    drawn = draw_examples(len(group.rows), task.shots)
    rows = [prompts.texts.row(place, drawn[place]) for place in range(min(n, len(group.rows)))]
    pairs = [
        {"context": row.preamble + context, "answer": answer}
        for row in rows
        for context, answer in zip(row.contexts, row.answers, strict=True)
    ]
    if task.type != GENERATION:
        return pairs
    rule = {
        "until": task.settings.get("early_stopping_criteria", []),
        "max_gen_toks": prompts.new_tokens,
        "do_sample": False,
    }
    return [{"context": pair["context"], "rule": rule} for pair in pairs]


def ask_lm_eval(python: str, model: Path, requests: list[dict[str, Any]]) -> dict[str, Any]:
    """CPU seconds and answers of lm-eval for these requests, in a process of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"model": str(model), "requests": requests}, file)
        file.flush()
        command = [python, __file__, "--requests", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


def be_lm_eval(path: str) -> None:
    """What the peer's Python runs: lm-eval's own Hugging Face model, around ours."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import PreTrainedTokenizerFast

    from evaluation.openlm_adapter import OpenLMForCausalLM
    from training_recipes.model_dir import load_model_dir

    torch.set_num_threads(1)
    document = json.loads(Path(path).read_text())
    folder = Path(document["model"])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder / "tokenizer"))
    adapter: Any = OpenLMForCausalLM(load_model_dir(folder))
    model = HFLM(
        pretrained=adapter, tokenizer=tokenizer, backend="causal", max_length=SHAPE.seq_len,
        batch_size=LM_EVAL_BATCH, device="cpu",
    )  # fmt: skip
    asked = document["requests"]
    if "rule" in asked[0]:
        arguments = [(one["context"], one["rule"]) for one in asked]
        ask, kind = model.generate_until, "generate_until"
    else:
        arguments = [(one["context"], one["answer"]) for one in asked]
        ask, kind = model.loglikelihood, "loglikelihood"
    requests = [Instance(kind, {}, pair, number) for number, pair in enumerate(arguments)]
    seconds, answers = timed(lambda: ask(requests, disable_tqdm=True), 1)
    if kind == "loglikelihood":
        answers = [float(total) for total, _ in answers]
    print(json.dumps({"seconds": seconds, "answers": answers}))


def dress_as_dclm(reference: Any, pad_id: int, theirs: Any) -> None:
    """Lets the reference's model mask the padding of every row, as DCLM's dress of open_lm does.

    Ours leaves the mask out where it changes nothing: attention is then causal and cheaper. With
    `theirs`, open_lm's own model, that one computes; texts are generated by ours, with its cache.
    """
    model = reference.recorder.model.transformer
    plain = model.forward

    def masked(ids: torch.Tensor, *, mask: Any = None, cache: Any = None) -> torch.Tensor:
        mask = ids != pad_id if mask is None else mask
        if theirs is not None and cache is None:
            found: torch.Tensor = theirs(ids, attention_mask=mask)[0]
        else:
            found = plain(ids, mask=mask, cache=cache)
        return found

    model.forward = masked


def open_lm_model(folder: Path) -> Any:
    """open_lm's own model with the weights of that model directory."""
    stub_xformers_if_missing()
    theirs = create_open_lm(open_lm_arguments(folder / PARAMS))
    load_into_open_lm(theirs, folder / CHECKPOINT)
    return theirs


def measure(
    task: Task, path: Path, engines: tuple[NativeEngine, Any], model: Path, peer: str | None
) -> dict[str, Any]:
    """One row of the table; of three short runs of the native engine the middle one counts."""
    suite, plan = load_suite("full"), PLANS[task.label]
    ours, reference = engines
    native(ours, suite, task, path, 8)  # makes what a process makes only once
    runs = [timed(lambda: native(ours, suite, task, path, plan.native), 1)]
    while runs[0][0] < LONG and len(runs) < 3:
        runs.append(timed(lambda: native(ours, suite, task, path, plan.native), 1))
    records = runs[0][1]
    seconds = sorted(seconds for seconds, _ in runs)[len(runs) // 2] / len(records)
    slow, answers = timed(
        lambda: reference.evaluate_task(suite, task, path, plan.reference, lambda _: None),
        plan.reference,
    )
    compared = compare([(task, *pair) for pair in zip(records, answers, strict=False)], True)
    row = {
        "questions": len(records), "native": seconds, "llm-foundry": slow, "target": plan.target,
        "ratio": slow / seconds, "compared": compared["examples"], "same": compared["ok"],
        "largest_difference": compared["largest_difference"],
    }  # fmt: skip
    if peer:
        found = ask_lm_eval(peer, model, requests_of(ours, task, path, plan.lm_eval))
        row["lm-eval"] = found["seconds"] / plan.lm_eval
        row["lm-eval_ratio"] = row["lm-eval"] / seconds
        row["lm-eval_compared"] = beside(records[: plan.lm_eval], found["answers"])
    return row


def beside(records: list[Example], answers: list[Any]) -> float:
    """The largest difference of a log-probability, or the share of texts that are the same."""
    if records[0].generated is not None:
        pairs = zip(records, answers, strict=True)
        same = [(record.generated or "").strip() == text.strip() for record, text in pairs]
        return sum(same) / len(same)
    sums = [s for record in records for s in record.option_logprobs or []]
    return max(abs(a - b) for a, b in zip(sums, answers, strict=True))


def line(label: str, row: dict[str, Any]) -> str:
    """A row of the table, in Markdown."""
    peer = "–" if "lm-eval" not in row else f"{1 / row['lm-eval']:.2f}"
    times = "–" if "lm-eval" not in row else f"{row['lm-eval_ratio']:.1f}"
    same = f"{row['compared']} same" if row["same"] else f"DIFFERENT among {row['compared']}"
    return (
        f"| {label} | {1 / row['native']:.1f} | {1 / row['llm-foundry']:.3f} | {row['ratio']:.0f} "
        f"| {row['target']} | {peer} | {times} | {same}, {row['largest_difference']:.0e} |"
    )


def main() -> None:
    """Prints a table of questions a CPU second, and all figures as one JSON line at the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="of DCLM's task files")
    parser.add_argument("--tokenizer", type=Path, metavar="FOLDER", help="GPT-NeoX's")
    parser.add_argument("--peer", metavar="PYTHON", help="with lm_eval installed")
    parser.add_argument("--tasks", default=",".join(PLANS), metavar="A,B")
    parser.add_argument("--open-lm", action="store_true", help="it is on PYTHONPATH: use its model")
    parser.add_argument("--requests", help=argparse.SUPPRESS)  # how this script starts its peer
    arguments = parser.parse_args()
    if arguments.requests:
        be_lm_eval(arguments.requests)
        return
    if arguments.data is None or arguments.tokenizer is None:
        parser.error("--data and --tokenizer are needed")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    torch.set_num_threads(1)
    native_engine.measure_noise = lambda *_: None  # once a run of all tasks, not once a task
    suite, figures = load_suite("full"), {}
    with tempfile.TemporaryDirectory(prefix="crucible-bench-") as name:
        model = Path(name)
        torch.manual_seed(0)
        save_model_dir(model, OpenLM(SHAPE), arguments.tokenizer)
        ours, reference = (load_engine(engine, model) for engine in ("native", "llm-foundry"))
        assert isinstance(ours, NativeEngine)
        theirs = open_lm_model(model) if arguments.open_lm else None
        dress_as_dclm(reference, ours.encoder.pad_id, theirs)
        print("| task | native | LLM Foundry | times | target | lm-eval | times | answers |")
        print("|---|---|---|---|---|---|---|---|")
        for label in arguments.tasks.split(","):
            (task,) = suite.choose([label])
            path = task_path(suite, task, arguments.data)
            if not path.is_file():
                continue
            row = measure(task, path, (ours, reference), model, arguments.peer)
            print(line(task.label, row), flush=True)
            figures[task.label] = row
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
