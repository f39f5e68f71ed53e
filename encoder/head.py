"""A sequence-classification head in torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from yusa.encoder.architecture import Architecture
from yusa.encoder.heads import LAYOUTS

_ACTIVATE: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": torch.relu, "gelu": functional.gelu}


class Head:
    """A head on one device in float32, whatever the body computes in; read-only, so threads may share it."""

    def __init__(
        self, architecture: Architecture, tensors: Mapping[str, NDArray[Any]], *, device: torch.device
    ) -> None:
        def pair(name: str) -> tuple[Tensor, Tensor]:
            weight, bias = (torch.from_numpy(tensors[f"head.{name}.{part}"]) for part in ("weight", "bias"))
            return weight.to(device=device, dtype=torch.float32), bias.to(device=device, dtype=torch.float32)

        self._dense, self._out = pair("dense"), pair("out")
        self.labels = len(self._out[1])
        self._activate = _ACTIVATE[LAYOUTS[architecture.family].activation]

    @torch.inference_mode()
    def logits(self, first: Tensor) -> Tensor:
        """float32 (texts, labels) from the first tokens' vectors, float32 (texts, hidden)."""
        return functional.linear(self._activate(functional.linear(first, *self._dense)), *self._out)
