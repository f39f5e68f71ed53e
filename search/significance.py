"""How sure a mean and a difference of means are, over the questions asked.

Intervals are percentile bootstrap intervals of the mean over resampled questions (Efron and Tibshirani, 1993; for
search: Sakai, SIGIR 2006). Two settings are compared on the same questions by Fisher's randomisation test, which turns
the sign of each question's difference at random (Smucker, Allan and Carterette, CIKM 2007); two-sided, and exact where
the questions are so few that all signs can be tried. Both are SciPy's, with a fixed seed: the same input gives the same
answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from yusa.errors import MissingDependencyError

RESAMPLES: Final = 9_999
SEED: Final = 0
_BATCH: Final = 500

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of the questions' differences, its 95 % interval and the two-sided p-value of "there is none"."""

    mean: float
    interval: Interval
    p_value: float


def interval(values: NDArray[np.float64]) -> Interval:
    """The 95 % interval of the mean of `values`; for one value or equal ones it is that value alone.

    Args:
        values: float64 (questions,), at least one.
    """
    mean = float(values.mean())
    if len(values) < 2 or np.ptp(values) == 0.0:
        return mean, mean
    found = (
        _stats()
        .bootstrap(
            (values,), np.mean, n_resamples=RESAMPLES, batch=_BATCH, vectorized=True, method="percentile", rng=SEED
        )
        .confidence_interval
    )
    return float(found.low), float(found.high)


def difference(values: NDArray[np.float64], others: NDArray[np.float64]) -> Difference:
    """How much `values` are above `others`, question by question; both float64 (questions,)."""
    gains = values - others
    if not gains.any():
        return Difference(0.0, (0.0, 0.0), 1.0)
    tested = _stats().permutation_test(
        (gains,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, batch=_BATCH, vectorized=True, rng=SEED
    )
    return Difference(float(gains.mean()), interval(gains), float(tested.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number (Holm, 1979), in their order."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, at in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[at]))
        adjusted[at] = highest
    return adjusted


def _stats() -> Any:
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingDependencyError(
            "intervals need scipy, which is not installed; install it with: pip install 'yusa[eval]'"
        ) from error
    return stats
