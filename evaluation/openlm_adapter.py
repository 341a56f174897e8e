"""Our OpenLM as a Hugging Face causal language model, the interface that Composer evaluates.

It does what open_lm's OpenLMforCausalLM does in DCLM's eval/eval_openlm_ckpt.py: logits
without a loss, the padding mask handed down, generation by GenerationMixin with a key-value cache.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import GenerationMixin, PreTrainedModel
from transformers.configuration_utils import PretrainedConfig
from transformers.generation.configuration_utils import GenerationConfig
from transformers.modeling_outputs import CausalLMOutput

from training_recipes.model import KeyValueCache, OpenLM


class OpenLMConfig(PretrainedConfig):
    """Only what Composer and `generate` ask for; the architecture is in the model itself."""

    model_type = "crucible_openlm"


class OpenLMForCausalLM(PreTrainedModel, GenerationMixin):
    """`transformer`'s logits [B, T, vocab] in float32, and greedy generation."""

    config_class = OpenLMConfig

    def __init__(self, transformer: OpenLM) -> None:
        config = OpenLMConfig(vocab_size=transformer.shape.vocab, is_decoder=True)  # type: ignore[no-untyped-call]
        super().__init__(config)  # type: ignore[no-untyped-call]
        self.transformer = transformer
        self.generation_config = GenerationConfig(do_sample=False)  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        openlm_cache: KeyValueCache | None = None,
        **_: Any,
    ) -> CausalLMOutput:
        """Logits [B, T, vocab] for ids [B, T]; the mask is 1 where a position is real.

        Padding on the right alone needs no mask: attention is causal, and its logits stay unread.
        """
        mask = attention_mask
        if mask is not None and bool((mask[:, :-1].int() >= mask[:, 1:].int()).all()):
            mask = None
        return CausalLMOutput(logits=self.transformer(input_ids, mask=mask, cache=openlm_cache))

    def _prepare_cache_for_generation(
        self, _config: GenerationConfig, model_kwargs: dict[str, Any], *_: Any
    ) -> None:
        """`generate` would make a cache of its own kind; ours travels under a name of its own."""
        model_kwargs["openlm_cache"] = KeyValueCache()

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        openlm_cache: KeyValueCache,
        **_: Any,
    ) -> dict[str, Any]:
        """Only what the cache has not seen, with the mask over everything."""
        return {
            "input_ids": input_ids[:, openlm_cache.length :],
            "attention_mask": attention_mask,
            "openlm_cache": openlm_cache,
        }
