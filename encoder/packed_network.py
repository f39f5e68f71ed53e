"""The forward pass for GPUs: BERT-family bodies over packed buffers of fixed sizes (packing.py).

Everything but attention works on tokens and never sees where a text ends. Vectors are pooled in float32 and put in
the caller's order on the device; a chunk of them comes back in one copy, beside the work on the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from yusa.encoder.attention import Attention, grouped_attention
from yusa.encoder.base import Done, Pooling
from yusa.encoder.body import ACTIVATE, Body, Layer, Linear
from yusa.encoder.network import Network
from yusa.encoder.packing import PackedBatch, Plan, padded_size
from yusa.encoder.ragged import TokenIds
from yusa.encoder.staging import Arrival, Copies, Staging
from yusa.errors import EncoderError

CHUNK = 65_536
"""Texts sorted together, and vectors on the device at once: 200 MB at 768 dimensions."""

_WIDER = {torch.float16: torch.bfloat16, torch.bfloat16: torch.float32}


class PackedNetwork:
    """A body (and pooler, where there is one) in its dtype, on its device; threads may share it.

    Attributes:
        budget: tokens of a batch at most, unless one text alone has more; halved when a GPU runs out of memory.

    Args:
        attention: `varlen_attention(...)` on a GPU; `grouped_attention` works everywhere and is slow on a GPU.
        body_in: the same body in another dtype, for texts whose numbers leave the range of this one's; without it
            such a text is an error.
        copies: as `Staging` takes them.
    """

    def __init__(
        self,
        body: Body,
        attention: Attention,
        budget: int,
        *,
        body_in: Callable[[torch.dtype], Body] | None = None,
        copies: Copies | None = None,
    ) -> None:
        self.architecture = body.architecture
        self.device = body.device
        self.budget = budget
        self._body = body
        self._attention = attention
        self._body_in = body_in
        self._copies = copies
        self._wider: PackedNetwork | None = None
        # Without these, sums over a matrix product's split parts may be rounded to half precision. They hold for the
        # whole process, as torch has no narrower switch, and nothing in yusa wants them on.
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False

    @torch.inference_mode()
    def vectors(
        self, ids: TokenIds, pooling: Pooling, *, normalize: bool, done: Done | None = None
    ) -> NDArray[np.float32]:
        """float32 (texts, hidden), one vector per text in the order of `ids`.

        Raises:
            EncoderError: there is no memory for one text, or a vector is not finite even in float32.
            ValueError: a text is empty or longer than the body has positions, or the body has no pooler.
        """
        found = np.empty((len(ids), self.architecture.hidden), dtype=np.float32)
        if not len(ids):
            return found
        shortest, longest = int(ids.lengths.min()), int(ids.lengths.max())
        if shortest < 1 or longest > self.architecture.positions:
            raise ValueError(f"texts of {shortest} to {longest} tokens, with {self.architecture.positions} positions")
        if pooling == "pooler" and self._body.pooler is None:
            raise ValueError("this body has no pooler")
        # A batch is sent as ids, positions, cu_seqlens and rows, and has at most as many texts as tokens.
        total = int(ids.lengths.sum())
        capacity = 4 * padded_size(min(total, max(self.budget, longest)), self.budget) + 1
        staging = Staging(self.device, capacity, self._copies)
        report = _Report(done)
        bad: list[NDArray[np.int64]] = []

        def collect(start: int, vectors: Arrival, finite: Arrival) -> None:
            found[start : start + CHUNK] = vectors.array()
            bad.append(start + np.flatnonzero(~finite.array()))

        pending: tuple[int, Arrival, Arrival] | None = None
        for start in range(0, len(ids), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(ids)), dtype=np.int64)
            chunk = torch.empty((len(rows), self.architecture.hidden), dtype=torch.float32, device=self.device)
            plan = Plan(ids, rows, position_offset=self.architecture.position_offset)
            for batch in self._run(plan, staging, chunk, start, pooling, normalize):
                report.queued(batch)
            if pending is not None:
                collect(*pending)
            pending = start, staging.fetch(chunk), staging.fetch(chunk.isfinite().all(dim=1))
        if pending is not None:
            collect(*pending)
        report.rest()
        failed = np.concatenate(bad)
        if len(failed):
            found[failed] = self._repaired(ids.take(failed), pooling, normalize)
        return found

    def hidden(self, ids: TokenIds) -> list[NDArray[np.float32]]:
        """The last hidden state of each text, float32 (its tokens, hidden), by groups of equal length."""
        return Network(self._body).hidden(ids)

    def _run(
        self, plan: Plan, staging: Staging, chunk: Tensor, base: int, pooling: Pooling, normalize: bool
    ) -> Iterator[PackedBatch]:
        """Queue the work that fills `chunk` with the vectors of the plan's texts; yields each batch when queued."""
        start = 0
        while start < len(plan):
            batch = plan.batch(start, self.budget)
            try:
                with staging.sent([batch.ids, batch.positions, batch.cu_seqlens, batch.rows - base]) as parts:
                    token_ids, positions, cu_seqlens, rows = parts
                    pooled = self._pooled(token_ids, positions, cu_seqlens, batch.bucket, pooling)
                    chunk.index_copy_(0, rows.long(), functional.normalize(pooled, dim=1) if normalize else pooled)
            except torch.OutOfMemoryError as error:
                if len(batch.rows) == 1:
                    raise EncoderError(
                        f"{self.device} has no memory left for one text of {batch.tokens} tokens. "
                        "Free some, or load the encoder with device='cpu' or a smaller max_length."
                    ) from error
                self.budget = min(self.budget, len(batch.ids)) // 2
            else:
                start += len(batch.rows)
                yield batch
                continue
            # Outside of `except`, whose traceback would keep the failed batch alive.
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _repaired(self, ids: TokenIds, pooling: Pooling, normalize: bool) -> NDArray[np.float32]:
        """The vectors of these texts, in a dtype of wider range."""
        dtype = _WIDER.get(self._body.dtype)
        if dtype is None or self._body_in is None:
            raise EncoderError(
                f"the vectors of {len(ids)} texts are not finite in {str(self._body.dtype).removeprefix('torch.')}. "
                + ("The weights are damaged; fetch them again." if dtype is None else "Load with dtype='float32'.")
            )
        if self._wider is None:
            self._wider = PackedNetwork(
                self._body_in(dtype),
                grouped_attention if dtype == torch.float32 else self._attention,
                self.budget,
                body_in=self._body_in,
                copies=self._copies,
            )
        return self._wider.vectors(ids, pooling, normalize=normalize)

    def _pooled(self, ids: Tensor, positions: Tensor, cu: Tensor, longest: int, pooling: Pooling) -> Tensor:
        """float32 (texts, hidden), not normalised."""
        body = self._body
        x = functional.embedding(ids, body.word).add_(functional.embedding(positions, body.position))
        x = self._normalized(x, body.norm)
        if body.projection is not None:
            x = functional.linear(x, *body.projection)
        for layer in body.layers[:-1]:
            x = self._layer(x, layer, cu, longest)
        if pooling == "mean":
            x = self._layer(x, body.layers[-1], cu, longest)
            # One thread adds up one column of one text, in order, so the sum is the same in every run; offsets, unlike
            # lengths, are not checked, which would wait for the device.
            reduce: Any = torch.segment_reduce
            return cast(Tensor, reduce(x.float(), "mean", offsets=cu, axis=0))
        x = self._last_layer_of_first_tokens(x, body.layers[-1], cu, longest)
        if pooling == "pooler":
            assert body.pooler is not None
            return functional.linear(x, *body.pooler).float().tanh()
        return x.float()

    def _layer(self, x: Tensor, layer: Layer, cu: Tensor, longest: int) -> Tensor:
        query, key, value = self._heads(x, *layer.qkv).unbind(1)
        return self._rest(x, self._attention(query, key, value, cu, cu, longest, longest), layer)

    def _last_layer_of_first_tokens(self, x: Tensor, layer: Layer, cu: Tensor, longest: int) -> Tensor:
        """(texts, hidden): the first token sees keys and values of all tokens, and nothing else of them is needed."""
        (weight, bias), hidden = layer.qkv, self.architecture.hidden
        first = x.index_select(0, cu[:-1])
        (query,) = self._heads(first, weight[:hidden], bias[:hidden]).unbind(1)
        key, value = self._heads(x, weight[hidden:], bias[hidden:]).unbind(1)
        one_each = torch.arange(len(cu), dtype=torch.int32, device=self.device)
        return self._rest(first, self._attention(query, key, value, one_each, cu, 1, longest), layer)

    def _heads(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """(tokens, parts, heads, size)"""
        heads = self.architecture.heads
        return functional.linear(x, weight, bias).view(len(x), -1, heads, self.architecture.hidden // heads)

    def _rest(self, x: Tensor, attended: Tensor, layer: Layer) -> Tensor:
        """What follows attention in a layer."""
        x = self._normalized(
            functional.linear(attended.flatten(1), *layer.attention_output).add_(x), layer.attention_norm
        )
        inner = ACTIVATE[self.architecture.activation](functional.linear(x, *layer.intermediate))
        return self._normalized(functional.linear(inner, *layer.output).add_(x), layer.output_norm)

    def _normalized(self, x: Tensor, norm: Linear) -> Tensor:
        # torch computes the statistics of half precision in float32.
        return functional.layer_norm(x, (x.shape[1],), *norm, self.architecture.epsilon)


class _Report:
    """Tells of a batch when it is done, which on a GPU is after the one after the next was queued (Staging.sent)."""

    def __init__(self, done: Done | None) -> None:
        self._done = done
        self._queued: deque[PackedBatch] = deque()

    def queued(self, batch: PackedBatch) -> None:
        self._queued.append(batch)
        if len(self._queued) > 2:
            self._tell()

    def rest(self) -> None:
        while self._queued:
            self._tell()

    def _tell(self) -> None:
        batch = self._queued.popleft()
        if self._done is not None:
            self._done(batch.rows, batch.tokens)
