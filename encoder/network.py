"""The forward pass in torch: BERT-family bodies over batches without padding.

A batch is one flat (tokens, hidden) tensor in which texts stand one after another, sorted by length, so that texts of
equal length form a run. Everything but attention works on tokens and never sees where a text ends; attention works
run by run on (texts, heads, length, size) views, which need no mask. So no arithmetic is spent on padding, and a
text's vector does not depend on what it is batched with.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from yusa.encoder.base import Done, Pooling
from yusa.encoder.batching import Batching
from yusa.encoder.body import ACTIVATE, Body, Layer, Linear
from yusa.encoder.ragged import TokenIds


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts packed for one pass.

    Attributes:
        ids, positions: int64 (tokens,)
        starts: int64 (texts,), the first token of each text.
        runs: (texts, length) of each stretch of equal lengths, in order.
        types: int64 (tokens,); None where every token is of type 0.
    """

    ids: Tensor
    positions: Tensor
    starts: Tensor
    runs: tuple[tuple[int, int], ...]
    types: Tensor | None = None


class Network:
    """A body on its device, in batches of texts of equal length; safe to share by threads."""

    def __init__(self, body: Body) -> None:
        self.architecture = body.architecture
        self.batching = Batching(body.device)
        self._body = body

    def vectors(
        self,
        ids: TokenIds,
        pooling: Pooling,
        *,
        normalize: bool,
        types: NDArray[np.int32] | None = None,
        done: Done | None = None,
    ) -> NDArray[np.float32]:
        """float32 (texts, hidden), in the order of the texts.

        Args:
            types: int32 (tokens,), token types; without them every token is of type 0.

        Raises:
            EncoderError: there is no memory for one text.
            ValueError: pooling "pooler" without one, or types for a body that has none.
        """
        vectors = np.empty((len(ids), self.architecture.hidden), dtype=np.float32)

        def step(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            pooled: NDArray[np.float32] = (
                self._pooled(self.pack(ids, rows, types), pooling, normalize=normalize).cpu().numpy()
            )
            return pooled

        for rows, tokens, part in self.batching.run(ids.lengths, step):
            vectors[rows] = part
            if done is not None:
                done(rows, tokens)
        return vectors

    def hidden(self, ids: TokenIds) -> list[NDArray[np.float32]]:
        """The last hidden state of each text, float32 (its tokens, hidden)."""
        found: dict[int, NDArray[np.float32]] = {}

        def step(rows: NDArray[np.int64]) -> list[NDArray[np.float32]]:
            states = self.states(self.pack(ids, rows)).float().cpu().numpy()
            return [part.copy() for part in np.split(states, np.cumsum(ids.lengths[rows])[:-1])]

        for rows, _, parts in self.batching.run(ids.lengths, step):
            found.update(zip(rows.tolist(), parts, strict=True))
        return [found[row] for row in range(len(ids))]

    def pack(self, ids: TokenIds, rows: NDArray[np.int64], types: NDArray[np.int32] | None = None) -> Batch:
        """The texts of `rows`, which must be sorted by length."""
        batch = ids.take(rows)
        starts = batch.offsets[:-1]
        positions = np.arange(len(batch.flat)) - np.repeat(starts, batch.lengths) + self.architecture.position_offset
        runs = tuple((len(list(run)), length) for length, run in itertools.groupby(batch.lengths.tolist()))

        def moved(values: NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(values.astype(np.int64, copy=False)).to(self._body.device)

        return Batch(
            moved(batch.flat),
            moved(positions),
            moved(starts),
            runs,
            None if types is None else moved(TokenIds(types, ids.lengths).take(rows).flat),
        )

    @torch.inference_mode()
    def states(self, batch: Batch, *, first_only: bool = False) -> Tensor:
        """The last hidden state in the body's dtype, (tokens, hidden).

        Args:
            first_only: of the first token of each text alone, (texts, hidden). In the last layer every other token
                matters to it by its key and value only, so the rest is not computed.
        """
        body, x = self._body, self._embedded(batch)
        # Reused by all layers: fresh memory of this size costs a page fault every 4 KiB.
        qkv = x.new_empty(len(x), 3 * self.architecture.hidden)
        inner = x.new_empty(len(x), self.architecture.intermediate)
        for layer in body.layers[: -1 if first_only else None]:
            attended = self._attention(_linear(x, layer.qkv, qkv), batch.runs)
            x = self._rest(x, attended, layer, inner)
        if first_only:
            layer, asking = body.layers[-1], x[batch.starts]
            (weight, bias), hidden = layer.qkv, self.architecture.hidden
            queries = functional.linear(asking, weight[:hidden], bias[:hidden])
            keys_values = functional.linear(x, weight[hidden:], bias[hidden:])
            attended = self._first_attention(queries, keys_values, batch.runs)
            x = self._rest(asking, attended, layer, inner[: len(asking)])
        return x

    def _embedded(self, batch: Batch) -> Tensor:
        """What the first layer is given, (tokens, hidden)."""
        body = self._body
        x = functional.embedding(batch.ids, body.word).add_(functional.embedding(batch.positions, body.position))
        if batch.types is not None:
            if body.type is None:
                raise ValueError("this body has no token types")
            x = x.add_(functional.embedding(batch.types, body.type))
        x = self._normalized(x, body.norm)
        return x if body.projection is None else functional.linear(x, *body.projection)

    def _pooled(self, batch: Batch, pooling: Pooling, *, normalize: bool) -> Tensor:
        """One float32 vector per text, (texts, hidden), on the body's device."""
        with torch.inference_mode():
            if pooling == "mean":
                states, parts, start = self.states(batch), [], 0
                for count, length in batch.runs:
                    run = states[start : start + count * length].view(count, length, -1)
                    parts.append(run.float().mean(dim=1))
                    start += count * length
                vectors = torch.cat(parts)
            else:
                vectors = self.states(batch, first_only=True)
                if pooling == "pooler":
                    if self._body.pooler is None:
                        raise ValueError("these tensors have no pooler")
                    vectors = functional.linear(vectors, *self._body.pooler).tanh()
                vectors = vectors.float()
            return functional.normalize(vectors, dim=1) if normalize else vectors

    def _rest(self, x: Tensor, attended: Tensor, layer: Layer, inner: Tensor) -> Tensor:
        """A layer after its attention."""
        x = self._normalized(functional.linear(attended, *layer.attention_output).add_(x), layer.attention_norm)
        widened = ACTIVATE[self.architecture.activation](_linear(x, layer.intermediate, inner))
        return self._normalized(functional.linear(widened, *layer.output).add_(x), layer.output_norm)

    def _normalized(self, x: Tensor, norm: Linear) -> Tensor:
        return functional.layer_norm(x, (x.shape[1],), *norm, self.architecture.epsilon)

    def _attention(self, qkv: Tensor, runs: tuple[tuple[int, int], ...]) -> Tensor:
        heads, hidden = self.architecture.heads, self.architecture.hidden
        parts, start = [], 0
        for count, length in runs:
            run = qkv[start : start + count * length].view(count, length, 3, heads, hidden // heads)
            start += count * length
            query, key, value = run.permute(2, 0, 3, 1, 4).unbind(0)
            out = functional.scaled_dot_product_attention(query, key, value)
            parts.append(out.transpose(1, 2).reshape(count * length, hidden))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _first_attention(self, queries: Tensor, keys_values: Tensor, runs: tuple[tuple[int, int], ...]) -> Tensor:
        """What the first token of each text attends to, (texts, hidden).

        Args:
            queries: of those tokens alone, (texts, hidden).
            keys_values: of all tokens, (tokens, 2 * hidden).
        """
        heads, hidden = self.architecture.heads, self.architecture.hidden
        size = hidden // heads
        parts, text, start = [], 0, 0
        for count, length in runs:
            query = queries[text : text + count].view(count, heads, 1, size)
            run = keys_values[start : start + count * length].view(count, length, 2, heads, size)
            key, value = run.permute(2, 0, 3, 1, 4).unbind(0)
            parts.append(functional.scaled_dot_product_attention(query, key, value).reshape(count, hidden))
            text += count
            start += count * length
        return torch.cat(parts)


def _linear(x: Tensor, linear: Linear, out: Tensor) -> Tensor:
    weight, bias = linear
    return torch.addmm(bias, x, weight.t(), out=out)
