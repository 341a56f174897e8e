"""Reads what a submission would cost."""

from __future__ import annotations

from django.conf import settings

from training_recipes.cost import Cost, cost_of
from training_recipes.scales import load_scale


def scale_costs() -> list[Cost]:
    """What one submission costs at each scale of this site, the cheapest first."""
    return [cost_of(load_scale(name)) for name in settings.CRUCIBLE_SCALES]
