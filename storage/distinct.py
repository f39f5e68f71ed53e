"""Sorted arrays without repetitions."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


def distinct(*arrays: NDArray[T]) -> NDArray[T]:
    """What some arrays (n,) of one type hold, each value once, ascending.

    As `np.unique` of them all, which imports `numpy.ma` and hashes what is mostly in order already: that took longer
    than the rest of a cold search, and half of a warm one's work on ids.
    """
    # Stable, because this sort is the one that takes runs in order as they are.
    values = np.sort(np.concatenate(arrays), kind="stable")
    first = np.ones(len(values), dtype=np.bool_)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return values[first]
