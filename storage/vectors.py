"""Vectors as the bytes that the database holds, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yusa.errors import StorageError
from yusa.storage.parts import Rows
from yusa.storage.settings import Settings


def stored_type(settings: Settings) -> np.dtype[Any]:
    """The type of a vector's values as the database holds them."""
    return np.dtype(settings.vector_dtype).newbyteorder("<")


def unpack(vectors: Sequence[bytes], settings: Settings) -> Rows:
    """Stored bytes as rows (n, dimension)."""
    rows: Rows = np.frombuffer(b"".join(vectors), dtype=stored_type(settings))
    return rows.reshape(len(vectors), settings.dimension)


def packed(documents: Sequence[tuple[str, int, NDArray[np.float32]]], settings: Settings) -> list[bytes]:
    """Every vector of a batch as stored bytes, in order.

    Args:
        documents: for each its name in messages, the number of its passages, and its vectors.

    Raises:
        StorageError: vectors do not fit their document, or hold a value that cannot be stored.
    """
    for name, count, vectors in documents:
        if vectors.shape != (count, settings.dimension):
            raise StorageError(
                f"{name} was not stored: its vectors have the shape {vectors.shape}, not {(count, settings.dimension)}."
            )
    with np.errstate(over="ignore"):
        rows = np.concatenate([vectors for *_, vectors in documents]).astype(stored_type(settings))
    good = np.isfinite(rows).all(axis=1)
    if not good.all():
        owners = [name for name, count, _ in documents for _ in range(count)]
        raise StorageError(
            f"{owners[int(np.argmin(good))]} was not stored: {settings.vector_dtype} cannot hold a value of its "
            "vectors. Use an encoder that normalises them, or an index with float32 vectors."
        )
    joined, size = rows.tobytes(), settings.vector_bytes
    return [joined[start : start + size] for start in range(0, len(joined), size)]
