"""Data mixing laws: from a few small runs to the loss of a mixture that nobody has trained."""
