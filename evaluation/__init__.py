"""The tasks, the evaluation of a model on them, and the score of its answers.

Imports `submissions` and `training_recipes`; never Django.
"""
