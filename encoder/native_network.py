"""The forward pass in C (`native/forward.c`): float32 on a CPU, for one query as for a whole corpus.

Weights lie in memory in the order in which they are read; nothing is computed on its own that can be done while its
rows are in the cache; a short text's weights are asked of memory ahead of their use. `available` says whether it can be
used: where it was not built or the CPU is too old, the other networks serve.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.architecture import Architecture
from yusa.encoder.base import Pooling
from yusa.encoder.ragged import TokenIds

Floats = NDArray[np.float32]
Done = Callable[[NDArray[np.int64], int], None]
"""Called with the rows finished and their tokens."""

_WIDTH = 16
"""Columns of a panel (`COLUMNS` in simd.h)."""
_TOKENS = 96
"""Tokens per batch of one thread: its rows stay in the core's own cache, and the last batches end close together."""
_TEAM = 8
"""Threads that work on one batch together, at most: they wait for each other four times per layer."""
_TEAM_TOKENS = 384
_ACTIVATIONS = {"gelu": 1, "gelu_tanh": 2, "relu": 3, "silu": 4}
_STATES = 0
_RESULTS: dict[Pooling, int] = {"cls": 1, "mean": 2, "pooler": 3}


class _Pair(ctypes.Structure):
    _fields_ = (("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p))


class _Layer(ctypes.Structure):
    _fields_ = tuple((name, _Pair) for name in ("qkv", "out", "out_norm", "up", "down", "down_norm"))


class _Model(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_long) for name in ("layers", "heads", "size", "hidden", "inner", "embedding", "activation")),
        ("epsilon", ctypes.c_float),
        ("scale", ctypes.c_float),
        *((name, _Pair) for name in ("norm", "projection", "pooler")),
        ("layer", ctypes.POINTER(_Layer)),
    )


@cache
def _library() -> ctypes.CDLL | str:
    """The library, or why there is none."""
    files = [Path(__file__).with_name(f"_forward{suffix}") for suffix in EXTENSION_SUFFIXES]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return "the native forward pass was not built: yusa was installed without a C compiler"
    try:
        library = ctypes.CDLL(str(file))
    except OSError as error:
        return f"the native forward pass cannot be loaded: {error}"
    if not library.supported():
        return "this CPU lacks AVX2 or FMA, which the native forward pass needs"
    pointer, long = ctypes.c_void_p, ctypes.c_long
    library.pack.argtypes = (pointer, long, long, pointer)
    library.pack.restype = None
    library.forward.argtypes = (ctypes.POINTER(_Model), pointer, pointer, long, ctypes.c_int, pointer, ctypes.c_int)
    return library


def available() -> str | None:
    """None where NativeNetwork can be used, else the reason why not."""
    library = _library()
    return library if isinstance(library, str) else None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _padded(width: int) -> int:
    return -(-width // _WIDTH) * _WIDTH


class _Arena:
    """Float arrays one after another in one piece of memory, each at the start of a cache line."""

    def __init__(self, library: ctypes.CDLL, size: int) -> None:
        self._library = library
        raw = np.empty(size + _WIDTH, dtype=np.float32)
        start = -raw.ctypes.data % 64 // 4
        self._memory = raw[start : start + size]
        self._used = 0

    def take(self, size: int) -> Floats:
        part = self._memory[self._used : self._used + size]
        self._used += size
        return part

    def row(self, values: Floats) -> int:
        """The address of a copy, padded with zeros."""
        part = self.take(_padded(len(values)))
        part[: len(values)] = values
        part[len(values) :] = 0
        return part.ctypes.data

    def matrix(self, values: Floats) -> int:
        """The address of (out, in) weights in panels."""
        values = np.ascontiguousarray(values, dtype=np.float32)
        part = self.take(_padded(len(values)) * values.shape[1])
        self._library.pack(values.ctypes.data, *values.shape, part.ctypes.data)
        return part.ctypes.data


class NativeNetwork:
    """A body (and pooler, where there is one) in float32 on the CPU; safe to share by threads.

    Args:
        tensors: of the checkpoint, by yusa's names. The matrices are copied, in the order in which they are read.
        threads: default: the cores this process may use.

    Raises:
        RuntimeError: it is not available.
    """

    def __init__(
        self, architecture: Architecture, tensors: Mapping[str, NDArray[Any]], *, threads: int | None = None
    ) -> None:
        library = _library()
        if isinstance(library, str):
            raise RuntimeError(library)
        self.architecture = architecture
        self.threads = threads or _cores()
        self._library = library

        def own(name: str) -> Floats:
            return tensors[name].astype(np.float32, copy=False)

        # Kept as they are stored: of the largest table by far a query needs a dozen rows.
        self._word = tensors["embeddings.word"]
        self._position = own("embeddings.position")
        if architecture.token_types:
            self._position = self._position + own("embeddings.type")[0]
        self._model, self._arena = _packed(library, architecture, own, pooler="pooler.weight" in tensors)

    def vectors(self, ids: TokenIds, pooling: Pooling, *, normalize: bool, done: Done | None = None) -> Floats:
        """float32 (texts, hidden), in the order of the texts.

        Raises:
            ValueError: pooling "pooler" without one.
        """
        if pooling == "pooler" and not self._model.pooler.weight:
            raise ValueError("these tensors have no pooler")
        vectors = np.empty((len(ids), self.architecture.hidden), dtype=np.float32)

        def finished(rows: NDArray[np.int64], found: Floats) -> None:
            vectors[rows] = found
            if done is not None:
                done(rows, int(ids.lengths[rows].sum()))

        self._each(ids, _RESULTS[pooling], finished)
        if normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
        return vectors

    def hidden(self, ids: TokenIds) -> list[Floats]:
        """The last hidden state of each text, float32 (its tokens, hidden)."""
        states: dict[int, Floats] = {}

        def finished(rows: NDArray[np.int64], found: Floats) -> None:
            states.update(zip(rows.tolist(), np.split(found, np.cumsum(ids.lengths[rows])[:-1]), strict=True))

        self._each(ids, _STATES, finished)
        return [states[row] for row in range(len(ids))]

    def _each(self, ids: TokenIds, result: int, finished: Callable[[NDArray[np.int64], Floats], None]) -> None:
        """Compute all texts; `finished` is called on this thread."""
        team = min(self.threads, _TEAM)
        if len(ids) == 1:
            finished(np.arange(1), self._forward(ids, result, team))
            return
        # The longest first, so that the threads have little left when the first of them has nothing more to do.
        order = np.argsort(-ids.lengths, kind="stable")
        batches = list(_batches(ids.lengths, order, _TOKENS))
        if len(batches) < 2 * team:
            for rows in _batches(ids.lengths, order, _TEAM_TOKENS):
                finished(rows, self._forward(ids.take(rows), result, team))
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(self.threads) as threads:
            # A result is let go as soon as it was handed on.
            futures = deque(threads.submit(self._taken, ids, rows, result) for rows in batches)
            try:
                for rows in batches:
                    finished(rows, futures.popleft().result())
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _taken(self, ids: TokenIds, rows: NDArray[np.int64], result: int) -> Floats:
        return self._forward(ids.take(rows), result, 1)

    def _forward(self, ids: TokenIds, result: int, threads: int) -> Floats:
        starts = ids.offsets[:-1]
        positions = np.arange(len(ids.flat)) - np.repeat(starts, ids.lengths) + self.architecture.position_offset
        x = self._word[ids.flat].astype(np.float32, copy=False) + self._position[positions]
        found = np.empty((len(ids.flat if result == _STATES else ids), self.architecture.hidden), dtype=np.float32)
        status = self._library.forward(
            self._model, x.ctypes.data, ids.offsets.ctypes.data, len(ids), result, found.ctypes.data, threads
        )
        if status:
            raise MemoryError(f"no memory for a forward pass of {len(ids.flat)} tokens")
        return found


def _batches(lengths: NDArray[np.int64], order: NDArray[np.int64], tokens: int) -> Iterator[NDArray[np.int64]]:
    """Parts of `order` with as many texts as have `tokens` together, at least one."""
    ends = np.concatenate([[0], np.cumsum(lengths[order])])
    start = 0
    while start < len(order):
        stop = max(int(np.searchsorted(ends, ends[start] + tokens, side="right")) - 1, start + 1)
        yield order[start:stop]
        start = stop


def _packed(
    library: ctypes.CDLL, architecture: Architecture, own: Callable[[str], Floats], *, pooler: bool
) -> tuple[_Model, _Arena]:
    """The model as the library wants it, and what keeps its memory."""
    hidden, heads = architecture.hidden, architecture.heads
    size = hidden // heads
    wide = heads * _padded(size)
    h, inner = _padded(hidden), _padded(architecture.intermediate)
    layer_size = 3 * wide * (hidden + 1) + h * (wide + 6) + inner * (hidden + 1) + h * architecture.intermediate
    total = architecture.layers * layer_size + 2 * _padded(architecture.embedding)
    total += h * (architecture.embedding + 1) + (h * (hidden + 1) if pooler else 0)
    arena = _Arena(library, total)

    def norm(name: str) -> _Pair:
        return _Pair(arena.row(own(f"{name}.weight")), arena.row(own(f"{name}.bias")))

    def linear(name: str) -> _Pair:
        return _Pair(arena.matrix(own(f"{name}.weight")), arena.row(own(f"{name}.bias")))

    def by_head(name: str) -> Floats:
        """(heads, size, in) weights or (heads, size) biases of the product `name`, each head padded."""
        values = own(name)
        values = values.reshape(heads, size, *values.shape[1:])
        if _padded(size) == size:
            return values
        return np.pad(values, [(0, 0), (0, _padded(size) - size), *[(0, 0)] * (values.ndim - 2)])

    def layer(index: int) -> _Layer:
        name = f"layers.{index}"
        parts = ("query", "key", "value")
        weights = [by_head(f"{name}.{part}.weight") for part in parts]
        addresses = [arena.matrix(weight[head]) for head in range(heads) for weight in weights]
        biases = np.stack([by_head(f"{name}.{part}.bias") for part in parts], axis=1)
        qkv = _Pair(addresses[0], arena.row(biases.reshape(-1)))
        weight = own(f"{name}.attention_output.weight")
        if wide != hidden:
            padding = [(0, 0), (0, 0), (0, _padded(size) - size)]
            weight = np.pad(weight.reshape(hidden, heads, size), padding).reshape(hidden, wide)
        out = _Pair(arena.matrix(weight), arena.row(own(f"{name}.attention_output.bias")))
        up, down = linear(f"{name}.intermediate"), linear(f"{name}.output")
        return _Layer(qkv, out, norm(f"{name}.attention_norm"), up, down, norm(f"{name}.output_norm"))

    model = _Model(
        layers=architecture.layers,
        heads=heads,
        size=size,
        hidden=hidden,
        inner=architecture.intermediate,
        embedding=architecture.embedding,
        activation=_ACTIVATIONS[architecture.activation],
        epsilon=architecture.epsilon,
        scale=size**-0.5,
        norm=norm("embeddings.norm"),
        layer=(_Layer * architecture.layers)(*(layer(index) for index in range(architecture.layers))),
    )
    if architecture.embedding != hidden:
        model.projection = linear("embeddings.projection")
    if pooler:
        model.pooler = linear("pooler")
    return model, arena
