"""Tensors of a safetensors file, mapped into memory as NumPy arrays."""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""What is read, as the format spells it, and how NumPy sees the bytes."""
_HEADER_LIMIT = 100_000_000


class TensorFile(Mapping[str, NDArray[Any]]):
    """Name -> array. float32, float64 and float16 stay where they are in the file; bfloat16 becomes float32.

    The format (https://github.com/huggingface/safetensors, "Format"): u64 length of a JSON header, the header with
    dtype, shape and byte range of each tensor, the bytes. The package itself copies each tensor when it hands out NumPy
    arrays, which costs a process that answers one query more than the query.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file, or not a whole one.
    """

    def __init__(self, file: Path) -> None:
        with file.open("rb") as opened:
            size = opened.seek(0, 2)
            if size < 8:
                raise ValueError(f"it has only {size} bytes")
            # Copy on write: torch asks for writable memory, and nothing of it ever reaches the file.
            self._bytes = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
        length = int.from_bytes(self._bytes[:8], "little")
        if not 2 <= length <= min(_HEADER_LIMIT, size - 8):
            raise ValueError("its header is longer than the file")
        header = json.loads(self._bytes[8 : 8 + length])
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object")
        header.pop("__metadata__", None)
        self._start = 8 + length
        self._entries = {name: self._entry(name, entry, size) for name, entry in header.items()}

    def _entry(self, name: str, entry: Any, size: int) -> tuple[str, tuple[int, ...], int]:
        try:
            kind, shape = str(entry["dtype"]), tuple(int(side) for side in entry["shape"])
            begin, end = (int(at) for at in entry["data_offsets"])
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"its header describes {name} wrongly") from error
        count = math.prod(shape)
        width = np.dtype(DTYPES[kind]).itemsize if kind in DTYPES else 0
        if min(shape, default=0) < 0 or not 0 <= begin <= end <= size - self._start:
            raise ValueError(f"{name} does not lie within the file")
        if width and end - begin != count * width:
            raise ValueError(f"{name} has {end - begin} bytes for {count} values of {kind}")
        return kind, shape, self._start + begin

    def dtype(self, name: str) -> str:
        """As the file spells it: F32, I64, …"""
        return self._entries[name][0]

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entries[name][1]

    def __getitem__(self, name: str) -> NDArray[Any]:
        kind, shape, at = self._entries[name]
        if kind not in DTYPES:
            raise ValueError(f"{name} holds {kind}; only floating point tensors are read")
        array = np.frombuffer(self._bytes, DTYPES[kind], math.prod(shape), at).reshape(shape)
        if kind == "BF16":
            return (array.astype(np.uint32) << 16).view(np.float32)
        return array if array.flags.aligned else array.copy()

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
