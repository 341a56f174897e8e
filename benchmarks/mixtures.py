"""How well the mixture laws predict on public tables: held-out error, coverage, transfer, time.

    OMP_NUM_THREADS=1 python -m benchmarks.mixtures [--regmix REGMIX/data] [--tables FOLDER]
        [--slimpajama CSV] [PART …]

REGMIX is a checkout of sail-sg/regmix (commit b004d3a). FOLDER holds tables of yegcjs/mixinglaws
(commit 8ad3e12, its data/) with columns size, run, step, mix_* and loss_*: mixinglaws_3Mix.csv and
mixinglaws_5Mix.csv. CSV is data/dmsl_llm_slimpajama.csv of
meiqwq/Explaining-Data-Mixing-Scaling-Laws (commit c2bf110). Parts: laws, runs, coverage, transfer
(RegMix); splits (tables); slimpajama. The figures are in docs/mixture-lab.md.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.mixtures.fit import MixtureFit, fit_runs
from evaluation.mixtures.fitting import fit_law
from evaluation.mixtures.laws import LAWS, Floats
from evaluation.mixtures.predict import predict_target
from evaluation.mixtures.quality import linear_prediction, quality
from evaluation.mixtures.scales_of_runs import chosen
from evaluation.mixtures.selection import CANDIDATES, clip
from evaluation.mixtures.table import Mixtures, Runs, columns_of, read_table, runs_of
from evaluation.mixtures.transfer import calibrate, line_of

SPLITS = {"mixinglaws_3Mix.csv": ("410M", 60_000, 24), "mixinglaws_5Mix.csv": ("410M", 30_000, 20)}
NAMES = ("m4", "edp", "pslx", "auto")


def regmix(folder: Path, scale: str) -> Runs:
    """The runs of a scale: train_1m, test_1m, test_60m or test_1B."""
    kind, size = scale.split("_")
    tables = []
    for name in ("mixture", "pile_loss"):
        with (folder / f"{kind}_{name}_{size}.csv").open() as file:
            header, *rows = csv.reader(file)
        tables.append((header[1:], np.array(rows, dtype=float)))
    (domains, r), (targets, y) = tables
    assert (r[:, 0] == y[:, 0]).all()
    r = r[:, 1:] / r[:, 1:].sum(axis=1, keepdims=True)
    return Runs(Mixtures(tuple(domains), r, 0), tuple(targets), y[:, 1:], "")


def some(runs: Runs, rows: NDArray[np.int64]) -> Runs:
    """Some of the runs."""
    mixtures = replace(runs.mixtures, values=runs.mixtures.values[rows])
    return replace(runs, mixtures=mixtures, losses=runs.losses[rows])


def law_values(law: str, runs: Runs, wanted: Floats) -> Floats:
    """Each target's law at its default ridge, clipped: [m, T]."""
    (candidate,) = CANDIDATES[law]
    r = runs.mixtures.values
    found = []
    for y in runs.losses.T:
        theta = fit_law(law, r, np.ascontiguousarray(y), np.ones((1, len(y))), candidate.lam)
        found.append(clip(LAWS[law].values(theta, wanted)[0], y))
    return np.array(found).T


def figures(predicted: Floats, observed: Floats) -> str:
    """Means over targets."""
    own = [quality(p, y) for p, y in zip(predicted.T, observed.T, strict=True)]
    mae, mre = np.mean([q.mae for q in own]), np.mean([q.mre for q in own])
    rank = np.mean([q.spearman or 0.0 for q in own])
    return f"MAE {mae:.3f}  MRE {mre:6.2%}  rank {rank:.4f}"


def laws(folder: Path) -> None:
    """512 runs of 1M to 256 unseen mixtures, and the ranks at 60M and 1B."""
    train, test = regmix(folder, "train_1m"), regmix(folder, "test_1m")
    larger = [regmix(folder, "test_60m"), regmix(folder, "test_1B")]
    r = train.mixtures.values
    sets = [test, *larger]

    def show(name: str, values: list[Floats], seconds: float) -> None:
        ranks = [figures(v, s.losses)[-6:] for v, s in zip(values[1:], larger, strict=True)]
        picked = values[2].argmin(axis=0), np.arange(len(train.targets))
        regret = np.mean(larger[1].losses[picked] - larger[1].losses.min(axis=0))
        line = figures(values[0], test.losses)
        print(f"{name:7} {line}  60M {ranks[0]}  1B {ranks[1]}  regret {regret:.4f}  "
              f"{seconds / len(train.targets):.3f} s a target", flush=True)  # fmt: skip

    mean = np.tile(train.losses.mean(axis=0), (len(test.losses), 1))
    print("mean    " + figures(mean, test.losses)[:23])
    show("linear", [linear_prediction(r, train.losses, s.mixtures.values) for s in sets], 0)
    for law in NAMES[:3]:
        begun = time.process_time()
        values = [law_values(law, train, np.vstack([s.mixtures.values for s in sets]))]
        ends = np.cumsum([len(s.losses) for s in sets])[:-1]
        show(law, np.split(values[0], ends), time.process_time() - begun)
    begun = time.process_time()
    fit = fit_runs(train, "auto")
    seconds = time.process_time() - begun
    show("auto", [both(fit, s.mixtures.values)[0] for s in sets], seconds)


def both(fit: MixtureFit, r: Floats) -> tuple[Floats, Floats, Floats]:
    """Values, lower and upper ends [m, T], without the guards."""
    parts = [predict_target(fit, target, r)[:3] for target in fit.targets]
    values, low, high = (np.array(part).T for part in zip(*parts, strict=True))
    return values, low, high


def runs(folder: Path) -> None:
    """How many runs a law needs: two draws each."""
    train, test = regmix(folder, "train_1m"), regmix(folder, "test_1m")
    wanted = test.mixtures.values
    for count in (24, 34, 51, 102, 170, 256, 512):
        draws = [np.random.default_rng(s).permutation(512)[:count] for s in range(2)]
        shown = []
        for law in ("linear", "m4", "edp", "pslx"):
            own = []
            for rows in draws:
                part = some(train, rows)
                values = (
                    linear_prediction(part.mixtures.values, part.losses, wanted)
                    if law == "linear" else law_values(law, part, wanted)
                )  # fmt: skip
                each = [quality(p, y) for p, y in zip(values.T, test.losses.T, strict=True)]
                own.append(
                    [np.mean([q.mre for q in each]), np.mean([q.spearman or 0.0 for q in each])]
                )
            mre, rank = np.mean(own, axis=0)
            shown.append(f"{law} {mre:.2%}/{rank:.3f}")
        print(f"{count:4} runs  " + "  ".join(shown), flush=True)


def coverage(folder: Path) -> None:
    """Of the 90 % intervals from few runs on 256 unseen mixtures; three draws, seven targets."""
    train, test = regmix(folder, "train_1m"), regmix(folder, "test_1m")
    chosen_targets = np.arange(0, 13, 2)
    for count in (34, 68, 170):
        for law in ("pslx", "m4"):
            own = []
            for seed in range(3):
                part = some(train, np.random.default_rng(seed).permutation(512)[:count])
                names = tuple(part.targets[k] for k in chosen_targets)
                part = replace(part, targets=names, losses=part.losses[:, chosen_targets])
                _, low, high = both(fit_runs(part, law), test.mixtures.values)
                y = test.losses[:, chosen_targets]
                own.append([((low <= y) & (y <= high)).mean(), (high - low).mean()])
            covered, width = np.mean(own, axis=0)
            print(f"{count:4} runs  {law:5} coverage {covered:.3f}  width {width:.3f}", flush=True)


def transfer(folder: Path) -> None:
    """170 runs of 1M, a line through k of 64 runs of 1B; errors on the others, 40 draws."""
    train, large = regmix(folder, "train_1m"), regmix(folder, "test_1B")
    train = some(train, np.random.default_rng(1).permutation(512)[:170])
    _lines(train, large)
    fit = fit_runs(train, "edp")
    for k in (3, 4, 8, 16):
        covered = []
        for seed in range(40):
            order = np.random.default_rng(seed).permutation(64)
            there, _ = calibrate(fit, some(large, order[:k]))
            far = some(large, order[k:])
            _, low, high = both(there, far.mixtures.values)
            covered.append(((low <= far.losses) & (far.losses <= high)).mean())
        print(f"edp   k={k} Student's intervals hold {np.mean(covered):.3f}", flush=True)


def slimpajama(path: Path) -> None:
    """122M to 1.24B on SlimPajama: a table whose columns are weight_*, *_loss, model_size."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    domains = [name for name in rows[0] if name.startswith("weight_")]
    targets = [n for n in rows[0] if n.endswith("_loss") and all(row[n] for row in rows)]

    def scale(size: float, tokens: float) -> Runs:
        found = {
            tuple(round(float(row[name]), 6) for name in domains): [float(row[n]) for n in targets]
            for row in rows
            if float(row["model_size"]) == size and float(row["n_tokens"]) == tokens
        }
        r = np.array(list(found))
        mixtures = Mixtures(tuple(domains), r / r.sum(axis=1, keepdims=True), 0)
        return Runs(mixtures, tuple(targets), np.array(list(found.values())), "")

    small, large = scale(122e6, 20e9), scale(1.235e9, 46.08e9)
    seen = {tuple(r) for r in np.round(large.mixtures.values, 5)}
    other = [k for k, r in enumerate(np.round(small.mixtures.values, 5)) if tuple(r) not in seen]
    print(f"{len(other)} runs of 122M, {len(large.losses)} of 1.24B, {len(targets)} targets")
    _lines(some(small, np.array(other)), large)


def _lines(train: Runs, large: Runs) -> None:
    """Errors of a line through k larger runs, on the other ones; 40 draws."""
    variances = train.losses.var(axis=0)
    y = large.losses
    for law in ("pslx", "m4"):
        x = law_values(law, train, large.mixtures.values)
        shown = [f"uncalibrated {np.mean(np.abs(x / y - 1)):.1%}"]
        for k in (1, 2, 4, 8):
            errors = []
            for seed in range(40):
                order = np.random.default_rng(seed).permutation(len(y))
                near, far = order[:k], order[k:]
                for t in range(y.shape[1]):
                    line = line_of(x[near, t], y[near, t], float(variances[t]))
                    there = line.intercept + line.slope * x[far, t]
                    errors.append(np.mean(np.abs(there / y[far, t] - 1)))
            shown.append(f"k={k} {np.mean(errors):.2%}")
        print(f"{law:5} " + "  ".join(shown), flush=True)


def splits(folder: Path) -> None:
    """The authors' tables, 20 random splits, every target: error, rank, coverage, width."""
    for name, (size, step, count) in SPLITS.items():
        table = read_table(folder / name)
        domains, targets = columns_of(table, None, "mix_"), columns_of(table, None, "loss_")
        targets.pop("loss_pile_weighted", None)
        table, _ = chosen(table, domains, size, step)
        every = runs_of(table, domains, targets)
        for law in NAMES:
            own = []
            begun = time.process_time()
            for seed in range(20):
                order = np.random.default_rng(seed).permutation(len(every.losses))
                held = some(every, order[count:])
                values, low, high = both(
                    fit_runs(some(every, order[:count]), law), held.mixtures.values
                )
                y = held.losses
                each = [quality(p, o) for p, o in zip(values.T, y.T, strict=True)]
                own.append([
                    np.mean([q.mre for q in each]), np.mean([q.spearman or 0.0 for q in each]),
                    ((low <= y) & (y <= high)).mean(), (high - low).mean(),
                ])  # fmt: skip
            mre, rank, covered, width = np.mean(own, axis=0)
            print(f"{name} {count} fit  {law:5} MRE {mre:.2%}  rank {rank:.3f}  coverage "
                  f"{covered:.3f}  width {width:.3f}  "
                  f"{(time.process_time() - begun) / 20:.2f} s", flush=True)  # fmt: skip


def main() -> None:
    """Runs the parts asked for whose data are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regmix", type=Path)
    parser.add_argument("--tables", type=Path)
    parser.add_argument("--slimpajama", type=Path)
    parser.add_argument("parts", nargs="*")
    arguments = parser.parse_args()
    parts = {
        "laws": (laws, arguments.regmix),
        "runs": (runs, arguments.regmix),
        "coverage": (coverage, arguments.regmix),
        "transfer": (transfer, arguments.regmix),
        "slimpajama": (slimpajama, arguments.slimpajama),
        "splits": (splits, arguments.tables),
    }
    for name in arguments.parts or parts:
        run, data = parts[name]
        if data is not None:
            print(f"-- {name}", flush=True)
            run(data)


if __name__ == "__main__":
    main()
