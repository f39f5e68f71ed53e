"""The forward pass: BERT-family bodies over batches without padding.

A batch is one flat (tokens, hidden) tensor in which texts stand one after another, sorted by length, so that texts of
equal length form a run. Everything but attention works on tokens and never sees where a text ends; attention works
run by run on (texts, heads, length, size) views, which need no mask. So no arithmetic is spent on padding, and a
text's vector does not depend on what it is batched with.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from yusa.encoder.architecture import Architecture
from yusa.encoder.base import Pooling

_ACTIVATE: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
}


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts packed for one pass.

    Attributes:
        ids, positions: int64 (tokens,)
        runs: (texts, length) of each stretch of equal lengths, in order.
        types: int64 (tokens,); None where every token is of type 0.
    """

    ids: Tensor
    positions: Tensor
    runs: tuple[tuple[int, int], ...]
    types: Tensor | None = None


@dataclass(frozen=True, slots=True)
class _Layer:
    qkv: tuple[Tensor, Tensor]
    attention_output: tuple[Tensor, Tensor]
    attention_norm: tuple[Tensor, Tensor]
    intermediate: tuple[Tensor, Tensor]
    output: tuple[Tensor, Tensor]
    output_norm: tuple[Tensor, Tensor]


class Network:
    """A body (and pooler, where there is one) on one device in one dtype; read-only, so threads may share it."""

    def __init__(
        self, architecture: Architecture, tensors: Mapping[str, Tensor], *, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.architecture = architecture
        self.device = device

        def own(name: str) -> Tensor:
            return tensors[name].to(device=device, dtype=dtype)

        def pair(name: str) -> tuple[Tensor, Tensor]:
            return own(f"{name}.weight"), own(f"{name}.bias")

        def fused(index: int) -> tuple[Tensor, Tensor]:
            parts = [pair(f"layers.{index}.{part}") for part in ("query", "key", "value")]
            return torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts])

        self._word = own("embeddings.word")
        # Only the second text of a pair is not of type 0, so row 0 goes into the positions once instead of into each
        # token, and what the other rows differ by is added where a batch has types.
        position = tensors["embeddings.position"].to(torch.float32)
        self._type: Tensor | None = None
        if architecture.token_types:
            types = tensors["embeddings.type"].to(torch.float32)
            position = position + types[0]
            self._type = (types - types[0]).to(device=device, dtype=dtype)
        self._position = position.to(device=device, dtype=dtype)
        self._norm = pair("embeddings.norm")
        self._projection = pair("embeddings.projection") if architecture.embedding != architecture.hidden else None
        self._layers = [
            _Layer(
                fused(index),
                *(
                    pair(f"layers.{index}.{part}")
                    for part in ("attention_output", "attention_norm", "intermediate", "output", "output_norm")
                ),
            )
            for index in range(architecture.layers)
        ]
        self._pooler = pair("pooler") if "pooler.weight" in tensors else None

    def pack(self, texts: Sequence[NDArray[np.int32]], types: Sequence[NDArray[np.int32]] | None = None) -> Batch:
        """Pack the ids (and token types) of `texts`, which must be sorted by length, special tokens included."""
        runs = tuple((len(list(group)), length) for length, group in itertools.groupby(len(text) for text in texts))
        offset = self.architecture.position_offset
        positions = [np.tile(np.arange(offset, offset + length), count) for count, length in runs]
        return Batch(
            torch.from_numpy(np.concatenate(texts).astype(np.int64)).to(self.device),
            torch.from_numpy(np.concatenate(positions)).to(self.device),
            runs,
            None if types is None else torch.from_numpy(np.concatenate(types).astype(np.int64)).to(self.device),
        )

    @torch.inference_mode()
    def hidden(self, batch: Batch) -> Tensor:
        """The last hidden state, (tokens, hidden) in the network's dtype."""
        activate = _ACTIVATE[self.architecture.activation]
        x = functional.embedding(batch.ids, self._word).add_(functional.embedding(batch.positions, self._position))
        if batch.types is not None:
            if self._type is None:
                raise ValueError("this body has no token types")
            x = x.add_(functional.embedding(batch.types, self._type))
        x = self._normalized(x, self._norm)
        if self._projection is not None:
            x = functional.linear(x, *self._projection)
        for layer in self._layers:
            attended = self._attention(functional.linear(x, *layer.qkv), batch.runs)
            x = self._normalized(functional.linear(attended, *layer.attention_output).add_(x), layer.attention_norm)
            inner = activate(functional.linear(x, *layer.intermediate))
            x = self._normalized(functional.linear(inner, *layer.output).add_(x), layer.output_norm)
        return x

    @torch.inference_mode()
    def pooled(self, batch: Batch, pooling: Pooling, *, normalize: bool) -> Tensor:
        """One float32 vector per text, (texts, hidden), on the network's device."""
        hidden = self.hidden(batch)
        parts, start = [], 0
        for count, length in batch.runs:
            run = hidden[start : start + count * length].view(count, length, -1)
            parts.append(run.float().mean(dim=1) if pooling == "mean" else run[:, 0])
            start += count * length
        vectors = torch.cat(parts)
        if pooling == "pooler":
            if self._pooler is None:
                raise ValueError("these tensors have no pooler")
            vectors = functional.linear(vectors, *self._pooler).tanh()
        vectors = vectors.float()
        return functional.normalize(vectors, dim=1) if normalize else vectors

    def _normalized(self, x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
        return functional.layer_norm(x, (x.shape[1],), *norm, self.architecture.epsilon)

    def _attention(self, qkv: Tensor, runs: tuple[tuple[int, int], ...]) -> Tensor:
        heads, hidden = self.architecture.heads, self.architecture.hidden
        size = hidden // heads
        parts, start = [], 0
        for count, length in runs:
            run = qkv[start : start + count * length].view(count, length, 3, heads, size)
            start += count * length
            query, key, value = run.permute(2, 0, 3, 1, 4).unbind(0)
            out = functional.scaled_dot_product_attention(query, key, value)
            parts.append(out.transpose(1, 2).reshape(count * length, hidden))
        return parts[0] if len(parts) == 1 else torch.cat(parts)
