"""int8: an identity of its own, near float32, equal whatever a text is batched with, and refused where it can't be."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import yusa
from yusa.encoder import Encoder, Pooling, loss
from yusa.encoder.array_network import ArrayNetwork
from yusa.encoder.checkpoint import load_checkpoint
from yusa.encoder.int8_network import Int8Network, QuantizedLinear
from yusa.encoder.ragged import TokenIds
from yusa.errors import EncoderError, EncoderMismatchError

pytestmark = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="this torch has int8 for x86 CPUs only"
)
POOLINGS: list[Pooling] = ["mean", "cls", "pooler"]


def cosines(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float64]:
    units = [one.astype(np.float64) / np.linalg.norm(one.astype(np.float64), axis=1)[:, None] for one in (ours, theirs)]
    found: NDArray[np.float64] = (units[0] * units[1]).sum(axis=1)
    return found


@pytest.mark.parametrize("shape", [(1, 32, 64), (50, 384, 96)])
def test_a_product_is_the_exact_one_of_rounded_numbers(shape: tuple[int, int, int]) -> None:
    rows, wide, out = shape
    random = torch.Generator().manual_seed(3)
    weight, bias = torch.randn(out, wide, generator=random), torch.randn(out, generator=random)
    x = torch.randn(rows, wide, generator=random) * torch.logspace(-3, 2, rows)[:, None] + 1
    # The widest sums of all: a kernel that adds in 16 bits must not saturate.
    weight[0], x[0] = 1.0, 5.0
    x[0, 0] = -5.0

    scales = weight.abs().amax(dim=1).double() / 63
    low, high = x.amin(dim=1).double(), x.amax(dim=1).double()
    step = (high - low) / 255
    rounded_weight = (weight.double() / scales[:, None]).round() * scales[:, None]
    rounded_x = ((x.double() - low[:, None]) / step[:, None]).round() * step[:, None] + low[:, None]
    expected = rounded_x @ rounded_weight.T + bias

    found = QuantizedLinear(weight, bias)(x)
    # A number that lies on the edge between two steps may be rounded either way; that is a step of one weight.
    limit = (step[:, None] * weight.abs().amax(dim=1) + 1e-5 * expected.abs().amax(dim=1, keepdim=True)).double()
    assert ((found - expected).abs() <= limit).all()
    assert (found - expected).abs().median() < 1e-4


def test_a_row_of_equal_numbers_is_exact() -> None:
    weight, bias = torch.tensor([[63.0, -1.0], [2.0, 63.0]]), torch.tensor([0.5, 0.0])
    found = QuantizedLinear(weight, bias)(torch.tensor([[0.0, 0.0], [2.0, 2.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.0], [124.5, 130.0]]))


def test_only_what_may_be_overwritten_is() -> None:
    linear, x = QuantizedLinear(torch.eye(4), torch.zeros(4)), torch.arange(8.0).view(2, 4)
    before = x.clone()
    kept = linear(x)
    assert torch.equal(x, before)
    assert torch.equal(linear(x, spare=True), kept)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_are_near_float32s(tiny_bert: Path, texts: list[str], pooling: Pooling) -> None:
    plain = Encoder.load(tiny_bert, pooling=pooling)
    encoder = Encoder.load(tiny_bert, pooling=pooling, quantization="int8")
    assert encoder.runtime["forward"] == "torch on cpu in int8"
    found, expected = encoder.encode_documents(texts), plain.encode_documents(texts)
    assert 0.99 < cosines(found, expected).min() < 0.9999999
    assert plain.quantization_loss is None
    assert "quantization" not in plain.provenance


@pytest.mark.parametrize("kind", ["roberta", "electra", "distilbert"])
def test_every_family_has_it(make_checkpoint: Callable[..., Path], texts: list[str], kind: str) -> None:
    directory = make_checkpoint(kind)
    found = Encoder.load(directory, quantization="int8").encode_documents(texts)
    assert cosines(found, Encoder.load(directory).encode_documents(texts)).min() > 0.99


def test_tokens_have_vectors(tiny_bert: Path, texts: list[str]) -> None:
    found = Encoder.load(tiny_bert, quantization="int8").encode_tokens(texts)
    expected = Encoder.load(tiny_bert).encode_tokens(texts)
    for ours, theirs in zip(found, expected, strict=True):
        assert cosines(ours.vectors, theirs.vectors).min() > 0.98


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("tokens", [40, 1024])
def test_a_texts_vector_is_the_same_whatever_its_batch_mates(tiny_bert: Path, pooling: Pooling, tokens: int) -> None:
    checkpoint, random = load_checkpoint(tiny_bert), np.random.default_rng(2)
    network = Int8Network(checkpoint.architecture, checkpoint.tensors)
    lengths = random.integers(3, 24, 90)
    ids = TokenIds(random.integers(0, 200, lengths.sum(), dtype=np.int32), lengths)
    network.batching.tokens = 1
    alone = network.vectors(ids, pooling, normalize=True)
    network.batching.tokens = tokens
    order = random.permutation(len(ids))
    together = network.vectors(ids.take(order), pooling, normalize=True)
    np.testing.assert_allclose(together, alone[order], atol=2e-6, rtol=0)


def test_it_is_another_identity_both_ways(tiny_bert: Path, tmp_path: Path) -> None:
    encoders = {name: Encoder.load(tiny_bert, quantization=name) for name in ("none", "int8")}
    assert encoders["none"].fingerprint.differences(encoders["int8"].fingerprint) == [
        "quantization ('none' and 'int8')"
    ]
    for made, other in (("none", "int8"), ("int8", "none")):
        yusa.create(tmp_path / made, encoder=encoders[made]).close()
        with pytest.raises(EncoderMismatchError, match="differs: quantization") as caught:
            yusa.open(tmp_path / made, encoder=encoders[other])
        assert f"quantization ('{made}' and '{other}') (the index first)" in str(caught.value)
        assert "--int8" in str(caught.value)
        assert "`yusa reindex`" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"device": "cuda"}, "not on cuda beside float32"),
        ({"device": "mps"}, "not on mps"),
        ({"dtype": "bfloat16"}, "beside bfloat16"),
        ({"quantization": "int4"}, "no quantization 'int4'"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_loaded(tiny_bert: Path, options: dict[str, Any], part: str) -> None:
    with pytest.raises(EncoderError, match=part):
        Encoder.load(tiny_bert, **({"quantization": "int8"} | options))


def test_the_cpu_is_taken_where_a_gpu_would_be(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YUSA_DEVICE")
    monkeypatch.setattr("yusa.encoder.forward.may_have_cuda", lambda: True)
    assert Encoder.load(tiny_bert, quantization="int8").device == "cpu"
    monkeypatch.setenv("YUSA_DEVICE", "cuda")
    with pytest.raises(EncoderError, match="YUSA_DEVICE"):
        Encoder.load(tiny_bert, quantization="int8")


def test_no_network_stands_in_where_it_is_wrong(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = QuantizedLinear.__call__

    def forgetful(self: QuantizedLinear, x: Tensor, *, spare: bool = False) -> Tensor:
        return computed(self, x, spare=spare) - x.amin(dim=1, keepdim=True) * self._sums

    monkeypatch.setattr(QuantizedLinear, "__call__", forgetful)
    encoder = Encoder.load(tiny_bert, quantization="int8")
    for _ in range(2):
        with pytest.raises(EncoderError, match="differ from the reference"):
            encoder.encode_queries(["fox"])


@pytest.mark.parametrize(
    "error", [RuntimeError("Didn't find engine\nmore"), AttributeError("no attribute 'linear_prepack'")]
)
def test_where_it_does_not_run_it_is_said(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refused(self: QuantizedLinear, weight: Tensor, bias: Tensor) -> None:
        raise error

    monkeypatch.setattr(QuantizedLinear, "__init__", refused)
    with pytest.raises(EncoderError, match=r"int8 cannot be used here: (Didn't find engine|no attribute)") as caught:
        Encoder.load(tiny_bert, quantization="int8").encode_queries(["fox"])
    assert "more" not in str(caught.value)


def test_on_another_cpu_it_is_said(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere:
        supported_engines = ("qnnpack",)

    monkeypatch.setattr(torch.backends, "quantized", Elsewhere)
    with pytest.raises(EncoderError, match="x86 CPUs only"):
        Encoder.load(tiny_bert, quantization="int8").encode_queries(["fox"])


def test_packing_leaves_torchs_choice_of_kernels_as_it_was(tiny_bert: Path) -> None:
    before = torch.backends.quantized.engine
    Encoder.load(tiny_bert, quantization="int8").encode_queries(["fox"])
    assert torch.backends.quantized.engine == before


def reachable(root: object) -> list[object]:
    """What is kept alive by `root`, as far as the garbage collector sees; no classes, modules or functions."""
    seen, waiting, found = {id(root)}, [root], []
    while waiting:
        one = waiting.pop()
        found.append(one)
        for next_one in gc.get_referents(one):
            if id(next_one) not in seen and not isinstance(next_one, type | type(gc) | type(reachable)):
                seen.add(id(next_one))
                waiting.append(next_one)
    return found


def floats(root: object) -> int:
    """Elements of all torch tensors that `root` keeps."""
    return sum(one.numel() for one in reachable(root) if isinstance(one, Tensor))


def test_no_product_keeps_its_weights_in_float32(tiny_bert: Path) -> None:
    encoder, plain = Encoder.load(tiny_bert, quantization="int8"), Encoder.load(tiny_bert, device="cpu:0")
    for one in (encoder, plain):
        one.encode_queries(["fox"])
    kept, whole = (floats(one._forward._network) for one in (encoder, plain))
    architecture = encoder._forward.architecture
    hidden, intermediate = architecture.hidden, architecture.intermediate
    weights = architecture.layers * (4 * hidden * hidden + 2 * hidden * intermediate)
    # Instead of each weight matrix there is one sum for each of its rows.
    assert kept == whole - weights + architecture.layers * (4 * hidden + intermediate + hidden)
    assert encoder._forward._array is None
    assert not any(isinstance(one, ArrayNetwork) for one in reachable(encoder))


def test_its_loss_is_measured_once_and_shown(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder.load(tiny_bert, quantization="int8", pooling="cls")
    plain = Encoder.load(tiny_bert, pooling="cls")
    expected = cosines(encoder.encode_documents(loss.LOSS_TEXTS), plain.encode_documents(loss.LOSS_TEXTS))
    found = encoder.quantization_loss
    assert found is not None
    assert found.texts == len(loss.LOSS_TEXTS) == 16
    assert (found.lowest, found.mean) == pytest.approx((expected.min(), expected.mean()), abs=1e-6)
    shown = encoder.provenance["quantization"]
    assert shown == str(found)
    assert f"{math.floor(found.lowest * 10_000) / 10_000:.4f}" in shown

    again = Encoder.load(tiny_bert, quantization="int8", pooling="cls")
    monkeypatch.setattr(Encoder, "encode_documents", lambda *_: pytest.fail("measured again"))
    assert again.quantization_loss == found


@pytest.mark.parametrize(
    ("lowest", "shown"), [(0.99999, "at least 0.9999, "), (1.0, "at least 1.0000, "), (0.98765, "at least 0.9876, ")]
)
def test_the_lowest_cosine_is_never_rounded_up(lowest: float, shown: str) -> None:
    assert shown in str(loss.QuantizationLoss(lowest, 0.99996, 16))


@pytest.mark.parametrize(
    ("name", "least", "mean"),
    [
        ("all-MiniLM-L6-v2", 0.98, 0.993),
        pytest.param("multilingual-e5-small", 0.997, 0.9985, marks=pytest.mark.slow),
    ],
)
def test_packaged_models_lose_little(request: pytest.FixtureRequest, name: str, least: float, mean: float) -> None:
    request.getfixturevalue("minilm" if name.startswith("all") else "e5_small")
    found = Encoder.load(name, quantization="int8").quantization_loss
    assert found is not None
    assert found.lowest > least
    assert found.mean > mean
