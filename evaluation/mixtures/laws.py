"""The three data mixing laws: the loss of a mixture as a convex function of its proportions.

M4 is the law of "Data Mixing Laws" (Ye et al., arXiv 2403.16952), c + exp(t·r): its factor k is
left out, since proportions sum to one and (k e^-a, t + a) is the same law. EDP is c + (w·r)^-a,
which tends to M4 as a grows. PSLx is c + (sum_j C_j (r_j + e)^g_j)^-a; with a = 1 and e = 0 it is
the mixture term of Shukor et al. (arXiv 2507.09404), and 0 < g_j <= 1 makes it convex.

Parameters are one array; all but c and M4's t are logarithms, so that bounds are boxes and the
ridge of the fit is a square. Most methods take several sets of parameters at once, [B, p]: the
folds of a cross-validation, the resamples of a bootstrap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """Lowest and highest value of every parameter but c, whose bounds the losses set: [p] each."""

    lower: Floats
    upper: Floats


# A loss with its gradient [M] and Hessian [M, M] by the proportions.
Slope = tuple[float, Floats, Floats]


class Law(Protocol):
    """One form of law, for mixtures r [n, M] and B sets of parameters theta [B, p]."""

    name: str

    def count(self, domains: int) -> int:
        """How many parameters p the law has for M domains; the first is c."""
        ...

    def box(self, domains: int) -> Box:
        """Bounds of the parameters."""
        ...

    def ridge(self, domains: int) -> Floats:
        """The matrix of the penalty's square, for which lambda is charged: [p, p]."""
        ...

    def values(self, theta: Floats, r: Floats) -> Floats:
        """Losses in nats: [B, n]."""
        ...

    def jacobian(self, theta: Floats, r: Floats) -> tuple[Floats, Floats]:
        """Losses [B, n] and their derivatives by the parameters [B, n, p]."""
        ...

    def slope(self, theta: Floats, weights: Floats, point: Floats) -> Slope:
        """The sum of B laws, each times its weight [B], at one mixture [M]."""
        ...


def _towards_mean(size: int) -> Floats:
    """The square of the distances of `size` parameters from their mean."""
    return np.eye(size) - 1 / size


class M4:
    """c + exp(t·r): parameters c, t_1 … t_M."""

    name = "m4"

    def count(self, domains: int) -> int:
        return 1 + domains

    def box(self, domains: int) -> Box:
        far = np.full(domains, 60.0)
        return Box(np.r_[0.0, -far], np.r_[np.inf, far])

    def ridge(self, domains: int) -> Floats:
        square = np.zeros((1 + domains, 1 + domains))
        square[1:, 1:] = _towards_mean(domains)
        return square

    def values(self, theta: Floats, r: Floats) -> Floats:
        found: Floats = theta[:, :1] + np.exp(np.minimum(theta[:, 1:] @ r.T, 60.0))
        return found

    def jacobian(self, theta: Floats, r: Floats) -> tuple[Floats, Floats]:
        values = self.values(theta, r)
        found = np.ones((len(theta), len(r), theta.shape[1]))
        np.multiply((values - theta[:, :1])[:, :, None], r, out=found[:, :, 1:])
        return values, found

    def slope(self, theta: Floats, weights: Floats, point: Floats) -> Slope:
        t = theta[:, 1:]
        above = weights * np.exp(np.minimum(t @ point, 60.0))
        return float(weights @ theta[:, 0] + above.sum()), above @ t, (t.T * above) @ t


class EDP:
    """c + (w·r)^-a, the effective-data power law: parameters c, log w_1 … log w_M, log a."""

    name = "edp"

    def count(self, domains: int) -> int:
        return 2 + domains

    def box(self, domains: int) -> Box:
        far = np.full(domains, 25.0)
        return Box(np.r_[0.0, -far, math.log(0.05)], np.r_[np.inf, far, math.log(30.0)])

    def ridge(self, domains: int) -> Floats:
        square = np.zeros((2 + domains, 2 + domains))
        square[1:-1, 1:-1] = _towards_mean(domains)
        square[-1, -1] = 1.0
        return square

    def values(self, theta: Floats, r: Floats) -> Floats:
        found: Floats = (np.exp(theta[:, 1:-1]) @ r.T) ** -np.exp(theta[:, -1:])
        return theta[:, :1] + found

    def jacobian(self, theta: Floats, r: Floats) -> tuple[Floats, Floats]:
        a, w = np.exp(theta[:, -1:]), np.exp(theta[:, 1:-1])
        total = w @ r.T
        above = total**-a
        found = np.ones((len(theta), len(r), theta.shape[1]))
        np.multiply((-a * above / total)[:, :, None], r * w[:, None, :], out=found[:, :, 1:-1])
        found[:, :, -1] = -a * above * np.log(total)
        return theta[:, :1] + above, found

    def slope(self, theta: Floats, weights: Floats, point: Floats) -> Slope:
        w, a = np.exp(theta[:, 1:-1]), np.exp(theta[:, -1])
        total = w @ point
        above = weights * total**-a
        curved = (w.T * (a * (a + 1) * above / total**2)) @ w
        return float(weights @ theta[:, 0] + above.sum()), (-a * above / total) @ w, curved


class PSLx:
    """c + (sum_j C_j (r_j + e)^g_j)^-a: parameters c, log C (M), log g (M), log a, log e."""

    name = "pslx"

    def count(self, domains: int) -> int:
        return 3 + 2 * domains

    def box(self, domains: int) -> Box:
        ones = np.ones(domains)
        lower = np.r_[0.0, -25 * ones, math.log(0.02) * ones, math.log(0.05), math.log(1e-5)]
        return Box(lower, np.r_[np.inf, 25 * ones, 0 * ones, math.log(30.0), math.log(0.3)])

    def ridge(self, domains: int) -> Floats:
        square = np.zeros((self.count(domains), self.count(domains)))
        square[1 : 1 + domains, 1 : 1 + domains] = _towards_mean(domains)
        square[1 + domains : -2, 1 + domains : -2] = _towards_mean(domains)
        square[-2, -2] = 1.0
        return square

    def values(self, theta: Floats, r: Floats) -> Floats:
        log_c, g, a, e = self._parts(theta)
        terms = np.exp(log_c[:, None] + g[:, None] * np.log(r + e[:, None, None]))
        found: Floats = theta[:, :1] + terms.sum(axis=2) ** -a[:, None]
        return found

    def jacobian(self, theta: Floats, r: Floats) -> tuple[Floats, Floats]:
        log_c, g, a, e = self._parts(theta)
        domains = r.shape[1]
        moved = r + e[:, None, None]
        logs = np.log(moved)
        terms = np.exp(log_c[:, None] + g[:, None] * logs)
        total = terms.sum(axis=2)
        above = total ** -a[:, None]
        found = np.empty((len(theta), len(r), theta.shape[1]))
        found[:, :, 0] = 1.0
        by_c = found[:, :, 1 : 1 + domains]
        np.multiply(terms, (-a[:, None] * above / total)[:, :, None], out=by_c)
        by_g = by_c * g[:, None]
        np.multiply(by_g, logs, out=found[:, :, 1 + domains : 1 + 2 * domains])
        found[:, :, -2] = -a[:, None] * above * np.log(total)
        found[:, :, -1] = e[:, None] * (by_g / moved).sum(axis=2)
        return theta[:, :1] + above, found

    def slope(self, theta: Floats, weights: Floats, point: Floats) -> Slope:
        log_c, g, a, e = self._parts(theta)
        moved = point + e[:, None]
        terms = np.exp(log_c + g * np.log(moved))
        total = terms.sum(axis=1)
        above = weights * total**-a
        pull = a * above / total
        first = terms * g / moved
        curved = (first.T * (pull * (a + 1) / total)) @ first
        curved += np.diag(pull @ (first * (1 - g) / moved))
        return float(weights @ theta[:, 0] + above.sum()), -pull @ first, curved

    def _parts(self, theta: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """log C [B, M], g [B, M], a [B] and e [B]."""
        domains = (theta.shape[1] - 3) // 2
        log_c, log_g = theta[:, 1 : 1 + domains], theta[:, 1 + domains : -2]
        return log_c, np.exp(log_g), np.exp(theta[:, -2]), np.exp(theta[:, -1])


LAWS: dict[str, Law] = {law.name: law for law in (M4(), EDP(), PSLx())}
