"""Paired differences: two methods under the same seeds, and how far the mean difference can be trusted.

What a seed does to both (its start, its order of samples) cancels in the difference of a pair. The interval of the mean is Student's
("The probable error of a mean", Biometrika 1908): mean +- t * s / sqrt(n), with t of n - 1 degrees of freedom. It speaks of other seeds,
not of other data; with fewer than three pairs it would be wider than any score and is not given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import atan, cos, pi, sin, sqrt
from statistics import fmean, stdev

FEWEST = 3  # pairs, for an interval


@dataclass(frozen=True)
class Paired:
    """The mean of ``pairs`` differences and its 95 % interval; None where there are too few for one."""

    mean: float
    pairs: int
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> str:
        """What the interval allows to say, in words."""
        if self.low is None or self.high is None:
            return "too few seeds"
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "not told apart"


def paired(differences: Sequence[float], confidence: float = 0.95) -> Paired:
    """The mean of some differences (at least one) with its interval."""
    count, mean = len(differences), fmean(differences)
    if count < FEWEST:
        return Paired(mean, count)
    reach = t_quantile((1 + confidence) / 2, count - 1) * stdev(differences) / sqrt(count)
    return Paired(mean, count, mean - reach, mean + reach)


def t_quantile(probability: float, degrees: int) -> float:
    """The value below which a Student t variable of ``degrees`` >= 1 (whole) degrees of freedom lies with ``probability`` >= 0.5."""
    low, high = 0.0, 1.0
    while t_cdf(high, degrees) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def t_cdf(value: float, degrees: int) -> float:
    """The distribution function for value >= 0, a finite sum for whole degrees (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    angle = atan(value / sqrt(degrees))
    c = cos(angle)
    total, term = 0.0, 1.0 if degrees % 2 == 0 else c
    for k in range(2 if degrees % 2 == 0 else 3, degrees + 1, 2):
        total += term
        term *= c * c * (k - 1) / k
    inside = sin(angle) * total if degrees % 2 == 0 else 2 / pi * (angle + sin(angle) * total)
    return 0.5 + inside / 2
