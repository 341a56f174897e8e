"""Contamination: what the scan found, what reviewers decided, and what follows from it."""
