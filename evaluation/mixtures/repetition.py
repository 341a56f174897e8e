"""How often sources are repeated, and that a small scale repeats them as often as the large one.

Repeated tokens are worth less. Where a small scale never repeats what the large one reads ten
times, its best mixture is wrong by far: arXiv 2606.07597 reports errors of 0.75 in a proportion
against 0.05 with matched repetition. Each source is therefore subsampled by the ratio of budgets.
"""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.mixtures.fit import Pool
from evaluation.mixtures.laws import Floats

# Repetition rates that differ by less make no warning, nor do sources that are read less than once.
MATCHED = 1.25
ONCE = 1.0


def matched_tokens(tokens: Floats, budget: float, larger_budget: float) -> Floats:
    """What to keep of each source [M] at the smaller budget, so that epochs are those at the other.

    A mixture then reads each source equally often at both.
    """
    kept: Floats = tokens * min(budget / larger_budget, 1.0)
    return kept


def epochs_of(mixture: Floats, tokens: Floats, budget: float) -> Floats:
    """How often each source is read [M]; 0 for one that is not used."""
    used = mixture * budget
    epochs: Floats = used / tokens.clip(min=1e-300) * (used > 0)
    return epochs


def warnings_of(
    domains: Sequence[str], pool: Pool | None, mixture: Floats, tokens: Floats, budget: float
) -> list[str]:
    """Sentences on domains that this mixture repeats otherwise than the runs of the fit."""
    there = epochs_of(mixture, tokens, budget)
    if pool is None:
        repeated = [name for name, count in zip(domains, there, strict=True) if count > ONCE]
        if not repeated:
            return []
        return [
            f"repeated here: {', '.join(repeated)}. The fit does not say how often its runs "
            "repeated them: give `mix fit` --tokens and --budget, and subsample each source of "
            "small runs by the ratio of budgets"
        ]
    here = epochs_of(mixture, pool.tokens, pool.budget)
    kept = matched_tokens(tokens, pool.budget, budget)
    found = []
    for k, name in enumerate(domains):
        if max(here[k], there[k]) <= ONCE:
            continue
        if not 1 / MATCHED <= there[k] / max(here[k], 1e-300) <= MATCHED:
            found.append(
                f"{name} is read {there[k]:.3g} times here, and {here[k]:.3g} times in runs of the "
                f"fit's budget: repetition differs. Small runs from {kept[k]:.4g} of its tokens "
                "would match"
            )
    return found
