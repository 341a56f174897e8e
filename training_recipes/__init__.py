"""The frozen part: scales, the OpenLM architecture, tokenising and training."""
