"""Parts: immutable runs of vectors with their ids, in memory or mapped from a segment, searched exactly.

A part's vectors are held by a FAISS index whose codes are the very bytes the database holds, searched by position.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from yusa.storage.files import DamagedFileError, Sink
from yusa.storage.settings import Settings, VectorType

if TYPE_CHECKING:
    import faiss

Rows = NDArray[Any]
Ids = NDArray[np.int64]
Flags = NDArray[np.bool_]

VECTORS_SUFFIX = "faiss"
IDS_SUFFIX = "ids"
OWNERS_SUFFIX = "owners"

_SHARED_SCORES = 1_000_000
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _library() -> Any:
    """FAISS, loaded at the first part; untyped, as its stubs leave out what it adds to its classes in Python."""
    import faiss

    return faiss


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Vectors of ascending ids.

    Attributes:
        ids: int64 (n,), ascending.
        owners: int64 (n,), keys of the documents the vectors belong to.
        rows: (n, dimension) as stored: a view of what `index` holds.
        live: bool (n,), or None if all are live.
        segment: number of the segment it was read from or stands for; None in the tail.
        postings: the segment's keyword postings, not verified yet; mapped so that they outlive the file's name.
    """

    ids: Ids
    owners: Ids
    rows: Rows
    index: faiss.IndexFlatCodes
    live: Flags | None = None
    segment: int | None = None
    postings: mmap.mmap | None = None

    @property
    def live_count(self) -> int:
        return len(self.ids) if self.live is None else int(np.count_nonzero(self.live))

    def positions(self, vector_ids: Ids) -> tuple[NDArray[np.int64], Flags]:
        """For sorted ids their positions here, and which of them are here and live."""
        positions = np.searchsorted(self.ids, vector_ids)
        positions[positions == len(self.ids)] = 0
        found: Flags = self.ids[positions] == vector_ids if len(self.ids) else np.zeros(len(vector_ids), dtype=np.bool_)
        if self.live is not None:
            found &= self.live[positions]
        return positions, found

    def without(self, vector_ids: Ids) -> Part:
        """The part with some (sorted) ids dead; ids that are not here are ignored."""
        positions, found = self.positions(vector_ids)
        if not found.any():
            return self
        live = np.ones(len(self.ids), dtype=np.bool_) if self.live is None else self.live.copy()
        live[positions[found]] = False
        return replace(self, live=live)

    def among(self, vector_ids: Ids) -> Flags:
        """bool (n,): live and among the sorted ids given."""
        flags = np.zeros(len(self.ids), dtype=np.bool_)
        low, high = np.searchsorted(vector_ids, [self.ids[0], self.ids[-1] + 1]) if len(self.ids) else (0, 0)
        positions, found = self.positions(vector_ids[low:high])
        flags[positions[found]] = True
        return flags

    def search(
        self, queries: NDArray[np.float32], count: int, flags: Flags | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores and positions (queries, count) of the nearest rows among `flags` (None: all), -1 where exhausted.

        FAISS's own score may differ from the exact one in the last bits and its order among equals is its own.
        """
        # One thread a query, as two on one scan are slower than one, and no second thread for less than some 50 ms of
        # work, as threads that wait for each other take others' time. The setting belongs to the calling thread and to
        # whatever else it calls with the same OpenMP, torch among them, so it is put back.
        large = len(queries) * len(self.ids) >= _SHARED_SCORES
        faiss = _library()
        before = faiss.omp_get_max_threads()
        parameters = None
        if flags is not None:
            selector = faiss.IDSelectorBitmap(np.packbits(flags, bitorder="little"))
            parameters = faiss.SearchParameters(sel=selector)
        faiss.omp_set_num_threads(min(len(queries), _CORES) if large else 1)
        try:
            scores, positions = self.index.search(queries, count, params=parameters)
        finally:
            faiss.omp_set_num_threads(before)
        return scores, positions


def new_index(dimension: int, vector_dtype: VectorType) -> faiss.IndexFlatCodes:
    """An empty exact inner-product index whose codes are the stored bytes."""
    library = _library()
    index: faiss.IndexFlatCodes
    if vector_dtype == "float16":
        index = library.IndexScalarQuantizer(dimension, library.ScalarQuantizer.QT_fp16, library.METRIC_INNER_PRODUCT)
    else:
        index = library.IndexFlat(dimension, library.METRIC_INNER_PRODUCT)
    return index


def add_rows(index: faiss.IndexFlatCodes, rows: Rows) -> None:
    """Append vectors to an index, byte for byte."""
    if len(rows):
        index.add_sa_codes(np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1))


def rows_of(index: faiss.IndexFlatCodes, vector_dtype: VectorType) -> Rows:
    """A view of an index's vectors; it lives as long as the index."""
    if index.ntotal == 0:
        return np.zeros((0, index.d), dtype=vector_dtype)
    codes = _library().rev_swig_ptr(index.codes.data(), index.ntotal * index.code_size)
    rows: Rows = codes.view(vector_dtype).reshape(index.ntotal, index.d)
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """What the database holds of a range of ids.

    Attributes:
        ids, owners: see `Part`.
        index: holds the vectors.
    """

    ids: Ids
    owners: Ids
    index: faiss.IndexFlatCodes

    def part(self, vector_dtype: VectorType, *, segment: int | None = None) -> Part:
        """The part they make."""
        return Part(self.ids, self.owners, rows_of(self.index, vector_dtype), self.index, segment=segment)


def joined(parts: list[Part], settings: Settings) -> Part:
    """One part in memory with the live rows of neighbouring parts."""
    ids = [part.ids if part.live is None else part.ids[part.live] for part in parts]
    owners = [part.owners if part.live is None else part.owners[part.live] for part in parts]
    index = new_index(settings.dimension, settings.vector_dtype)
    for part in parts:
        add_rows(index, part.rows if part.live is None else part.rows[part.live])
    return Vectors(np.concatenate(ids), np.concatenate(owners), index).part(settings.vector_dtype)


def write_vectors(index: faiss.IndexFlatCodes, sink: Sink) -> None:
    """Write an index in FAISS's format."""
    _library().write_index(index, _library().PyCallbackIOWriter(sink))


def write_ids(ids: Ids, sink: Sink) -> None:
    """Write ids or owners as little-endian int64."""
    sink(ids.astype("<i8").tobytes())


def load_part(vectors: Path, ids: Path, owners: Path, count: int, settings: Settings, *, segment: int) -> Part:
    """Map a segment's files, which must have been verified.

    Raises:
        FileNotFoundError: a file is gone.
        DamagedFileError: the files do not hold `count` vectors of these settings.
    """
    numbers, keys = (np.fromfile(path, dtype="<i8").astype(np.int64, copy=False) for path in (ids, owners))
    if not vectors.exists():
        raise FileNotFoundError(vectors)
    try:
        index = _read_index(vectors)
    except RuntimeError as error:
        raise DamagedFileError(f"{vectors.name} cannot be read by FAISS ({error})") from error
    faiss, expected = _library(), new_index(settings.dimension, settings.vector_dtype)
    kind = faiss.IndexScalarQuantizer if settings.vector_dtype == "float16" else faiss.IndexFlat
    right = isinstance(index, kind) and all(
        getattr(index, name) == getattr(expected, name) for name in ("d", "code_size", "metric_type")
    )
    counts = {index.ntotal, len(numbers), len(keys)}
    if not right or counts != {count} or not bool(np.all(np.diff(numbers) > 0)):
        raise DamagedFileError(f"{vectors.name} does not hold the {count} vectors it should")
    return Vectors(numbers, keys, index).part(settings.vector_dtype, segment=segment)


def read_ahead(rows: Rows) -> None:
    """Have what is mapped read in large pieces when it is scanned.

    FAISS asks the system for single pages, so that the first scan of a file that is not in memory took ten times as
    long. This is a hint: where it cannot be given, nothing else changes.
    """
    if sys.platform != "linux":
        return
    start = rows.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE
    size = rows.ctypes.data + rows.nbytes - start
    ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_NORMAL)


def _read_index(path: Path) -> Any:
    faiss = _library()
    if os.name == "posix" and sys.byteorder == "little":
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    # FAISS opens paths in the system's code page on Windows; Python knows better.
    with path.open("rb") as file:
        return faiss.read_index(faiss.PyCallbackIOReader(file.read))
