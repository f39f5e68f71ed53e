"""Attention over texts of different lengths packed one after another."""

from __future__ import annotations

import importlib
import inspect
import itertools
from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_PARAMETERS = ("query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k")


class Attention(Protocol):
    """softmax(q kᵀ / √size) v within each text.

    `query` is (query tokens, heads, size), `key` and `value` (tokens, heads, size), which may be strided but for the
    last axis. `cu_query` and `cu_key`, int32 (texts + 1,), say where each text begins and the last one ends; `max_*`
    bound the lengths. Returns the shape of `query`; the rows behind the last text are undefined.
    """

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_query: Tensor,
        cu_key: Tensor,
        max_query: int,
        max_key: int,
        /,
    ) -> Tensor: ...


def varlen_attention(device: torch.device, dtype: torch.dtype, size: int) -> Attention | None:
    """torch's own variable-length kernel; None where this torch, device, dtype or head size has none.

    Source: `torch.nn.attention.varlen.varlen_attn`, FlashAttention-2. What follows its first seven parameters changed
    from torch 2.10 to 2.13, so it is called with those alone, once its signature says that they are still the same.
    """
    try:
        found = importlib.import_module("torch.nn.attention.varlen").varlen_attn
    except (ImportError, AttributeError):
        return None
    if not _as_expected(found):
        return None
    attention = cast(Attention, found)
    trial = torch.zeros(3, 2, size, dtype=dtype, device=device)
    ends = torch.tensor([0, 1, 3], dtype=torch.int32, device=device)
    try:
        with torch.inference_mode():
            attention(trial, trial, trial, ends, ends, 32, 32)
    except (RuntimeError, ValueError, TypeError):  # whatever the dispatcher or the kernel refuses with
        return None
    return attention


def _as_expected(function: Callable[..., Any]) -> bool:
    parameters = list(inspect.signature(function).parameters.values())
    first, rest = parameters[: len(_PARAMETERS)], parameters[len(_PARAMETERS) :]
    return (
        tuple(parameter.name for parameter in first) == _PARAMETERS
        and all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in first)
        and all(parameter.default is not parameter.empty for parameter in rest)
    )


def grouped_attention(
    query: Tensor, key: Tensor, value: Tensor, cu_query: Tensor, cu_key: Tensor, max_query: int, max_key: int, /
) -> Tensor:
    """`Attention` for every device and dtype: torch's ordinary attention over each run of texts of equal lengths.

    Waits for the device, as the runs must be known here; `max_*` are not used.
    """
    del max_query, max_key
    starts = torch.stack([cu_query, cu_key]).cpu().numpy()
    lengths = np.diff(starts)
    edges = [0, *(np.flatnonzero(np.diff(lengths).any(axis=0)) + 1).tolist(), lengths.shape[1]]
    out = torch.zeros_like(query, memory_format=torch.contiguous_format)
    for first, last in itertools.pairwise(edges):
        asked, kept = (slice(int(row[first]), int(row[last])) for row in starts)
        q, k, v = (
            part.view(last - first, -1, *part.shape[1:]).transpose(1, 2)
            for part in (query[asked], key[kept], value[kept])
        )
        out[asked] = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(0, 1)
    return out
