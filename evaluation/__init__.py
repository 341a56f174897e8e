"""Which tasks a model is asked, how it is asked, and how the answers become a score.

Imports `submissions` and `training_recipes`; never Django.
"""
