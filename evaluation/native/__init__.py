"""The native evaluation engine: LLM Foundry's answers without LLM Foundry's padding."""
