"""What nobody may touch: frozen scales, the OpenLM architecture, tokenising and training."""
