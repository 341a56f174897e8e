"""What a scale costs before anything runs: arithmetic, processors' time, hours and space.

Only data and arithmetic, without torch: the site shows it too. docs/cost.md has every formula and
the source of every constant.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from submissions.failures import Failure
from training_recipes.hardware import PEAK_FLOPS, rows_a_process
from training_recipes.scales import ModelShape, Scale

CPU = "cpu"  # where the recipes in float32 are trained, on one core
GPUS = {name.lower().replace(" ", "-"): peak for name, peak in PEAK_FLOPS.items()}
DEFAULT_GPU = "h100"

# H100-hours of DCLM's own trainer (open_lm), from its published table of scales. 1b-5x: five times
# 1b-1x, whose model it is.
DCLM_H100_HOURS = {
    "400m-1x": 26.0, "1b-1x": 240.0, "1b-5x": 5 * 240.0, "3b-1x": 740.0, "7b-1x": 3_700.0,
    "7b-2x": 7_300.0,
}  # fmt: skip
# There are no published hours for smaller scales. Their share of the peak is assumed: near that of
# DCLM's smallest scale, and less where kernels are so short that a GPU waits for their launches.
ASSUMED_MFU = {"11m": 0.04, "36m": 0.1, "79m": 0.2, "154m": 0.2}
BASIS_GPU = "DCLM's trainer on H100; Crucible's own engine has not been measured on a GPU yet"
BASIS_ASSUMED = "arithmetic, not measured: {:.0%} of the peak"
BASIS_CPU = "measured: the engine composer on one core"
CPU_TOKENS_PER_SECOND = {"cpu-300k": 13_000.0, "smoke": 9_000.0}  # on one core

TOKENISED_BYTES_PER_SECOND = 20e6  # text, one core, reading and writing included
ID_BYTES = 2
GZIP_BYTES_PER_TOKEN = 1.4  # of 1.1 million rows of docs/tokenise.md
TAR_BYTES_PER_ROW = 512 + 256  # a header, and on average half a block of padding
WEIGHT_BYTES = 4  # float32
STATE_BYTES = 12  # a parameter: its weight and AdamW's two moments
STATES_AT_ONCE = 2  # the new one is written before the old one goes

# The full suite: prompt rows padded to 2,048 positions, as LLM Foundry runs them, and what is left
# of them without padding and with each prompt read once for all its options.
# By engine: tokens that are read, keys that each attends to, positions with logits.
PADDED = 698_192 * 2_048.0
SUITE_READS = {"llm-foundry": (PADDED, 2_048, PADDED), "native": (140.6e6, 549, 3.5e6)}
EVALUATION_SHARE = 0.4  # of the TF32 peak, which is half the bfloat16 one: assumed, not measured
# Tokens that are generated one after another: two rows at a time, and 64; seconds each, estimated.
GENERATION_STEPS = {"llm-foundry": 331_518, "native": 663_036 / 64}
GENERATION_STEP_SECONDS = 0.015
SMOKE_EVALUATION_SECONDS = 8.0  # measured: the smoke suite on one core


@dataclass(frozen=True)
class Work:
    """Time on `count` devices; `basis` says where its speed comes from."""

    device: str
    count: int
    device_hours: float
    hours: float
    basis: str

    @property
    def seconds(self) -> float:
        """Until it is done."""
        return 3600 * self.hours


@dataclass(frozen=True)
class Storage:
    """Bytes on disk."""

    text: float  # uncompressed
    scratch: float  # ids before they are shuffled
    rows: float  # tokenised
    states: float  # of the unfinished run
    model: float  # the trained weights; an export takes as much again

    @property
    def total(self) -> float:
        """If nothing is deleted on the way."""
        return self.text + self.scratch + self.rows + self.states + self.model


@dataclass(frozen=True)
class Cost:
    """All of it, for one submission at one scale.

    `mfu` is None on a CPU. `evaluate` is by engine, alternatives of which one is chosen.
    """

    scale: Scale
    flops: float
    flops_with_attention: float
    mfu: float | None
    tokenise_cpu_hours: float
    train: Work
    evaluate: dict[str, Work]
    storage: Storage

    @property
    def works(self) -> tuple[Work, Work]:
        """Training, and evaluation by the engine that the site uses."""
        return self.train, self.evaluate["llm-foundry"]

    def as_document(self) -> dict[str, Any]:
        """As `crucible recipe cost --json` prints it."""
        return asdict(self) | {
            "scale": self.scale.name,
            "storage": asdict(self.storage) | {"total": self.storage.total},
        }


def cost_of(scale: Scale, gpu: str | None = None, count: int = 1) -> Cost:
    """The cost on `count` GPUs of the kind `gpu` (a key of GPUS; H100 if left out).

    A recipe in float32 is trained on one core, and no GPU may be named. Raises `hardware_unfit`
    for that, for an unknown GPU and for a count that does not divide the global batch.
    """
    on_cpu = scale.precision == "fp32"
    if on_cpu and (gpu is not None or count != 1):
        raise Failure("hardware_unfit", f"the scale {scale.name} is trained on one CPU core")
    gpu = gpu or DEFAULT_GPU
    if gpu not in GPUS:
        raise Failure("hardware_unfit", f"there is no GPU {gpu!r}; there are {', '.join(GPUS)}")
    if count < 1:
        raise Failure("hardware_unfit", "at least one GPU is needed")
    rows_a_process(scale.optimizer.global_batch, count, None)
    return Cost(
        scale=scale,
        flops=scale.flops,
        flops_with_attention=training_flops(scale),
        mfu=None if on_cpu else expected_mfu(scale),
        tokenise_cpu_hours=text_bytes(scale) / TOKENISED_BYTES_PER_SECOND / 3600,
        train=_cpu_training(scale) if on_cpu else _gpu_training(scale, gpu, count),
        evaluate=_cpu_evaluation() if on_cpu else _gpu_evaluation(scale, gpu, count),
        storage=storage_of(scale),
    )


def training_flops(scale: Scale) -> float:
    """Of every matrix product: forward once, backward twice that; attention is causal."""
    length = scale.model.seq_len
    forward: float = 2 * _body(scale.model) + 2 * _head(scale.model)
    forward += 4 * scale.model.layers * scale.model.dim * (length + 1) / 2
    return 3.0 * forward * scale.tokens_trained


def expected_mfu(scale: Scale) -> float:
    """The share of an H100's peak that 6 · parameters · tokens are in DCLM's H100-hours.

    Assumed for the scales of which there are no such hours.
    """
    hours = DCLM_H100_HOURS.get(scale.name)
    if hours is None:
        return ASSUMED_MFU[scale.name.partition("-")[0]]
    return scale.flops / (hours * 3600 * GPUS["h100"])


def text_bytes(scale: Scale) -> float:
    """Of the UTF-8 text that fills the rows of one training once."""
    return scale.tokens_needed * scale.bytes_per_token


def storage_of(scale: Scale) -> Storage:
    """What one submission takes on disk."""
    row = TAR_BYTES_PER_ROW + GZIP_BYTES_PER_TOKEN * (scale.model.seq_len + 1)
    params = scale.model.params_trained
    return Storage(
        text=text_bytes(scale),
        scratch=float(ID_BYTES * scale.tokens_needed),
        rows=scale.rows * row,
        states=float(STATES_AT_ONCE * STATE_BYTES * params),
        model=float(WEIGHT_BYTES * params),
    )


def evaluation_flops(shape: ModelShape, engine: str) -> float:
    """Of the full suite: `llm-foundry` computes all padding, `native` none of it."""
    tokens, keys, logits = SUITE_READS[engine]
    attention = 4 * shape.layers * shape.dim * keys
    return tokens * (2 * _body(shape) + attention) + logits * 2 * _head(shape)


def size_text(size: float) -> str:
    """Bytes for people: 32.9 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _gpu_training(scale: Scale, gpu: str, count: int) -> Work:
    mfu = expected_mfu(scale)
    device_hours = scale.flops / (mfu * GPUS[gpu]) / 3600
    published = scale.name in DCLM_H100_HOURS
    basis = BASIS_GPU if published else BASIS_ASSUMED.format(mfu)
    return Work(gpu, count, device_hours, device_hours / count, basis)


def _cpu_training(scale: Scale) -> Work:
    hours = scale.tokens_trained / CPU_TOKENS_PER_SECOND[scale.name] / 3600
    return Work(CPU, 1, hours, hours, BASIS_CPU)


def _gpu_evaluation(scale: Scale, gpu: str, count: int) -> dict[str, Work]:
    """The full suite; LLM Foundry runs on one GPU however many there are."""
    speed = EVALUATION_SHARE * GPUS[gpu] / 2
    basis = f"arithmetic, not measured: {EVALUATION_SHARE:.0%} of the TF32 peak"
    works = {}
    for engine, steps in GENERATION_STEPS.items():
        used = count if engine == "native" else 1
        seconds = evaluation_flops(scale.model, engine) / speed + steps * GENERATION_STEP_SECONDS
        works[engine] = Work(gpu, used, seconds / 3600, seconds / 3600 / used, basis)
    return works


def _cpu_evaluation() -> dict[str, Work]:
    hours = SMOKE_EVALUATION_SECONDS / 3600
    return {"llm-foundry": Work(CPU, 1, hours, hours, "measured: the smoke suite on one core")}


def _body(shape: ModelShape) -> int:
    """Weights of the blocks' matrices."""
    return shape.layers * (4 * shape.dim**2 + 3 * shape.dim * shape.ffn_hidden)


def _head(shape: ModelShape) -> int:
    """Weights of the output matrix."""
    return shape.vocab * shape.dim
