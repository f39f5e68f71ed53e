"""Whether a network computes what the float32 reference computes, asked once when it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.architecture import Architecture
from yusa.encoder.base import Pooling
from yusa.encoder.ragged import TokenIds

_LENGTHS = (3, 17, 17, 64, 130)
"""A run of equal lengths, and three buckets of packing.py."""


class Network(Protocol):
    """What turns ids into vectors."""

    def vectors(self, ids: TokenIds, pooling: Pooling, *, normalize: bool) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two networks' unit vectors agree.

    Attributes:
        cosine: the smallest; not a number where a vector has something that is none.
        difference: the largest between two components.
        needed: what `cosine` must reach.
    """

    cosine: float
    difference: float
    needed: float

    @property
    def enough(self) -> bool:
        return self.cosine >= self.needed


def same_numbers(
    network: Network, reference: Network, architecture: Architecture, pooling: Pooling, *, half: bool
) -> Agreement:
    """Compare the vectors of a few fixed texts of random ids.

    Args:
        half: `network` computes in 16 bits, so rounding is forgiven: cosine 0.9999 instead of 0.999999.
    """
    lengths = np.minimum(_LENGTHS, architecture.positions).astype(np.int64)
    flat = np.random.default_rng(0).integers(0, architecture.vocabulary, int(lengths.sum()), dtype=np.int32)
    ids = TokenIds(flat, lengths)
    ours, theirs = (
        one.vectors(ids, pooling, normalize=True).astype(np.float64, copy=False) for one in (network, reference)
    )
    cosines = (ours * theirs).sum(axis=1) / (np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1))
    return Agreement(float(cosines.min()), float(np.abs(ours - theirs).max()), 0.9999 if half else 0.999999)
