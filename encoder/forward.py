"""Which forward pass encodes: NumPy's for the first few short texts, the device's fastest for all others."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.array_network import ArrayNetwork
from yusa.encoder.base import Done, Pooling, Quantization
from yusa.encoder.checkpoint import Checkpoint
from yusa.encoder.device import asked_device, device_of, dtype_of, may_have_cuda
from yusa.encoder.native_network import NativeNetwork, available
from yusa.encoder.ragged import TokenIds
from yusa.errors import EncoderError

if TYPE_CHECKING:
    from yusa.encoder.networks import AnyNetwork

FEW_AT_FIRST = 256
"""Tokens of a process's first call up to which NumPy encodes them: it needs no weights laid out anew, and no import."""
FEW_BEFORE_TORCH, FEW_BESIDE_TORCH = 2048, 128
"""The same for all calls where the network for many texts is torch's: before it is imported, which takes 1.4 s, and
after, when products of so few rows are still faster in NumPy."""


class Forward:
    """A checkpoint's forward pass; each network is made when it is first needed, by one thread.

    NumPy computes only where the device is the choice of yusa or the CPU, and in float32; it is also what the numbers
    of the others are compared with before they are used.

    Args:
        pooling, normalize: what a text's vector is made of, and whether to length 1.
        device: "cpu", "cuda" …; None where yusa chooses, after YUSA_DEVICE.
        dtype: None is float32 on a CPU and float16 elsewhere.
        quantization: "int8" is computed by its own network alone, on the CPU beside float32.

    Raises:
        EncoderError: the device, the dtype or the quantization cannot be had.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        pooling: Pooling,
        *,
        normalize: bool,
        device: str | None,
        dtype: str | None,
        quantization: Quantization = "none",
    ) -> None:
        self.architecture = checkpoint.architecture
        self._checkpoint = checkpoint
        self._pooling: Pooling = pooling
        self._normalize = normalize
        self._asked_device, self._asked_dtype = asked_device(device), dtype
        self._lock = threading.Lock()
        self._device: str | None = None
        self._network: AnyNetwork | None = None
        self._asked = False
        at_home = self._asked_device in (None, "cpu")
        self._array: ArrayNetwork | None = None
        self._int8 = quantization == "int8"
        if self._int8:
            where, kind = self._asked_device or "cpu", dtype_of(dtype, "cpu")
            if not where.startswith("cpu") or kind != "float32":
                raise EncoderError(
                    f"int8 is computed on a CPU beside float32, not on {where} beside {kind}. Choose the device cpu "
                    "(--device, YUSA_DEVICE) and no dtype, or leave int8 out."
                )
            self._device = where
        elif at_home and dtype_of(dtype, "cpu") == "float32":
            self._array = ArrayNetwork(checkpoint.architecture, checkpoint.tensors)
        if not at_home:
            self._device = str(device_of(self._asked_device))

    @property
    def device(self) -> str:
        """Where many texts are encoded."""
        if self._device is None:
            auto = self._asked_device is None and may_have_cuda()
            self._device = str(device_of(None)) if auto else "cpu"
        return self._device

    @property
    def dtype(self) -> str:
        """What many texts are encoded in."""
        return dtype_of(self._asked_dtype, self.device)

    @property
    def runtime(self) -> str:
        """What encodes a few texts now, for people and for remembering that it was checked."""
        if self._array is not None:
            return f"numpy {np.__version__}"
        return f"torch on {self.device} in {'int8' if self._int8 else self.dtype}"

    def vectors(self, ids: TokenIds, done: Done | None = None) -> NDArray[np.float32]:
        """float32 (texts, hidden), in the order of the texts."""
        return self._for(ids).vectors(ids, self._pooling, normalize=self._normalize, done=done)

    def hidden(self, ids: TokenIds) -> list[NDArray[np.float32]]:
        """The last hidden state of each text, float32 (its tokens, hidden)."""
        return self._for(ids).hidden(ids)

    def in_float32(self) -> ArrayNetwork:
        """The reference of all networks."""
        return self._array or ArrayNetwork(self.architecture, self._checkpoint.tensors)

    def _for(self, ids: TokenIds) -> AnyNetwork:
        if self._array is not None and len(ids.flat) <= self._few(len(ids.flat)):
            return self._array
        if self._network is None:
            with self._lock:
                if self._network is None:
                    self._network = self._made()
        return self._network

    def _few(self, tokens: int) -> int:
        """Tokens of a call up to which NumPy encodes them."""
        network = self._network
        if network is not None:
            beside_torch = self._device == "cpu" and not isinstance(network, ArrayNetwork | NativeNetwork)
            return FEW_BESIDE_TORCH if beside_torch else -1
        at_first, self._asked = not self._asked, True
        if at_first and tokens <= FEW_AT_FIRST:
            return FEW_AT_FIRST
        return -1 if self._native_comes() else FEW_BEFORE_TORCH

    def _native_comes(self) -> bool:
        """Whether the network for many texts is the one in C, which needs no torch."""
        return available() is None and (self._asked_device == "cpu" or not may_have_cuda())

    def _made(self) -> AnyNetwork:
        from yusa.encoder.networks import best_network, int8_network

        if self._int8:
            return int8_network(self._checkpoint, self._pooling, self.in_float32())
        return best_network(self._checkpoint, self._pooling, self.in_float32(), device=self.device, dtype=self.dtype)
