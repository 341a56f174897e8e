"""From small scales to large: what a score at one scale predicts for another."""
