"""The limits of a mixture: available tokens, allowed epochs, floors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.mixtures.laws import Floats
from submissions.failures import Failure

# Repetition beyond some four epochs is worth little; Olmix's default is 4 too.
MAX_EPOCHS = 4.0
ROUNDING = 1e-9


@dataclass(frozen=True)
class Limits:
    """Lowest and highest proportion of each domain [M]; at least one mixture lies between."""

    floors: Floats
    caps: Floats

    def check(self, domains: Sequence[str]) -> None:
        """Raises `limits_infeasible` where no mixture lies between."""
        for domain, floor, cap in zip(domains, self.floors, self.caps, strict=True):
            if floor > cap + ROUNDING:
                said = f"the floor of {domain} is {floor:.4g}, and its tokens allow {cap:.4g}"
                raise Failure("limits_infeasible", said)
        if self.floors.sum() > 1 + ROUNDING:
            said = f"the floors sum to {self.floors.sum():.4g}, more than 1"
            raise Failure("limits_infeasible", said)
        if self.caps.sum() < 1 - ROUNDING:
            said = f"the caps sum to {self.caps.sum():.4g}, less than 1"
            raise Failure("limits_infeasible", said)


def in_order(
    domains: Sequence[str], named: Mapping[str, float], name: str, default: float | None = None
) -> Floats:
    """Numbers by domain [M], whether or not a name carries `mix_`. Raises `sources_invalid`."""
    found = np.full(len(domains), np.nan if default is None else default)
    for key, value in named.items():
        places = [k for k, domain in enumerate(domains) if _bare(domain) == _bare(key)]
        if not places:
            raise Failure("sources_invalid", f'{name} names "{key}", which is no domain of the fit')
        found[places[0]] = value
    if np.isnan(found).any():
        missing = domains[int(np.flatnonzero(np.isnan(found))[0])]
        raise Failure("sources_invalid", f'{name} has no number for the domain "{missing}"')
    return found


def limits_of(
    domains: Sequence[str],
    tokens: Floats | None,
    budget: float | None,
    max_epochs: float = MAX_EPOCHS,
    floors: Floats | None = None,
) -> Limits:
    """Caps of max_epochs × tokens / budget, at most 1. Raises `limits_infeasible`."""
    caps = np.ones(len(domains))
    if tokens is not None and budget is not None:
        caps = np.minimum(1.0, max_epochs * tokens / budget)
        if caps.sum() < 1 - ROUNDING:
            most, epochs = max_epochs * tokens.sum(), budget / max(tokens.sum(), 1e-300)
            said = (
                f"{max_epochs:g} epochs of all sources are {most:.4g} tokens, and the budget is "
                f"{budget:.4g}: a budget of up to {most:.4g}, or {epochs:.3g} epochs, works"
            )
            raise Failure("limits_infeasible", said)
    found = Limits(np.zeros(len(domains)) if floors is None else floors, caps)
    found.check(domains)
    return found


def _bare(name: str) -> str:
    return name.removeprefix("mix_")
