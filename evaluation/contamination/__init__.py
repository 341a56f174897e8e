"""Looks for leaked test questions in a dataset: docs/contamination.md says how."""
