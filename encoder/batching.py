"""Many texts through a model in batches of bounded tokens, longest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from yusa.errors import EncoderError

T = TypeVar("T")

CPU_TOKENS, GPU_TOKENS = 1024, 32_768
"""Tokens per batch. On a CPU anything from 512 to 4096 was equally fast; less bounds memory and reports sooner."""


class Batching:
    """How many tokens one model takes at once.

    Attributes:
        tokens: of a batch at most, unless one text alone has more; halved when a GPU runs out of memory.
    """

    def __init__(self, device: torch.device) -> None:
        self.tokens = CPU_TOKENS if device.type == "cpu" else GPU_TOKENS
        self._device = device

    def run(
        self, lengths: NDArray[np.int64], step: Callable[[NDArray[np.int64]], T]
    ) -> Iterator[tuple[NDArray[np.int64], int, T]]:
        """Run `step` over the rows of texts of these lengths; yields (rows, tokens, result) of each batch.

        The rows of a batch are sorted by length. When a GPU runs out of memory the batches become half as large from
        then on.

        Raises:
            EncoderError: there is no memory for one text.
        """
        order = np.argsort(-lengths, kind="stable")
        ends = np.concatenate([[0], np.cumsum(lengths[order])])
        start = 0
        while start < len(order):
            stop = int(np.searchsorted(ends, ends[start] + self.tokens, side="right")) - 1
            stop = max(stop, start + 1)
            tokens = int(ends[stop] - ends[start])
            rows = order[start:stop]
            try:
                result = step(rows)
            except torch.OutOfMemoryError as error:
                if len(rows) == 1:
                    raise EncoderError(
                        f"{self._device} has no memory left for one text of {tokens} tokens. "
                        "Free some, or load the encoder with device='cpu' or a smaller max_length."
                    ) from error
                self.tokens = tokens // 2
            else:
                yield rows, tokens, result
                start = stop
                continue
            # Outside of `except`, whose traceback would keep the failed batch alive.
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
