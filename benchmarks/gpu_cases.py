"""The measurements of gpu_speed.py, each a function that returns what its JSON line holds.

A training case is the forward and backward pass of one micro batch of random rows and one step of
AdamW, timed apart; tokens a second are those of the recipe's global batch on one GPU, which takes
as many micro batches and one step. Every function runs on a CPU too, where only its code is tried.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import torch
import torch.nn.functional as F  # noqa: N812 - the name by which everybody knows it
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from evaluation.evaluate import evaluate_model
from training_recipes.chunked_loss import chunked_loss
from training_recipes.cost import training_flops
from training_recipes.engines.forward import in_bfloat16
from training_recipes.hardware import peak_flops
from training_recipes.model import OpenLM
from training_recipes.model_dir import save_model_dir
from training_recipes.packed_rows import Summary, write_shard
from training_recipes.scales import Scale, load_scale
from training_recipes.tokenizer import tokenizer_folder
from training_recipes.training_rows import Part, read_batches
from training_recipes.training_rules import build_optimizer, training_loss

ATTENTION = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
WARM_UP, TIMED, SEED = 3, 8, 124
GPU_QUERY = "name,driver_version,power.limit,clocks.max.sm,clocks.sm,memory.total"
CLOSE_LOSSES = 1e-3  # relative: 20 steps of float32 on two devices, summed in other orders
CLOSE_BF16 = 2e-2  # relative: one loss in bfloat16 against float32


@dataclass(frozen=True)
class Machine:
    """Where it runs, and whether shapes are shrunk to try the code."""

    device: torch.device
    tiny: bool

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def scale(self, name: str) -> Scale:
        """The scale of that name; if tiny, with its name and precision and another shape."""
        scale = load_scale(name)
        if not self.tiny:
            return scale
        shape = replace(scale.model, dim=16, layers=4, heads=2, seq_len=32, vocab=4096)
        rule = replace(scale.optimizer, global_batch=min(scale.optimizer.global_batch, 64))
        return replace(scale, model=shape, optimizer=rule, tokens_per_parameter=1)


@dataclass(frozen=True)
class Setting:
    """How a training step is computed. `layers` leaves all but so many out, and AdamW with them."""

    scale: str
    rows: int
    compile: bool = False
    graphs: bool = False  # CUDA graphs
    chunked: bool = True
    fused: bool = True
    attention: str | None = None  # what SDPA may take; None: its choice
    layers: int | None = None

    def on(self, machine: Machine) -> Setting:
        """Itself, if tiny with two rows."""
        return replace(self, rows=2) if machine.tiny else self


def machine(on: Machine) -> dict[str, Any]:
    """What it runs on, and the rate of one large matrix product: the ceiling of what follows."""
    size = 64 if on.tiny else 8192
    one = torch.randn(size, size, device=on.device, dtype=torch.bfloat16)
    times = timed(lambda: one @ one, on)
    found: dict[str, Any] = {
        "python": platform.python_version(), "torch": torch.__version__, "cuda": torch.version.cuda,
        "gpu": torch.cuda.get_device_name() if on.on_gpu else "", "processor": platform.machine(),
        "cudnn": torch.backends.cudnn.version(), "matmul": size,
        "matmul_flops": 2 * size**3 / statistics.median(times),
    }  # fmt: skip
    if on.on_gpu:
        found["nvidia_smi"] = nvidia_smi()
        found["peak"] = peak_flops(found["gpu"])
    return found


def nvidia_smi() -> dict[str, str]:
    """Driver, power limit and clocks as the driver's own tool tells them."""
    command = ["nvidia-smi", f"--query-gpu={GPU_QUERY}", "--format=csv,noheader"]
    line = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[
        0
    ]
    return dict(zip(GPU_QUERY.split(","), line.split(", "), strict=True))


def correctness(on: Machine) -> dict[str, Any]:
    """20 steps of `smoke` on the CPU and on the device, and one loss in both precisions."""
    scale = on.scale("smoke")
    rows = random_rows(scale, 20 * scale.optimizer.global_batch, torch.device("cpu"))
    batches = rows.split(scale.optimizer.global_batch)
    there, here = (_losses(scale, batches, device) for device in (on.device, torch.device("cpu")))
    gap = max(abs(one - other) / abs(other) for one, other in zip(there, here, strict=True))
    model, batch = _fresh(scale, on.device), batches[0].to(on.device)
    with torch.no_grad():
        exact = training_loss(model(batch[:, :-1]), batch[:, 1:], scale.optimizer.z_loss).item()
        low = _loss(model, batch, scale, Setting("smoke", 0), amp=True).item()
    apart = abs(low - exact) / abs(exact)
    return {
        "ok": gap <= CLOSE_LOSSES and apart <= CLOSE_BF16, "largest_gap": gap, "bf16_gap": apart,
        "losses": there, "losses_cpu": here,
    }  # fmt: skip


def training(on: Machine, setting: Setting) -> dict[str, Any]:
    """Speed, both utilisations, memory and compilation of one way to train a scale."""
    setting, scale = setting.on(on), on.scale(setting.scale)
    if setting.layers is not None:
        scale = replace(scale, model=replace(scale.model, layers=setting.layers))
    model = _fresh(scale, on.device)
    model.tok_embeddings.register_forward_hook(in_bfloat16)
    optimizer = None
    if setting.layers is None:
        optimizer = build_optimizer(model, scale.optimizer, fused=setting.fused)
    if setting.compile:
        _compile(model, setting, on)
    rows = random_rows(scale, setting.rows, on.device)

    def passes() -> Tensor:
        loss = _loss(model, rows, scale, setting, amp=True)
        loss.backward()
        return loss.detach()

    with _attention(setting, on):
        began = time.perf_counter()
        loss = passes()
        _wait(on)
        first = time.perf_counter() - began
        forward_backward = statistics.median(timed(passes, on))
    step = statistics.median(timed(optimizer.step, on)) if optimizer else 0.0
    return _figures(on, scale, setting, forward_backward, step) | {
        "compile_seconds": first - forward_backward if setting.compile else None,
        "graph_breaks": sum(torch._dynamo.utils.counters["graph_break"].values()),
        "loss": loss.item(),
    }


def _figures(
    on: Machine, scale: Scale, setting: Setting, forward_backward: float, step: float
) -> dict[str, Any]:
    batch = max(scale.optimizer.global_batch, setting.rows)
    seconds = forward_backward * batch / setting.rows + step
    speed = batch * scale.model.seq_len / seconds
    peak = peak_flops(torch.cuda.get_device_name()) if on.on_gpu else None
    counted = training_flops(scale) / scale.tokens_trained
    return {
        "scale": setting.scale, "layers": scale.model.layers, "rows": setting.rows,
        "forward_backward_ms": 1e3 * forward_backward, "optimizer_ms": 1e3 * step,
        "tokens_per_second": speed,
        "mfu": 6 * scale.model.params * speed / peak if peak else None,
        "mfu_counted": counted * speed / peak if peak else None,
        "peak_memory": torch.cuda.max_memory_allocated() if on.on_gpu else None,
    }  # fmt: skip


def evaluation(on: Machine, scale_name: str, precision: str) -> dict[str, Any]:
    """Two bundled tasks by the native engine, and a padded pair of rows as the reference runs it.

    The weights are random and the ids are the bundled tokenizer's: times, not scores.
    """
    scale = on.scale(scale_name)
    labels, limit = ["smoke_word_order", "smoke_set_phrase_fewshot"], 4 if on.tiny else None
    with tempfile.TemporaryDirectory() as folder:
        model = _fresh(scale, torch.device("cpu"))
        save_model_dir(Path(folder) / "model", model, tokenizer_folder("smoke"))
        results = evaluate_model(
            Path(folder) / "model", "smoke", Path(folder) / "out", labels=labels, limit=limit,
            precision=precision,
        )  # fmt: skip
    rows = random_rows(scale, 2, on.device)[:, :-1]
    model = model.to(on.device)
    with torch.no_grad(), torch.autocast(on.device.type, torch.bfloat16, precision == "bf16"):
        padded = statistics.median(timed(lambda: model(rows), on))
    tasks = {label: results["tasks"][label] for label in labels}
    return {
        "scale": scale_name, "precision": precision, "padded_pair_ms": 1e3 * padded,
        "questions": {label: task["n"] for label, task in tasks.items()},
        "seconds": {label: task["seconds"] for label, task in tasks.items()},
    }  # fmt: skip


def loader(on: Machine) -> dict[str, Any]:
    """Tokens a second of the rows' reader alone: tar, gzip, JSON, hashes; on the processor."""
    scale = on.scale("11m-1x")
    rows = random_rows(scale, 64 if on.tiny else 4096, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        lines = [orjson.dumps(row) for row in rows.tolist()]
        shard = write_shard(Path(folder), 0, lines)
        summary = Summary(
            scale.name, SEED, scale.model.seq_len, "", "", "", "", "", 0, len(lines), rows.numel(),
            0, 1.0, [], [shard],
        )  # fmt: skip
        batch = 64
        part = Part(SEED, scale.model.vocab, batch, len(lines) // batch)
        began, before = time.perf_counter(), time.process_time()
        count = sum(block.size for block in read_batches(Path(folder), summary, part))
        seconds, processor = time.perf_counter() - began, time.process_time() - before
    assert count == rows.numel()
    return {"tokens_per_second": count / seconds, "tokens_per_cpu_second": count / processor}


def profile(on: Machine, setting: Setting) -> dict[str, Any]:
    """The twenty operations that take longest in two steps, in microseconds of the device."""
    setting, scale = setting.on(on), on.scale(setting.scale)
    model = _fresh(scale, on.device)
    model.tok_embeddings.register_forward_hook(in_bfloat16)
    if setting.compile:
        _compile(model, setting, on)
    rows = random_rows(scale, setting.rows, on.device)
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if on.on_gpu:
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    for _ in range(2):
        _loss(model, rows, scale, setting, amp=True).backward()
    with torch.profiler.profile(activities=kinds) as found:
        for _ in range(2):
            _loss(model, rows, scale, setting, amp=True).backward()
        _wait(on)
    which = "self_device_time_total" if on.on_gpu else "self_cpu_time_total"
    top = sorted(found.key_averages(), key=lambda one: -getattr(one, which))[:20]
    return {"kernels": [[one.key[:120], one.count, getattr(one, which)] for one in top]}


def random_rows(scale: Scale, count: int, device: torch.device) -> Tensor:
    """Ids [count, seq_len + 1], drawn on the processor so that they are the same everywhere."""
    draw = torch.Generator().manual_seed(SEED)
    ids = torch.randint(0, 4096, (count, scale.model.seq_len + 1), generator=draw)
    return ids.to(device)


def timed(action: Callable[[], Any], on: Machine) -> list[float]:
    """Seconds of TIMED calls after WARM_UP others (one each if tiny), each waited for."""
    seconds = []
    warm_up, count = (1, 1) if on.tiny else (WARM_UP, TIMED)
    for number in range(warm_up + count):
        _wait(on)
        began = time.perf_counter()
        action()
        _wait(on)
        if number >= warm_up:
            seconds.append(time.perf_counter() - began)
    return seconds


def _wait(on: Machine) -> None:
    if on.on_gpu:
        torch.cuda.synchronize()


def _fresh(scale: Scale, device: torch.device) -> OpenLM:
    torch.manual_seed(SEED)
    return OpenLM(scale.model).to(device)


def _losses(scale: Scale, batches: tuple[Tensor, ...], device: torch.device) -> list[float]:
    """Of one step a batch in float32, with the recipe's first rates."""
    model = _fresh(scale, device)
    optimizer = build_optimizer(model, scale.optimizer)
    losses = []
    for number, batch in enumerate(batches, 1):
        for group in optimizer.param_groups:
            group["lr"] = scale.optimizer.lr * number / scale.optimizer.warmup
        ids = batch.to(device)
        loss = training_loss(model(ids[:, :-1]), ids[:, 1:], scale.optimizer.z_loss)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), scale.optimizer.grad_clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


def _loss(model: OpenLM, rows: Tensor, scale: Scale, setting: Setting, amp: bool) -> Tensor:
    ids, targets, z_loss = rows[:, :-1], rows[:, 1:], scale.optimizer.z_loss
    with torch.autocast(rows.device.type, torch.bfloat16, enabled=amp):
        if setting.chunked:
            return model(ids, head=lambda one, matrix: chunked_loss(one, matrix, targets, z_loss))
        return model(
            ids,
            head=lambda one, matrix: training_loss(F.linear(one, matrix).float(), targets, z_loss),
        )


def _compile(model: OpenLM, setting: Setting, on: Machine) -> None:
    """Block by block, as training does; on a CPU without generating code."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    mode = "reduce-overhead" if setting.graphs else None
    for layer in model.layers:
        if on.on_gpu:
            layer.compile(mode=mode)
        else:
            layer.compile(backend="eager")


def _attention(setting: Setting, on: Machine) -> AbstractContextManager[Any]:
    if setting.attention is None or not on.on_gpu:
        return nullcontext()
    return sdpa_kernel(ATTENTION[setting.attention])
