"""The subcommands of `crucible mix`: each reads files, uses the laws and makes the document."""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from evaluation.mixtures import documents
from evaluation.mixtures.advice import Goal, gain_over, recommend, spread_of, within_span
from evaluation.mixtures.critical import critical_share
from evaluation.mixtures.design import Proposal, first_design, next_runs
from evaluation.mixtures.documents import Document
from evaluation.mixtures.fit import MixtureFit, Pool, fit_runs
from evaluation.mixtures.fit_file import read_fit, write_fit
from evaluation.mixtures.identify import distinct, escapes
from evaluation.mixtures.json_input import numbers_by_name, read_json
from evaluation.mixtures.laws import Floats
from evaluation.mixtures.limits import Limits, in_order, limits_of
from evaluation.mixtures.optimum import Optimum
from evaluation.mixtures.repetition import matched_tokens, warnings_of
from evaluation.mixtures.scales_of_runs import chosen
from evaluation.mixtures.scaling import extrapolated
from evaluation.mixtures.table import (
    LOSS,
    MIX,
    Runs,
    Table,
    columns_of,
    mixtures_of,
    read_table,
    renormalised_note,
    runs_of,
    with_rest,
)
from evaluation.mixtures.transfer import calibrate
from submissions.failures import Failure
from submissions.progress import progress_for_terminal

MAX_SOURCES_BYTES = 2**20
MOST_DESIGNED = 100  # sources


def fit(arguments: argparse.Namespace) -> Document:
    """`mix fit`: reads runs, fits, writes the file."""
    table = read_table(arguments.runs)
    domains = columns_of(table, arguments.domains, MIX)
    targets = columns_of(table, arguments.targets, LOSS)
    pool = _pool(arguments, tuple(domains))
    label = None
    if arguments.at_size is not None or arguments.at_step is not None:
        if arguments.size is not None or arguments.step is not None:
            raise Failure("refused", "--at-size and --at-step need rows of all scales")
        runs, label = extrapolated(table, domains, targets, arguments.at_size, arguments.at_step)
    else:
        runs = _chosen_runs(table, domains, targets, arguments)
    progress = progress_for_terminal()
    done = 0

    def tick(name: str) -> None:
        nonlocal done
        progress(done, len(targets), "targets", name)
        done += 1

    found = replace(
        fit_runs(runs, arguments.law, arguments.seed, tick), uncalibrated=label, pool=pool
    )
    progress(done, len(targets), "targets")
    write_fit(found, arguments.output)
    return documents.fit(found, arguments.output)


def predict(arguments: argparse.Namespace) -> Document:
    """`mix predict`: losses of the mixtures of a table."""
    found = read_fit(arguments.fit)
    table = read_table(arguments.mixtures)
    mixtures = mixtures_of(table, _domains_of(found, table))
    return documents.predictions(found, mixtures.values, renormalised_note(mixtures))


def optimise(arguments: argparse.Namespace) -> Document:
    """`mix optimise`: the best mixture under limits, with spread and gain."""
    found = read_fit(arguments.fit)
    size = len(found.domains)
    tokens = None
    if arguments.tokens is not None:
        tokens = in_order(found.domains, _tokens(arguments.tokens), arguments.tokens.name)
        if tokens.sum() <= 0:
            raise Failure("sources_invalid", "the sources have no tokens")
    elif arguments.budget is not None or arguments.kl > 0:
        raise Failure("refused", "--budget and --kl need --tokens: caps and the natural mixture")
    if tokens is not None and arguments.budget is None and arguments.kl == 0:
        raise Failure("refused", "--tokens needs --budget: how many tokens will be trained on")
    floors = in_order(found.domains, _pairs(arguments.floors, "--floors"), "--floors", 0.0)
    limits = limits_of(found.domains, tokens, arguments.budget, arguments.max_epochs, floors)
    natural = np.full(size, 1 / size) if tokens is None else tokens / tokens.sum()
    if arguments.kl > 0:  # what is not in the natural mixture is infinitely far from it
        limits = Limits(limits.floors, np.where(natural > 0, limits.caps, limits.floors))
    goal = Goal(_weights(found, arguments.weights), arguments.kl, natural)
    limits = within_span(found, limits)
    best = recommend(found, goal, limits)
    gain = None
    if not escapes(found.span, natural[None]).any():
        gain = gain_over(found, goal, best.mixture, natural)
    return documents.optimum(
        found, limits, best, natural, spread_of(found, goal, limits, best), gain, tokens,
        arguments.budget, _warnings(found, best, tokens, arguments.budget),
    )  # fmt: skip


def critical(arguments: argparse.Namespace) -> Document:
    """`mix critical`: the share of the first domain at which its loss is the base model's."""
    table = read_table(arguments.runs)
    domains = columns_of(table, arguments.domains, MIX)
    if len(domains) == 1:
        table, domains = with_rest(table, domains)
    if len(domains) != 2:
        raise table.wrong("a critical share is between two domains, the old one first: --domains")
    targets = columns_of(table, arguments.targets, LOSS)
    if len(targets) > 1:
        overall = {name: column for name, column in targets.items() if name.endswith("_weighted")}
        if arguments.targets is not None or len(overall) != 1:
            raise table.wrong("which loss is that of the old corpus? name one with --targets")
        targets = overall
    runs = _chosen_runs(table, domains, targets, arguments)
    shares, losses = runs.mixtures.values[:, 0], runs.losses[:, 0]
    found = critical_share(shares, losses, arguments.base, arguments.law)
    return documents.critical(runs, found, arguments.base, arguments.law)


def transfer(arguments: argparse.Namespace) -> Document:
    """`mix transfer`: a line through runs of the larger scale."""
    found = read_fit(arguments.fit)
    table = read_table(arguments.runs)
    there, reports = calibrate(found, _runs_of_fit(found, table, arguments))
    if arguments.output is not None:
        write_fit(there, arguments.output)
    return documents.transfer(there, reports, arguments.output)


def check(arguments: argparse.Namespace) -> Document:
    """`mix check`: predictions beside runs that took no part in the fit."""
    found = read_fit(arguments.fit)
    runs = _runs_of_fit(found, read_table(arguments.runs), arguments)
    return documents.check(found, runs, {
        "mae": arguments.max_mae, "mre": arguments.max_mre,
        "spearman": arguments.min_spearman, "coverage": arguments.min_coverage,
    })  # fmt: skip


def design(arguments: argparse.Namespace) -> Document:
    """`mix design`: the first runs for some sources, or the next ones for a fit."""
    named = _tokens(arguments.sources)
    found = None if arguments.fit is None else read_fit(arguments.fit)
    names = tuple(named) if found is None else found.domains
    if not 2 <= len(names) <= MOST_DESIGNED:
        raise Failure("sources_invalid", f"a design is for 2 to {MOST_DESIGNED} sources")
    tokens = in_order(names, named, arguments.sources.name)
    if tokens.sum() <= 0:
        raise Failure("sources_invalid", "the sources have no tokens")
    # Without a budget: one epoch of everything, so that a cap is max_epochs × the natural share.
    budget = arguments.budget or float(tokens.sum())
    kept = None
    available = tokens
    if arguments.larger_budget is not None:
        kept = available = matched_tokens(tokens, budget, arguments.larger_budget)
    limits = limits_of(names, available, budget, arguments.max_epochs)
    if found is None:
        natural = tokens / tokens.sum()
        proposals = first_design(natural, limits, arguments.runs, arguments.seed)
    else:
        proposals = next_runs(found, limits, arguments.runs)
    before = 0 if found is None else distinct(found.mixtures)
    if arguments.output is not None:
        _write_mixtures(arguments.output, names, proposals)
    return documents.design(names, proposals, before, limits, kept, arguments.output)


def _chosen_runs(
    table: Table, domains: dict[str, str], targets: dict[str, str], arguments: argparse.Namespace
) -> Runs:
    table, notes = chosen(table, domains, arguments.size, arguments.step)
    runs = runs_of(table, domains, targets)
    return Runs(runs.mixtures, runs.targets, runs.losses, runs.data_hash, (*notes, *runs.notes))


def _domains_of(found: MixtureFit, table: Table) -> dict[str, str]:
    """The fit's domains in the table, which must name no further one."""
    columns = {column.removeprefix(MIX): column for column in table.columns}
    named = [
        name if name in table.columns else columns.get(name.removeprefix(MIX), name)
        for name in found.domains
    ]
    resolved = columns_of(table, named, MIX)
    domains = dict(zip(found.domains, resolved.values(), strict=True))
    unknown = [c for c in table.columns if c.startswith(MIX) and c not in domains.values()]
    if unknown:
        raise table.wrong(f"the fit has no domain {unknown[0]}")
    return domains


def _runs_of_fit(found: MixtureFit, table: Table, arguments: argparse.Namespace) -> Runs:
    """Runs with the fit's domains, and those of its targets that the table has."""
    targets: dict[str, str] = {}
    for target in found.targets:
        for column in (target.name, LOSS + target.name):
            if column in table.columns:
                targets.setdefault(target.name, column)
    if not targets:
        raise table.wrong("the table has none of the fit's targets")
    return _chosen_runs(table, _domains_of(found, table), targets, arguments)


def _pool(arguments: argparse.Namespace, domains: tuple[str, ...]) -> Pool | None:
    """What the runs drew from, where it is told."""
    if (arguments.tokens is None) != (arguments.budget is None):
        raise Failure("refused", "--tokens and --budget of the runs go together")
    if arguments.tokens is None:
        return None
    tokens = in_order(domains, _tokens(arguments.tokens), arguments.tokens.name)
    return Pool(tokens, arguments.budget)


def _tokens(path: Path) -> dict[str, float]:
    return numbers_by_name(
        read_json(path, "sources_invalid", MAX_SOURCES_BYTES), path.name, "tokens"
    )


def _pairs(text: str | None, option: str) -> dict[str, float]:
    """`a=0.1,b=0.2` as numbers by name."""
    found = {}
    for part in text.split(",") if text else []:
        name, equals, value = part.rpartition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not np.isfinite(found[name.strip()]) or found[name.strip()] < 0:
            raise Failure("sources_invalid", f'{option}: "{part}" is not NAME=NUMBER, 0 or more')
    return found


def _weights(found: MixtureFit, text: str | None) -> Floats:
    """Weights of the targets [T], which sum to one."""
    names = [target.name for target in found.targets]
    if text is None:
        return np.full(len(names), 1 / len(names))
    weights = np.zeros(len(names))
    for name, value in _pairs(text, "--weights").items():
        known = next(
            (k for k, own in enumerate(names) if name in (own, own.removeprefix(LOSS))), None
        )
        if known is None:
            raise Failure("sources_invalid", f'--weights names "{name}", which is no target')
        weights[known] = value
    if weights.sum() <= 0:
        raise Failure("sources_invalid", "--weights are all 0")
    total: Floats = weights / weights.sum()
    return total


def _warnings(
    found: MixtureFit, best: Optimum, tokens: Floats | None, budget: float | None
) -> list[str]:
    if tokens is None or budget is None:
        return []
    return warnings_of(found.domains, found.pool, best.mixture, tokens, budget)


def _write_mixtures(path: Path, names: tuple[str, ...], proposals: list[Proposal]) -> None:
    """A table whose columns begin with mix_, as `mix fit` reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([name if name.startswith(MIX) else MIX + name for name in names])
        for proposal in proposals:
            writer.writerow([f"{share:.6f}".rstrip("0").rstrip(".") for share in proposal.mixture])
