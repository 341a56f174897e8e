"""The frozen scales: every number that decides how a model is trained, read from scales/*.json.

Only data and arithmetic: the site and `crucible check` import this without torch. Parameter counts
follow from the shape by a formula that a test holds against the built model.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from submissions.failures import Failure
from submissions.hashing import folder_sha256

FOLDER = Path(__file__).parent / "scales"
TOKENIZERS = Path(__file__).parent / "tokenizers"
# The cheapest first, which is also the order of `crucible recipe list`.
NAMES = (
    "cpu-300k", "smoke", "11m-1x", "11m-lowlr", "36m-1x", "36m-lowlr", "79m-1x", "79m-lowlr",
    "154m-1x", "154m-lowlr", "400m-1x", "1b-1x", "1b-5x", "3b-1x", "7b-1x", "7b-2x",
)  # fmt: skip

# Of UTF-8 text. GPT-NeoX on DCLM's pools: 33 GB of text for the 8.2 billion tokens of 400m-1x. The
# bundled one lies between the example pool (39.1 MB gave 14,243,197 tokens: 2.74) and its curated
# prose (10.1 MB gave 2,910,268: 3.47).
BYTES_PER_TOKEN = {"EleutherAI/gpt-neox-20b": 4.0, "smoke": 3.1}


@dataclass(frozen=True)
class ModelShape:
    """The architecture's numbers; `vocab` may exceed the tokenizer's ids (a round matrix)."""

    dim: int
    layers: int
    heads: int
    seq_len: int
    vocab: int
    qk_norm: bool
    norm: str = "gain_only_lp_layer_norm"
    norm_eps: float = 1e-5
    ffn_type: str = "swiglu_torch"  # or "swiglu": the same function, computed by xformers
    positional_embedding: str = "rotary"
    weight_tying: bool = False
    post_embed_norm: bool = False

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @property
    def ffn_hidden(self) -> int:
        """open_lm's width of the feed-forward part: 8/3 of dim, rounded up to 256."""
        return 256 * ((int(2 * 4 * self.dim / 3) + 255) // 256)

    @property
    def params(self) -> int:
        """The count that DCLM publishes, which leaves out the gains of q- and k-norm."""
        block = 4 * self.dim**2 + 3 * self.dim * self.ffn_hidden + 2 * self.dim
        return 2 * self.vocab * self.dim + self.layers * block + self.dim

    @property
    def params_trained(self) -> int:
        """Every parameter that training changes."""
        return self.params + (2 * self.layers * self.dim if self.qk_norm else 0)

    @property
    def params_no_embedding(self) -> int:
        """The published count without the input embedding; the output matrix stays counted."""
        return self.params - self.vocab * self.dim


@dataclass(frozen=True)
class Optimizer:
    """AdamW with a linear warm-up and a cosine down to `cooldown`; see `learning_rate`."""

    lr: float
    weight_decay: float
    warmup: int  # steps
    cooldown: float  # the learning rate at the end
    beta1: float
    beta2: float
    eps: float
    grad_clip: float  # global L2 norm
    global_batch: int  # sequences
    z_loss: float


@dataclass(frozen=True)
class OpenLMRun:
    """What DCLM's configuration says beside the mathematics, for the engine `open_lm`.

    Source: DCLM's training/configs at commit 361714b. The flags decide in which precision gradients
    are summed over ranks (`--fsdp-pure-bf16`: bfloat16, else float32).
    """

    model: str  # the name of the model configuration in training/open_lm_configs
    acc: int  # gradient accumulation unless the participant's hardware asks for another
    fsdp_flags: tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """One frozen recipe. `multiplier` is DCLM's Chinchilla multiplier."""

    name: str
    version: int
    model: ModelShape
    optimizer: Optimizer
    tokens_per_parameter: int
    multiplier: int
    checkpoints: int  # into as many equal parts open_lm cuts the run, which decides `steps`
    max_epochs: int  # how often training may read a dataset that is smaller than `rows`
    rows_per_shard: int  # of the tokenised dataset
    precision: str
    seed: int  # the default: the one number of the recipe that a participant may choose
    tokenizer: str
    open_lm: OpenLMRun

    @property
    def tokens(self) -> int:
        """The budget: 20 × published parameters × multiplier (DCLM, section 3)."""
        return self.tokens_per_parameter * self.model.params * self.multiplier

    @property
    def steps(self) -> int:
        """open_lm's rule: whole sequences in each checkpoint's share, then whole batches."""
        samples = self.tokens // self.checkpoints // self.model.seq_len
        return samples * self.checkpoints // self.optimizer.global_batch

    @property
    def rows(self) -> int:
        """How many packed rows of seq_len + 1 ids one training reads."""
        return self.steps * self.optimizer.global_batch

    @property
    def tokens_trained(self) -> int:
        """The tokens that are really predicted: the budget without open_lm's remainders."""
        return self.rows * self.model.seq_len

    @property
    def tokens_needed(self) -> int:
        """How many tokens a dataset must have, end-of-text ids included, to fill `rows`."""
        return self.rows * (self.model.seq_len + 1)

    @property
    def bundled(self) -> bool:
        """Whether its tokenizer comes with Crucible: such a scale is for CPUs and a small suite."""
        return (TOKENIZERS / self.tokenizer).is_dir()

    @property
    def bytes_per_token(self) -> float:
        """About how many bytes of text make one token, to estimate before tokenising."""
        return BYTES_PER_TOKEN[self.tokenizer]

    @property
    def flops(self) -> float:
        """6 × parameters × tokens, as DCLM's table counts."""
        return 6.0 * self.model.params * self.tokens

    @cached_property
    def recipe_sha256(self) -> str:
        """Hash of every hyperparameter and, where it is bundled, of the tokenizer's own files."""
        content = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        files = TOKENIZERS / self.tokenizer
        tokenizer = folder_sha256(files) if self.bundled else self.tokenizer
        return hashlib.sha256(f"{content}\n{tokenizer}\n".encode()).hexdigest()

    def as_document(self) -> dict[str, Any]:
        """Everything, as `crucible recipe show --json` prints it."""
        shape = asdict(self.model)
        shape |= {"head_dim": self.model.head_dim, "ffn_hidden": self.model.ffn_hidden}
        return {
            "scale": self.name,
            "version": self.version,
            "params": self.model.params,
            "params_trained": self.model.params_trained,
            "params_no_embedding": self.model.params_no_embedding,
            "tokens": self.tokens,
            "tokens_trained": self.tokens_trained,
            "tokens_needed": self.tokens_needed,
            "multiplier": self.multiplier,
            "flops": self.flops,
            "steps": self.steps,
            "checkpoints": self.checkpoints,
            "max_epochs": self.max_epochs,
            "rows_per_shard": self.rows_per_shard,
            "model": shape,
            "optimizer": asdict(self.optimizer),
            "precision": self.precision,
            "seed": self.seed,
            "tokenizer": self.tokenizer,
            "open_lm": asdict(self.open_lm) | {"fsdp_flags": list(self.open_lm.fsdp_flags)},
            "hash": self.recipe_sha256,
        }


def scale_names() -> tuple[str, ...]:
    """The names of all scales, the cheapest first."""
    return NAMES


def canonical_name(name: str) -> str:
    """A scale's name as everything here writes it: DCLM's 400M-1x is 400m-1x."""
    return name.lower()


def load_scale(name: str) -> Scale:
    """The scale of that name in either case; `unknown_scale` lists the names there are."""
    canonical = canonical_name(name)
    if canonical not in NAMES:
        raise Failure("unknown_scale", f"there is no scale {name!r}; there are {', '.join(NAMES)}")
    return _read(canonical)


@cache
def _read(name: str) -> Scale:
    return scale_of(name, json.loads((FOLDER / f"{name}.json").read_text()))


def scale_of(name: str, content: dict[str, Any]) -> Scale:
    """A scale from the content of a scale file; a missing or surplus key raises TypeError."""
    run = content["open_lm"]
    return Scale(
        name=name,
        **content
        | {
            "model": ModelShape(**content["model"]),
            "optimizer": Optimizer(**content["optimizer"]),
            "open_lm": OpenLMRun(**run | {"fsdp_flags": tuple(run["fsdp_flags"])}),
        },
    )
