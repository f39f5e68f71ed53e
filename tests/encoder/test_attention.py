"""Attention over packed texts: the stand-in against the formula, and the search for torch's own kernel."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from yusa.encoder.attention import grouped_attention, varlen_attention

CPU = torch.device("cpu")


def by_the_formula(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One text: (queries, heads, size), (tokens, heads, size) twice."""
    scores = torch.einsum("qhs,khs->hqk", query.double(), key.double()) / query.shape[2] ** 0.5
    return torch.einsum("hqk,khs->qhs", scores.softmax(dim=2), value.double())


def ends_of(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)


@pytest.mark.parametrize("asked", [[5, 5, 3, 1, 7, 7], [1, 1, 1, 1, 1, 1]])
def test_the_stand_in(asked: list[int]) -> None:
    lengths = [5, 5, 3, 1, 7, 7]
    torch.manual_seed(0)
    query = torch.randn(sum(asked) + 4, 3, 8)
    _, key, value = torch.randn(40, 3, 3, 8).unbind(1)  # strided, as in a fused product
    cu_query, cu_key = ends_of(asked), ends_of(lengths)
    out = grouped_attention(query, key, value, cu_query, cu_key, 32, 32)
    assert out.shape == query.shape
    for q0, q1, k0, k1 in zip(cu_query[:-1], cu_query[1:], cu_key[:-1], cu_key[1:], strict=True):
        expected = by_the_formula(query[q0:q1], key[k0:k1], value[k0:k1])
        torch.testing.assert_close(out[q0:q1].double(), expected, atol=1e-6, rtol=0)


def test_a_cpu_has_no_kernel() -> None:
    assert varlen_attention(CPU, torch.float32, 32) is None
    assert varlen_attention(CPU, torch.float16, 32) is None


def as_in_torch_2_11(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, max_q: int, max_k: int,
    is_causal: bool = False, return_aux: Any = None,
) -> Tensor:  # fmt: skip
    return grouped_attention(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k)


def as_in_torch_2_13(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor | None, max_q: int, max_k: int, *,
    scale: float | None = None, num_splits: int | None = None,
) -> Tensor:  # fmt: skip
    assert cu_seq_k is not None
    return grouped_attention(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k)


def in_another_order(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, max_q: int, cu_seq_k: Tensor, max_k: int
) -> Tensor:
    raise AssertionError("called")


def wanting_more(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, max_q: int, max_k: int, *,
    scale: float,
) -> Tensor:  # fmt: skip
    raise AssertionError("called")


def refusing(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, max_q: int, max_k: int
) -> Tensor:
    raise RuntimeError("FlashAttention only supports fp16 and bf16")


@pytest.mark.parametrize("function", [as_in_torch_2_11, as_in_torch_2_13])
def test_a_kernel_with_the_known_parameters_is_used(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", function)
    assert varlen_attention(CPU, torch.float32, 8) is function


@pytest.mark.parametrize("function", [in_another_order, wanting_more, refusing])
def test_a_kernel_that_changed_or_refuses_is_not(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", function)
    assert varlen_attention(CPU, torch.float32, 8) is None


def test_a_torch_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("torch.nn.attention.varlen.varlen_attn")
    assert varlen_attention(CPU, torch.float32, 8) is None


def test_the_installed_torch_has_the_known_parameters() -> None:
    from yusa.encoder import attention

    varlen = pytest.importorskip("torch.nn.attention.varlen")
    assert attention._as_expected(varlen.varlen_attn)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_torchs_kernel_agrees_with_the_stand_in(size: int, dtype: torch.dtype) -> None:
    device = torch.device("cuda")
    attention = varlen_attention(device, dtype, size)
    assert attention is not None
    torch.manual_seed(0)
    lengths = [130, 64, 17, 17, 1]
    query, key, value = torch.randn(256, 3, 4, size, dtype=dtype, device=device).unbind(1)
    ends = ends_of(lengths).to(device)
    firsts = torch.arange(len(lengths) + 1, dtype=torch.int32, device=device)
    for asked, cu_query, longest in ((query, ends, 256), (query[: len(lengths)].contiguous(), firsts, 1)):
        ours = attention(asked, key, value, cu_query, ends, longest, 256)
        theirs = grouped_attention(asked.float(), key.float(), value.float(), cu_query, ends, longest, 256)
        rows = int(cu_query[-1])
        torch.testing.assert_close(ours[:rows].float(), theirs[:rows], atol=1e-2, rtol=1e-2)
