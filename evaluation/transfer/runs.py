"""Finished runs of datasets at scales, and the pairs that two scales have in common.

A run of DCLM's repository is known by its evaluation's uuid. Datasets are matched by their
name: two of them (c4_original and rw_original) share one `dataset_uuid`, so that a join by it would
take two datasets for one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from evaluation.transfer.line import Pair
from submissions.failures import Failure
from training_recipes.scales import load_scale, scale_names

RecipeName = Literal["published", "official"]
By = Literal["core", "loss"]
# Most of DCLM's 7B runs: exp_data/models at commit 361714b. All other scales: the official recipe.
PUBLISHED = {"7b-1x": (3e-4, 0.33), "7b-2x": (3e-4, 0.33)}


@dataclass(frozen=True)
class Recipe:
    """What of a recipe was varied in DCLM's runs."""

    lr: float
    weight_decay: float

    def __str__(self) -> str:
        return f"learning rate {self.lr:g}, weight decay {self.weight_decay:g}"


@dataclass(frozen=True)
class Run:
    """One trained and evaluated model. `core` is CORE as a share, under metric version v2.

    `loss` is the mean cross-entropy over the texts of CORE's 21 task files, in nats, where it was
    published. `altered` says that weights were averaged, losses masked or another tokenizer used.
    """

    evaluation: str
    dataset: str
    family: str
    scale: str
    recipe: Recipe
    seed: int | None
    altered: bool
    core: float
    loss: float | None = None

    def value(self, by: By) -> float | None:
        """What datasets are ordered by: higher is better."""
        if by == "core":
            return self.core
        return None if self.loss is None else -self.loss


def recipe_of(scale: str, name: RecipeName) -> Recipe:
    """The recipe in question at a scale; raises `unknown_scale`."""
    optimizer = load_scale(scale).optimizer
    official = Recipe(optimizer.lr, optimizer.weight_decay)
    return Recipe(*PUBLISHED[scale]) if name == "published" and scale in PUBLISHED else official


def family_of(dataset: str) -> str:
    """The kind of a published dataset, as far as its name tells: the best filters are alike.

    `openhermes`: kept by a classifier trained on OpenHermes, with or without ELI5.
    """
    return "openhermes" if "openhermes" in dataset or "OH_eli5" in dataset else "other"


def values_at(runs: Iterable[Run], scale: str, recipe: Recipe, by: By = "core") -> dict[str, float]:
    """Each dataset's value at a scale under a recipe: the mean over its unaltered runs."""
    found: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        value = run.value(by)
        if run.scale == scale and run.recipe == recipe and not run.altered and value is not None:
            found[run.dataset].append(value)
    return {dataset: fmean(values) for dataset, values in found.items()}


def pairs_between(
    runs: Sequence[Run], source: str, target: str, recipe: RecipeName, by: By = "core"
) -> list[Pair]:
    """The datasets with runs at both scales, by name; target CORE over the source's `by`.

    The recipe in question is the target's; the source has the published one.
    """
    at_source = values_at(runs, source, recipe_of(source, "published"), by)
    at_target = values_at(runs, target, recipe_of(target, recipe))
    shared = sorted(set(at_source) & set(at_target))
    return [Pair(dataset, at_source[dataset], at_target[dataset]) for dataset in shared]


def mean_pairs(pairs: Iterable[Pair]) -> list[Pair]:
    """One pair a dataset: those of the same name are averaged."""
    found: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        found[pair.dataset].append(pair)
    return [
        Pair(name, fmean(p.source for p in same), fmean(p.target for p in same))
        for name, same in sorted(found.items())
    ]


def check_order(source: str, target: str) -> None:
    """Raises `unknown_scale` for an unknown one, `refused` where the target is not the larger."""
    for scale in (source, target):
        load_scale(scale)
    names = scale_names()
    if names.index(source) >= names.index(target):
        raise Failure("refused", f"{target} is no larger scale than {source}: name a larger one")
