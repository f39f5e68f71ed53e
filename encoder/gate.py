"""Whether a network computes what the float32 reference computes, asked once when it is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.architecture import Architecture
from yusa.encoder.base import Pooling
from yusa.encoder.ragged import TokenIds

_LENGTHS = (3, 17, 17, 64, 130)
"""A run of equal lengths, and four buckets of packing.py."""

# Cosine at least, difference at most. In float32 a tanh GELU instead of erf leaves a cosine of 0.9999993 but components
# 2e-4 apart (multilingual-e5-small, cls), and rounding 1e-7. In 16 bits rounding hides such a mistake: it can be told
# there only by running the same code in float32. bfloat16 has a limit of its own, as all-MiniLM-L6-v2 reaches 0.99987.
# int8 is another identity, whose loss is shown: it must only not be nonsense. It came to 0.994 (all-MiniLM-L6-v2) and
# more, and to 0.79 (multilingual-e5-small) and less where the lower end of each token's range was forgotten.
_LIMITS = {
    "float32": (0.999999, 1e-5),
    "float16": (0.9999, math.inf),
    "bfloat16": (0.9995, math.inf),
    "int8": (0.9, math.inf),
}


class Network(Protocol):
    """What turns ids into vectors."""

    def vectors(self, ids: TokenIds, pooling: Pooling, *, normalize: bool) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two networks' unit vectors agree.

    Attributes:
        cosine: the smallest; NaN where a component is not finite.
        difference: the largest between two components.
        enough: whether both are within the limits of the dtype.
    """

    cosine: float
    difference: float
    enough: bool


def same_numbers(
    network: Network, reference: Network, architecture: Architecture, pooling: Pooling, *, dtype: str
) -> Agreement:
    """Compare the vectors of a few fixed texts of random ids.

    Args:
        reference: computes in float32.
        dtype: what `network` computes in, "float32", "float16", "bfloat16" or "int8".
    """
    lengths = np.minimum(_LENGTHS, architecture.positions).astype(np.int64)
    flat = np.random.default_rng(0).integers(0, architecture.vocabulary, int(lengths.sum()), dtype=np.int32)
    ids = TokenIds(flat, lengths)
    ours, theirs = (one.vectors(ids, pooling, normalize=True).astype(np.float64) for one in (network, reference))
    lengths_of_both = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosine = float(((ours * theirs).sum(axis=1) / lengths_of_both).min())
    difference = float(np.abs(ours - theirs).max())
    least, most = _LIMITS[dtype]
    return Agreement(cosine, difference, cosine >= least and difference <= most)
