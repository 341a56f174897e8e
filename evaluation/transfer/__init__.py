"""From small scales to large: what a score at one scale says about the score at another."""
