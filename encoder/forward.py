"""Which forward pass encodes: NumPy's for a few short texts, torch's for more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.array_network import ArrayNetwork
from yusa.encoder.base import Done, Pooling, Quantization
from yusa.encoder.checkpoint import Checkpoint
from yusa.encoder.device import asked_device, device_of, dtype_of, may_have_cuda
from yusa.encoder.gate import same_numbers
from yusa.encoder.ragged import TokenIds
from yusa.errors import EncoderError

if TYPE_CHECKING:
    import torch

    from yusa.encoder.network import Network
    from yusa.encoder.packed_network import PackedNetwork

    AnyNetwork = ArrayNetwork | Network | PackedNetwork

_log = logging.getLogger(__name__)

FEW_BEFORE_TORCH, FEW_BESIDE_TORCH = 2048, 64
"""Tokens of one call up to which NumPy encodes them: before torch, whose import takes 1.4 s, is loaded, and after.
Beside torch it is about as long as products of so few rows are faster in NumPy."""


class Forward:
    """A checkpoint's forward pass; each network is made when it is first needed, by one thread.

    NumPy computes only where the device is the choice of yusa or the CPU, and in float32; it is also what the numbers
    of torch's network are compared with before that one is used.

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

    def _for(self, ids: TokenIds) -> AnyNetwork:
        network = self._network
        if self._array is not None:
            few = FEW_BEFORE_TORCH if network is None else FEW_BESIDE_TORCH if self._device == "cpu" else 0
            if len(ids.flat) <= few:
                return self._array
        if network is None:
            with self._lock:
                if self._network is None:
                    self._network = self._made_in_int8() if self._int8 else self._made()
                network = self._network
        return network

    def _made(self) -> AnyNetwork:
        """The first network whose numbers are right."""
        reference = self.in_float32()
        for name, network in self._candidates():
            try:
                found = same_numbers(network, reference, self.architecture, self._pooling, dtype=self.dtype)
            except RuntimeError as error:  # what torch raises where a kernel does not run on this device
                why = str(error).splitlines()[0]
            else:
                if found.enough:
                    return network
                why = (
                    f"its vectors differ from the reference's (lowest cosine {found.cosine:.6f}, "
                    f"largest difference {found.difference:.1e})"
                )
            _log.warning("%s on %s in %s is not used: %s", name, self.device, self.dtype, why)
        return reference

    def _made_in_int8(self) -> AnyNetwork:
        """Raises EncoderError where it does not run or is wrong: no other network gives the same vectors."""
        from yusa.encoder.int8_network import Int8Network

        reference = self.in_float32()
        try:
            network = Int8Network(self.architecture, self._checkpoint.tensors)
            found = same_numbers(network, reference, self.architecture, self._pooling, dtype="int8")
        except (RuntimeError, AttributeError) as error:  # from a kernel, or where this torch has it no more
            why = (str(error).splitlines() or [type(error).__name__])[0]
        else:
            if found.enough:
                return network
            why = f"its vectors are far from float32's (lowest cosine {found.cosine:.4f})"
        raise EncoderError(
            f"int8 cannot be used here: {why}. Leave it out; an index made with it can be changed with "
            "`yusa reindex --encoder`."
        )

    def in_float32(self) -> ArrayNetwork:
        """The reference of all networks."""
        return self._array or ArrayNetwork(self.architecture, self._checkpoint.tensors)

    def _candidates(self) -> Iterator[tuple[str, AnyNetwork]]:
        """Torch's networks, the fastest first."""
        import torch

        from yusa.encoder.body import Body
        from yusa.encoder.network import Network

        device, dtype = torch.device(self.device), getattr(torch, self.dtype)

        def body_in(kind: torch.dtype) -> Body:
            return Body(self.architecture, self._checkpoint.tensors, device=device, dtype=kind)

        body = body_in(dtype)
        if device.type == "cuda":
            from yusa.encoder.attention import varlen_attention
            from yusa.encoder.batching import GPU_TOKENS
            from yusa.encoder.packed_network import PackedNetwork

            attention = varlen_attention(device, dtype, self.architecture.hidden // self.architecture.heads)
            if attention is not None:
                yield "packed attention", PackedNetwork(body, attention, GPU_TOKENS, body_in=body_in)
        yield "torch", Network(body)
