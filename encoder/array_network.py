"""The forward pass in NumPy: a few short texts in a process that has not imported torch.

Importing torch takes 1.4 s on two cores, a query of twelve tokens 5 ms. So the first queries of a process, and all of a
process that has no more than that to encode, are computed here, with the weights mapped where they lie. The numbers are
float32 and the same to 2e-6 as the torch network's, for which this one is the reference (`encoder/gate.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.architecture import Architecture
from yusa.encoder.base import Done, Pooling
from yusa.encoder.ragged import TokenIds

Floats = NDArray[np.float32]

_TOKENS = 1024
"""Tokens per pass; bounds the memory of the widest product."""
_SETTLED = 4
"""Calls after which the matrices are laid out for speed: it takes as long as ten queries."""

# erfc(z) = t (a₁ + t (a₂ + …)) exp(-z²) with t = 1 / (1 + p z), to 1.5e-7: Abramowitz and Stegun 1964, 7.1.26.
_ERFC = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_ERFC_P = 0.3275911


def gelu(x: Floats) -> Floats:
    """x Φ(x), Φ of the normal distribution by the error function (Hendrycks and Gimpel 2016), not by tanh."""
    size = np.abs(x)
    t = size * np.float32(_ERFC_P * 0.5**0.5)
    t += 1
    np.reciprocal(t, out=t)
    # Half of erfc, which is what Φ lacks to 1, in the tail where it is small, so that nothing is lost to rounding.
    tail = t * np.float32(0.5 * _ERFC[0])
    for coefficient in _ERFC[1:]:
        tail += np.float32(0.5 * coefficient)
        tail *= t
    falling = x * x
    falling *= np.float32(-0.5)
    tail *= np.exp(falling, out=falling)
    tail *= size
    value: Floats = np.maximum(x, 0)
    value -= tail
    return value


def _gelu_tanh(x: Floats) -> Floats:
    value = x * x * x
    value *= np.float32(0.044715)
    value += x
    value *= np.float32((2 / np.pi) ** 0.5)
    np.tanh(value, out=value)
    value += 1
    value *= x
    value *= np.float32(0.5)
    return value


def _silu(x: Floats) -> Floats:
    # e^-x overflows to infinity for x below -88, where x / infinity is the right limit.
    with np.errstate(over="ignore"):
        divisor: Floats = 1 + np.exp(-x)
    return x / divisor


_ACTIVATE: dict[str, Callable[[Floats], Floats]] = {
    "gelu": gelu,
    "gelu_tanh": _gelu_tanh,
    "relu": lambda x: np.maximum(x, 0),
    "silu": _silu,
}


@dataclass(frozen=True, slots=True)
class _Linear:
    """x W + b with W (in, out)."""

    weight: Floats
    bias: Floats

    def __call__(self, x: Floats) -> Floats:
        product: Floats = x @ self.weight
        product += self.bias
        return product

    def settled(self) -> _Linear:
        """The same with its rows one after another, which makes products of a few rows up to 1.4 times as fast."""
        return _Linear(np.ascontiguousarray(self.weight), self.bias)


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Floats
    bias: Floats
    epsilon: np.float32

    def __call__(self, x: Floats) -> Floats:
        """In place."""
        width = np.float32(x.shape[1])
        x -= np.add.reduce(x, axis=1, keepdims=True) / width
        variance = np.einsum("ij,ij->i", x, x) / width
        x *= (1 / np.sqrt(variance + self.epsilon))[:, None]
        x *= self.weight
        x += self.bias
        return x


@dataclass(frozen=True, slots=True)
class _Layer:
    query: _Linear
    key: _Linear
    value: _Linear
    attention_output: _Linear
    attention_norm: _Norm
    intermediate: _Linear
    output: _Linear
    output_norm: _Norm

    def settled(self) -> _Layer:
        return _Layer(
            self.query.settled(),
            self.key.settled(),
            self.value.settled(),
            self.attention_output.settled(),
            self.attention_norm,
            self.intermediate.settled(),
            self.output.settled(),
            self.output_norm,
        )


class ArrayNetwork:
    """A body (and pooler, where there is one) in float32 on the CPU; safe to share by threads.

    Args:
        tensors: of the checkpoint, by yusa's names; those in float32 are used where they are.
    """

    def __init__(self, architecture: Architecture, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.architecture = architecture
        self.tokens = _TOKENS
        self._calls = 0
        self._settling = threading.Lock()

        def own(name: str) -> Floats:
            return tensors[name].astype(np.float32, copy=False)

        def linear(name: str) -> _Linear:
            return _Linear(own(f"{name}.weight").T, own(f"{name}.bias"))

        def norm(name: str) -> _Norm:
            return _Norm(own(f"{name}.weight"), own(f"{name}.bias"), np.float32(architecture.epsilon))

        # Kept as they are stored: of the largest table by far a query needs a dozen rows.
        self._word = tensors["embeddings.word"]
        self._position = own("embeddings.position")
        if architecture.token_types:
            self._position = self._position + own("embeddings.type")[0]
        self._norm = norm("embeddings.norm")
        self._projection = linear("embeddings.projection") if architecture.embedding != architecture.hidden else None
        self._layers = [
            _Layer(
                query=linear(f"layers.{index}.query"),
                key=linear(f"layers.{index}.key"),
                value=linear(f"layers.{index}.value"),
                attention_output=linear(f"layers.{index}.attention_output"),
                attention_norm=norm(f"layers.{index}.attention_norm"),
                intermediate=linear(f"layers.{index}.intermediate"),
                output=linear(f"layers.{index}.output"),
                output_norm=norm(f"layers.{index}.output_norm"),
            )
            for index in range(architecture.layers)
        ]
        self._pooler = linear("pooler") if "pooler.weight" in tensors else None
        self._activate = _ACTIVATE[architecture.activation]

    def vectors(self, ids: TokenIds, pooling: Pooling, *, normalize: bool, done: Done | None = None) -> Floats:
        """float32 (texts, hidden), in the order of the texts.

        Raises:
            ValueError: pooling "pooler" without one.
        """
        vectors = np.empty((len(ids), self.architecture.hidden), dtype=np.float32)
        for rows in self._batches(ids):
            batch = ids.take(rows)
            vectors[rows] = self._pooled(batch, pooling)
            if done is not None:
                done(rows, len(batch.flat))
        if normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
        return vectors

    def hidden(self, ids: TokenIds) -> list[Floats]:
        """The last hidden state of each text, float32 (its tokens, hidden)."""
        found: list[Floats] = []
        for rows in self._batches(ids):
            batch = ids.take(rows)
            found += np.split(self._states(batch, first_only=False), batch.offsets[1:-1])
        return found

    def _batches(self, ids: TokenIds) -> list[NDArray[np.int64]]:
        """Rows in their order, as many as have `tokens` together, at least one."""
        batches, start = [], 0
        while start < len(ids):
            stop = int(np.searchsorted(ids.offsets, ids.offsets[start] + self.tokens, side="right")) - 1
            stop = max(stop, start + 1)
            batches.append(np.arange(start, stop))
            start = stop
        return batches

    def _pooled(self, ids: TokenIds, pooling: Pooling) -> Floats:
        if pooling == "mean":
            states = self._states(ids, first_only=False)
            sums: Floats = np.add.reduceat(states, ids.offsets[:-1], axis=0)
            sums /= ids.lengths[:, None].astype(np.float32)
            return sums
        vectors = self._states(ids, first_only=True)
        if pooling == "cls":
            return vectors
        if self._pooler is None:
            raise ValueError("these tensors have no pooler")
        pooled: Floats = np.tanh(self._pooler(vectors))
        return pooled

    def _states(self, ids: TokenIds, *, first_only: bool) -> Floats:
        """The last hidden state, (tokens, hidden), or of the first token of each text alone, (texts, hidden).

        Every other token matters to that one in the last layer by its key and value only.
        """
        self._settle()
        starts = ids.offsets[:-1]
        positions = np.arange(len(ids.flat)) - np.repeat(starts, ids.lengths) + self.architecture.position_offset
        x = self._word[ids.flat].astype(np.float32, copy=False) + self._position[positions]
        x = self._norm(x)
        if self._projection is not None:
            x = self._projection(x)
        for number, layer in enumerate(self._layers, 1):
            cut = first_only and number == len(self._layers)
            asking = x[starts] if cut else x
            attended = self._attention(layer.query(asking), layer.key(x), layer.value(x), ids.offsets, cut=cut)
            attended = layer.attention_output(attended)
            attended += asking
            x = layer.attention_norm(attended)
            inner = layer.output(self._activate(layer.intermediate(x)))
            inner += x
            x = layer.output_norm(inner)
        return x

    def _attention(self, query: Floats, key: Floats, value: Floats, offsets: NDArray[np.int64], *, cut: bool) -> Floats:
        """Softmax(q kᵀ / √size) v within each text; `cut`: one query per text."""
        heads, size = self.architecture.heads, self.architecture.hidden // self.architecture.heads
        query *= np.float32(size**-0.5)
        query, key, value = (part.reshape(-1, heads, size).transpose(1, 0, 2) for part in (query, key, value))
        out = np.empty((query.shape[1], heads, size), dtype=np.float32)
        for text, (start, stop) in enumerate(pairwise(offsets.tolist())):
            own = slice(text, text + 1) if cut else slice(start, stop)
            weights = query[:, own] @ key[:, start:stop].transpose(0, 2, 1)
            weights -= np.maximum.reduce(weights, axis=-1, keepdims=True)
            np.exp(weights, out=weights)
            weights /= np.add.reduce(weights, axis=-1, keepdims=True)
            out[own] = (weights @ value[:, start:stop]).transpose(1, 0, 2)
        return out.reshape(len(out), heads * size)

    def _settle(self) -> None:
        if self._calls > _SETTLED:
            return
        with self._settling:
            self._calls += 1
            if self._calls == _SETTLED:
                self._layers = [layer.settled() for layer in self._layers]
