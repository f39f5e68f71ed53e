"""A checkpoint's weights as torch tensors on one device in one dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from yusa.encoder.architecture import Architecture

Linear = tuple[Tensor, Tensor]
"""Weight (out, in) and bias (out,)."""

# In place, as it is the widest tensor of all. "gelu" is x Φ(x) by erf: on CUDA torch fuses only the tanh form into a
# matrix product (`_addmm_activation`).
ACTIVATE: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": torch.ops.aten.gelu_,
    "gelu_tanh": lambda x: torch.ops.aten.gelu_(x, approximate="tanh"),
    "relu": torch.relu_,
    "silu": lambda x: functional.silu(x, inplace=True),
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer; `qkv` is query, key and value in one matrix, so that one product makes all three."""

    qkv: Linear
    attention_output: Linear
    attention_norm: Linear
    intermediate: Linear
    output: Linear
    output_norm: Linear


class Body:
    """The tensors of a body, and of its pooler where there is one; read-only.

    Attributes:
        word: (vocabulary, embedding)
        position: (rows, embedding), the vector of token type 0 added, which every token of a single text has.
        type: what the other token types differ from type 0 by; None where the body has no types.
        projection: from `embedding` to `hidden`; None where they are one.
        pooler: None where the checkpoint has none.
    """

    def __init__(
        self,
        architecture: Architecture,
        tensors: Mapping[str, NDArray[np.generic]],
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.architecture = architecture
        self.device = device
        self.dtype = dtype

        def own(name: str) -> Tensor:
            return torch.from_numpy(tensors[name]).to(device=device, dtype=dtype)

        def pair(name: str) -> Linear:
            return own(f"{name}.weight"), own(f"{name}.bias")

        def fused(index: int) -> Linear:
            parts = [pair(f"layers.{index}.{part}") for part in ("query", "key", "value")]
            return torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts])

        self.word = own("embeddings.word")
        position = torch.from_numpy(tensors["embeddings.position"]).to(torch.float32)
        self.type: Tensor | None = None
        if architecture.token_types:
            types = torch.from_numpy(tensors["embeddings.type"]).to(torch.float32)
            position = position + types[0]
            self.type = (types - types[0]).to(device=device, dtype=dtype)
        self.position = position.to(device=device, dtype=dtype)
        self.norm = pair("embeddings.norm")
        self.projection = pair("embeddings.projection") if architecture.embedding != architecture.hidden else None
        self.layers = [
            Layer(
                fused(index),
                *(
                    pair(f"layers.{index}.{part}")
                    for part in ("attention_output", "attention_norm", "intermediate", "output", "output_norm")
                ),
            )
            for index in range(architecture.layers)
        ]
        self.pooler = pair("pooler") if "pooler.weight" in tensors else None
