"""The forward pass with products in 8-bit integers, on x86 CPUs: smaller and faster, and another identity.

Queries, keys, values and the three other products of a layer are quantised; all else is float32. Weights are rounded
once, with a scale for each output. What they are multiplied by is rounded as it comes, with a range for each token
(as ZeroQuant does, Yao et al. 2022), so that nothing has to be calibrated and a text's vector does not depend on what
it is batched with. torch's own dynamic quantisation has one range for all tokens of a batch; its vectors are several
times as far from float32's.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yusa.encoder.architecture import Architecture
from yusa.encoder.body import ACTIVATE, Body, Linear
from yusa.encoder.network import Batch, Network
from yusa.errors import EncoderError

_LEVELS = 255
"""Steps of a token's range: an unsigned byte."""
_LARGEST = 63
"""Of a weight. Where a CPU has no VNNI, a kernel adds two products of an unsigned and a signed byte in 16 bits, which
saturate where a weight may be 127. 2 * 255 * 63 fits, so the sums are exact and equal on every CPU."""
_LEAST = 1e-12


class QuantizedLinear:
    """x Wᵀ + b of float32 rows, computed in integers; safe to share by threads.

    With a row's x = low + step * n, n in 0 … 255, it is step * (n Wᵀ) + low * (sums of W's rows) + b.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        scales = weight.abs().amax(dim=1).clamp_(min=_LEAST).div_(_LARGEST)
        with warnings.catch_warnings():
            # torch 2.13 says that such tensors will go; the product on plain ones takes twice as long for a query.
            warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
            whole = torch.quantize_per_channel(
                weight, scales.double(), torch.zeros(len(scales), dtype=torch.int64), 0, torch.qint8
            )
        self._packed = torch.ops.quantized.linear_prepack(whole, None)
        self._sums = whole.int_repr().sum(dim=1).float().mul_(scales)
        self._bias = bias

    def __call__(self, x: Tensor, *, spare: bool = False) -> Tensor:
        """(rows, out) of (rows, in).

        Args:
            spare: `x` is not needed any more and may be overwritten.
        """
        # Two passes: `aminmax` takes ten times as long.
        low = x.amin(dim=1, keepdim=True)
        step = x.amax(dim=1, keepdim=True).sub_(low).clamp_(min=_LEAST).div_(_LEVELS)
        steps = (x.sub_(low) if spare else x - low).div_(step)
        product: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(steps, 1.0, 0, self._packed)
        return product.mul_(step).addcmul_(low, self._sums).add_(self._bias)


@dataclass(frozen=True, slots=True)
class _Layer:
    qkv: QuantizedLinear
    attention_output: QuantizedLinear
    attention_norm: Linear
    intermediate: QuantizedLinear
    output: QuantizedLinear
    output_norm: Linear


class Int8Network(Network):
    """A body (and pooler, where there is one) on the CPU; safe to share by threads.

    Raises:
        EncoderError: torch has no such kernels for this CPU.
    """

    def __init__(self, architecture: Architecture, tensors: Mapping[str, NDArray[Any]]) -> None:
        # Layer by layer, so that there is never a second copy of all weights in float32.
        bare = replace(architecture, layers=0)
        super().__init__(Body(bare, tensors, device=torch.device("cpu"), dtype=torch.float32))
        self.architecture = architecture
        engines = torch.backends.quantized
        if "fbgemm" not in engines.supported_engines:
            raise EncoderError(
                "this torch computes in int8 on x86 CPUs only, and this is none. Leave int8 out; an index made with it "
                "can be changed with `yusa reindex --encoder`."
            )
        # By default torch packs for oneDNN where the CPU has VNNI, and that has no product with such an input.
        before = engines.engine
        engines.engine = "fbgemm"
        try:
            self._layers = [_layer(tensors, f"layers.{index}") for index in range(architecture.layers)]
        finally:
            engines.engine = before

    @torch.inference_mode()
    def states(self, batch: Batch, *, first_only: bool = False) -> Tensor:
        x, hidden = self._embedded(batch), self.architecture.hidden
        activate = ACTIVATE[self.architecture.activation]
        for number, layer in enumerate(self._layers, 1):
            qkv = layer.qkv(x)
            if first_only and number == len(self._layers):
                x = x[batch.starts]
                attended = self._first_attention(qkv[batch.starts, :hidden], qkv[:, hidden:], batch.runs)
            else:
                attended = self._attention(qkv, batch.runs)
            x = self._normalized(layer.attention_output(attended, spare=True).add_(x), layer.attention_norm)
            widened = activate(layer.intermediate(x))
            x = self._normalized(layer.output(widened, spare=True).add_(x), layer.output_norm)
        return x


def _layer(tensors: Mapping[str, NDArray[Any]], name: str) -> _Layer:
    def own(parts: tuple[str, ...], kind: str) -> Tensor:
        arrays = [tensors[f"{name}.{part}.{kind}"].astype(np.float32) for part in parts]
        return torch.from_numpy(np.concatenate(arrays))

    def linear(*parts: str) -> QuantizedLinear:
        return QuantizedLinear(own(parts, "weight"), own(parts, "bias"))

    def norm(part: str) -> Linear:
        return own((part,), "weight"), own((part,), "bias")

    return _Layer(
        qkv=linear("query", "key", "value"),
        attention_output=linear("attention_output"),
        attention_norm=norm("attention_norm"),
        intermediate=linear("intermediate"),
        output=linear("output"),
        output_norm=norm("output_norm"),
    )
