"""How many pairs under the recipe in question a blended line needs: held-out error by their number.

    python -m benchmarks.transfer

DCLM's runs at 7b-1x under the official recipe take the place of a site's own pairs: each is left
out in turn, and predicted from 1b-1x by the published runs and every choice of m of the others.
"""

from __future__ import annotations

from itertools import combinations
from statistics import fmean

from evaluation.transfer.calibration import Calibration, calibrate
from evaluation.transfer.line import Interval, fit_blend


def held_out(calibration: Calibration, count: int) -> list[tuple[float, Interval]]:
    """True and predicted targets with `count` pairs at the recipe."""
    found = []
    for pair in calibration.pairs:
        rest = [other for other in calibration.pairs if other != pair]
        published = [other for other in calibration.others if other.dataset != pair.dataset]
        for own in combinations(rest, count):
            line = fit_blend(published, own)
            assert line is not None
            found.append((pair.target, line.predict(pair.source)))
    return found


def main() -> None:
    """Prints the table of docs/transfer.md."""
    calibration = calibrate("1b-1x", "7b-1x", "official")
    print("| own pairs | mean error | ± 90 % | hits |\n|---|---|---|---|")
    for count in range(len(calibration.pairs)):
        found = held_out(calibration, count)
        errors = [abs(predicted.value - true) for true, predicted in found]
        hits = sum(
            error <= predicted.half_width
            for error, (_, predicted) in zip(errors, found, strict=True)
        )
        width = fmean(predicted.half_width for _, predicted in found)
        print(f"| {count} | {fmean(errors):.4f} | {width:.3f} | {hits} of {len(found)} |")


if __name__ == "__main__":
    main()
