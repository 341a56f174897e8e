"""The README of an exported model: what it is, how it was trained, how to load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from submissions.codec import MisfitError, decode_or_misfit
from training_recipes.results import REPORT, TrainingReport
from training_recipes.scales import ModelShape, load_scale, scale_names

CARD = """---
library_name: transformers
pipeline_tag: text-generation
---

# {name}

A language model of {params:,} parameters ({layers} layers, width {dim}, {heads} heads, {seq_len}
positions, {vocab:,} ids), trained from scratch on one dataset. A recipe of Crucible fixed all but
the data. This is a base model: it continues text and follows no instructions.

{training}
## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")
model = AutoModelForCausalLM.from_pretrained("{name}")
ids = tokenizer("The", return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**ids, max_new_tokens=32)[0]))
```

## About these files

The model was trained in the OpenLM architecture and is stored here as `{architecture}`, which
computes the same function. OpenLM subtracts a mean before a norm; here the weights that write into
that norm are centred instead. {experts}All weights are float32, as trained; in bfloat16 or float16
the results differ by rounding, as with any model.
"""

EXPERTS = "It is a mixture-of-experts class with a single expert. "
TRAINING = """## Training

| | |
|---|---|
{rows}

"""


def model_card(model_dir: Path, name: str, config: dict[str, Any], shape: ModelShape) -> str:
    """Markdown with the front matter of the Hugging Face hub."""
    return CARD.format(
        name=name, params=shape.params_trained, layers=shape.layers, dim=shape.dim,
        heads=shape.heads, seq_len=shape.seq_len, vocab=shape.vocab,
        architecture=config["architectures"][0], training=_training(model_dir),
        experts=EXPERTS if shape.qk_norm else "",
    )  # fmt: skip


def _training(model_dir: Path) -> str:
    """A table of what training.json says; nothing for a model that came from elsewhere."""
    try:
        data = (model_dir / REPORT).read_bytes()
        figures = decode_or_misfit(TrainingReport, data).figures
    except (OSError, MisfitError):
        return ""
    recipe = figures.recipe_sha256
    scales = [load_scale(scale) for scale in scale_names()]
    rows = {
        "Scale": next((s.name for s in scales if s.recipe_sha256 == recipe), "another"),
        "Tokens": _text(figures.tokens),
        "Steps": _text(figures.steps),
        "Final loss": _text(figures.loss),
        "Seed": str(figures.seed),
        "Engine": figures.engine,
        "Recipe, SHA-256": recipe,
        "Weights as trained, SHA-256": figures.weights_sha256,
        "Tokenizer, SHA-256": figures.tokenizer_sha256,
    }
    return TRAINING.format(rows="\n".join(f"| {title} | {text} |" for title, text in rows.items()))


def _text(value: float) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if value > 9999 else str(value)
