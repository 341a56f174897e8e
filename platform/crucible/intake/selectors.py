"""Reads the cost of a submission."""

from __future__ import annotations

from django.conf import settings

from training_recipes.cost import Cost, cost_of
from training_recipes.scales import load_scale


def scale_costs() -> list[Cost]:
    """The cost of one submission at each scale of this site, in the order of the settings."""
    return [cost_of(load_scale(name)) for name in settings.CRUCIBLE_SCALES]
