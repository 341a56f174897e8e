"""What is in a dataset: figures, a sample and a map of topics, without a look at its score.

`profile_dataset` in profiling.py is the entrance; docs/profile.md explains every figure.
"""
