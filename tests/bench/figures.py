"""Medians, spreads, percentiles and slopes of what was measured. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


def median(numbers: Sequence[float]) -> float:
    """Return the middle one."""
    return statistics.median(numbers)


def spread(numbers: Sequence[float], digits: int = 1) -> str:
    """Print median, lowest and highest; one number alone where there is but one."""
    if len(numbers) == 1:
        return f"{numbers[0]:.{digits}f}"
    return f"{median(numbers):.{digits}f} ({min(numbers):.{digits}f} to {max(numbers):.{digits}f})"


def percentile(numbers: Sequence[float], percent: float) -> float:
    """Return the smallest number that at least so many percent do not exceed."""
    ordered = sorted(numbers)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass(frozen=True)
class Slope:
    """A straight line through points, by least squares.

    Args:
        per: growth of y for each 1 of x.
        doubt: three standard errors; takes the points for independent of each other.
        level: y of the line in the middle of the points.
    """

    per: float
    doubt: float
    level: float

    @property
    def is_nothing(self) -> bool:
        """Tell whether a slope of 0 would explain the points as well."""
        return abs(self.per) <= self.doubt


def slope(xs: Sequence[float], ys: Sequence[float]) -> Slope:
    """Fit a straight line to at least three points."""
    middle, level = statistics.fmean(xs), statistics.fmean(ys)
    wide = sum((x - middle) ** 2 for x in xs)
    per = sum((x - middle) * (y - level) for x, y in zip(xs, ys, strict=True)) / wide
    rest = sum((y - level - per * (x - middle)) ** 2 for x, y in zip(xs, ys, strict=True))
    return Slope(per, 3 * math.sqrt(rest / (len(xs) - 2) / wide), level)
