"""What a machine can do at most: matrix products of a model's own shapes, memory, the tokenizer alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides the work of a BERT body."""

    layers: int
    hidden: int
    inner: int

    @classmethod
    def read(cls, directory: Path) -> Shape:
        config = json.loads((directory / "config.json").read_text("utf-8"))
        return cls(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"])

    @property
    def weights(self) -> int:
        """Entries of the layers' matrices."""
        return self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.inner)

    def flops(self, lengths: Sequence[int]) -> float:
        """Of texts of these lengths in tokens: 2 for a weight and token, 4 h for a pair of tokens and layer.

        Embeddings, LayerNorm, softmax, GELU and pooling are left out.
        """
        linear, attention = 2 * self.weights, 4 * self.hidden * self.layers
        return float(sum(linear * length + attention * length**2 for length in lengths))

    @property
    def products(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of one layer's matrix products, the query, key and value as one."""
        h, f = self.hidden, self.inner
        return [(h, 3 * h), (h, h), (h, f), (f, h)]


def gemm_rate(shape: Shape, *, tokens: int, device: str, dtype: torch.dtype, seconds: float = 0.3) -> float:
    """FLOP/s of `torch.nn.functional.linear` on the model's four shapes, weighted as the model has them."""
    given = [
        (
            torch.randn(tokens, i).to(device, dtype),
            torch.randn(o, i).to(device, dtype),
            torch.randn(o).to(device, dtype),
        )
        for i, o in shape.products
    ]

    def layer() -> None:
        for x, weight, bias in given:
            torch.nn.functional.linear(x, weight, bias)

    return 2 * tokens * sum(i * o for i, o in shape.products) / per_call(layer, device, seconds)


def copy_rate(device: str, *, megabytes: int = 256, seconds: float = 0.3) -> float:
    """Bytes/s of copying within the memory of `device`; each byte counts once as read and once as written."""
    source = torch.ones(megabytes << 18, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / per_call(lambda: target.copy_(source), device, seconds)


def read_rate(device: str, *, megabytes: int = 512, seconds: float = 0.3) -> float:
    """Bytes/s of summing more floats than any cache holds."""
    source = torch.ones(megabytes << 18, device=device)
    return source.nbytes / per_call(source.sum, device, seconds)


def tokenizer_rate(directory: Path, texts: Sequence[str]) -> float:
    """Tokens/s of the released tokenizer's fastest call, every core at work."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.encode_batch_fast(list(texts[:8]))
    started = time.perf_counter()
    encodings = tokenizer.encode_batch_fast(list(texts))
    seconds = time.perf_counter() - started
    return sum(len(encoding.ids) for encoding in encodings) / seconds


def per_call(call: Callable[[], object], device: str, seconds: float) -> float:
    """Median seconds of a call, called for about `seconds`, at least thrice."""

    def finish() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    with torch.inference_mode():
        call()
        finish()
        times: list[float] = []
        while len(times) < 3 or sum(times) < seconds:
            started = time.perf_counter()
            call()
            finish()
            times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]
