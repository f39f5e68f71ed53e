"""Which network encodes, when it is made, and what happens where its numbers are wrong."""

from __future__ import annotations

import importlib.metadata
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from yusa.encoder import Encoder, device, forward, network, networks
from yusa.encoder.array_network import ArrayNetwork
from yusa.encoder.attention import Attention, grouped_attention
from yusa.encoder.gate import Agreement, same_numbers
from yusa.encoder.native_network import NativeNetwork, available
from yusa.encoder.network import Network
from yusa.encoder.packed_network import PackedNetwork
from yusa.encoder.ragged import TokenIds


def made(encoder: Encoder) -> object:
    """The network for many texts; None before there is one."""
    return encoder._forward._network


MANY = [f"the quick fox {number} " * 4 for number in range(300)]


@pytest.mark.skipif(available() is not None, reason=available() or "")
def test_the_first_few_texts_are_numpys_and_all_others_the_native_networks(tiny_bert: Path) -> None:
    encoder = Encoder.load(tiny_bert)
    first = encoder.encode_queries(["fox", "the fox"])
    assert made(encoder) is None
    assert encoder.runtime["forward"].startswith("numpy")
    np.testing.assert_allclose(encoder.encode_queries(["fox", "the fox"]), first, atol=2e-6)
    assert isinstance(made(encoder), NativeNetwork)
    np.testing.assert_allclose(encoder.encode_queries(["fox", "the fox", *MANY])[:2], first, atol=2e-6)
    encoder = Encoder.load(tiny_bert)
    encoder.encode_documents(MANY)
    assert isinstance(made(encoder), NativeNetwork)


@pytest.mark.skipif(available() is not None, reason=available() or "")
def test_the_native_network_is_compared_once_per_machine_and_not_used_if_it_is_wrong(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("YUSA_CACHE", str(tmp_path))
    asked: list[object] = []
    compared = same_numbers

    def counted(*arguments: Any, **options: Any) -> Agreement:
        asked.append(arguments[0])
        return compared(*arguments, **options)

    monkeypatch.setattr(networks, "same_numbers", counted)
    for _ in range(3):
        Encoder.load(tiny_bert).encode_documents(MANY)
    assert len(asked) == 1
    monkeypatch.setenv("YUSA_CACHE", str(tmp_path / "another"))

    def constant(_: NativeNetwork, ids: TokenIds, *__: Any, **___: Any) -> NDArray[np.float32]:
        return np.ones((len(ids), 32), dtype=np.float32)

    monkeypatch.setattr(NativeNetwork, "vectors", constant)
    encoder = Encoder.load(tiny_bert)
    with caplog.at_level(logging.WARNING):
        encoder.encode_documents(MANY)
    assert isinstance(made(encoder), Network)
    assert "the native forward pass on cpu in float32 is not used: its vectors differ" in caplog.text


@pytest.mark.usefixtures("no_native")
def test_few_texts_never_make_torchs_network_and_many_do(tiny_bert: Path) -> None:
    encoder = Encoder.load(tiny_bert)
    few = encoder.encode_queries(["fox", "the fox"])
    assert made(encoder) is None
    assert encoder.runtime["forward"].startswith("numpy")
    encoder.encode_documents(MANY)
    assert isinstance(made(encoder), Network)
    np.testing.assert_allclose(encoder.encode_queries(["fox", "the fox"]), few, atol=2e-6)
    np.testing.assert_allclose(encoder.encode_queries(["fox", "the fox", *MANY])[:2], few, atol=2e-6)


@pytest.mark.parametrize("options", [{"dtype": "bfloat16"}, {"device": "cpu:0"}])
def test_what_was_asked_for_is_what_computes(tiny_bert: Path, options: dict[str, str]) -> None:
    encoder = Encoder.load(tiny_bert, **options)  # type: ignore[arg-type]
    encoder.encode_queries(["fox"])
    assert isinstance(made(encoder), Network)
    assert encoder.runtime["forward"] == f"torch on {encoder.device} in {encoder.dtype}"


@pytest.mark.usefixtures("no_native")
def test_a_network_with_wrong_numbers_is_not_used_and_it_is_said(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = Encoder.load(tiny_bert).encode_documents(MANY)

    def broken(self: Network, qkv: Tensor, runs: tuple[tuple[int, int], ...]) -> Tensor:
        return torch.zeros(len(qkv), self.architecture.hidden)

    monkeypatch.setattr(network.Network, "_attention", broken)
    encoder = Encoder.load(tiny_bert)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(encoder.encode_documents(MANY), expected, atol=2e-6)
    assert isinstance(made(encoder), ArrayNetwork)
    assert "torch on cpu in float32 is not used: its vectors differ" in caplog.text


@pytest.mark.usefixtures("no_native")
def test_a_network_that_does_not_run_is_passed_over(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(self: Network, qkv: Tensor, runs: tuple[tuple[int, int], ...]) -> Tensor:
        raise RuntimeError("no kernel image is available\nmore")

    monkeypatch.setattr(network.Network, "_attention", refused)
    with caplog.at_level(logging.WARNING):
        encoder = Encoder.load(tiny_bert)
        encoder.encode_documents(MANY)
    assert isinstance(made(encoder), ArrayNetwork)
    assert "not used: no kernel image is available" in caplog.text


@pytest.mark.usefixtures("no_native")
def test_on_a_gpu_packed_attention_comes_first_and_must_be_right(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # There may be no GPU here: the CPU stands for it, and attention by groups for the kernel.
    expected = Encoder.load(tiny_bert).encode_documents(MANY)
    asked = networks._candidates

    def on_a_gpu_with(kernel: Attention) -> Encoder:
        def candidates(*arguments: Any) -> Iterator[tuple[str, Any]]:
            for name, one in asked(*arguments):
                assert isinstance(one, Network)
                yield "packed attention", PackedNetwork(one._body, kernel, 1024)
                yield name, one

        monkeypatch.setattr(networks, "_candidates", candidates)
        return Encoder.load(tiny_bert)

    encoder = on_a_gpu_with(grouped_attention)
    np.testing.assert_allclose(encoder.encode_documents(MANY), expected, atol=2e-6)
    assert isinstance(made(encoder), PackedNetwork)
    (word,) = encoder.encode_tokens([MANY[0] * 20])
    assert len(word.vectors) == len(word.tokens)
    encoder = on_a_gpu_with(lambda *arguments: grouped_attention(*arguments) * 0.5)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(encoder.encode_documents(MANY), expected, atol=2e-6)
    assert isinstance(made(encoder), Network)
    assert "packed attention on cpu in float32 is not used" in caplog.text


def test_where_no_gpu_can_be_torch_is_not_asked(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YUSA_DEVICE")
    monkeypatch.setattr(forward, "may_have_cuda", lambda: False)
    monkeypatch.setattr(forward, "device_of", lambda _: pytest.fail("torch was asked for a device"))
    assert Encoder.load(tiny_bert).device == "cpu"
    monkeypatch.setattr(forward, "may_have_cuda", lambda: True)
    monkeypatch.setattr(forward, "device_of", lambda _: "cuda:7")
    assert Encoder.load(tiny_bert).device == "cuda:7"


@pytest.mark.parametrize(
    ("platform", "version", "files", "expected"),
    [
        ("linux", "2.13.0+cpu", ["/dev/nvidiactl"], False),
        ("linux", "2.13.0", [], False),
        ("linux", "2.13.0", ["/dev/nvidiactl"], True),
        ("linux", "2.13.0", ["/dev/dxg"], True),
        ("win32", "2.13.0", [], True),
        ("darwin", "2.13.0", [], False),
    ],
)
def test_whether_a_gpu_can_be(
    monkeypatch: pytest.MonkeyPatch, platform: str, version: str, files: list[str], *, expected: bool
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    monkeypatch.setattr(Path, "exists", lambda self: str(self) in files)
    assert device.may_have_cuda() is expected
