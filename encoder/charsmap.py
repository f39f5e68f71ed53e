"""SentencePiece's normalisation map as the binary that `tokenizers` takes: a double-array trie and its replacements."""

from __future__ import annotations

import struct
from collections.abc import Mapping

_HAS_VALUE = 1 << 8
_IS_VALUE = 1 << 31
_SEARCHED = 256


def charsmap(replacements: Mapping[str, str]) -> bytes:
    """The `precompiled_charsmap` that replaces each key by its value (keys without NUL, both in UTF-8).

    Layout: u32 size of the trie in bytes, the trie's u32 units, the replacements ended by NUL. The trie is the double
    array of darts-clone (Aoe 1989): the child of a node with base b on byte c stands at b ^ c and carries c; a unit's
    bits 10-30 hold its own position ^ its base, bit 8 says that a value stands at b ^ 0.
    """
    strings = bytearray()
    root: _Node = _Node()
    for key, value in sorted(replacements.items()):
        node = root
        for byte in key.encode():
            node = node.children.setdefault(byte, _Node())
        node.value = len(strings)
        strings += value.encode() + b"\0"
    units = _Units()
    units.place(0, 0, root)
    trie = struct.pack(f"<{len(units.array)}I", *units.array)
    return struct.pack("<I", len(trie)) + trie + bytes(strings)


class _Node:
    def __init__(self) -> None:
        self.children: dict[int, _Node] = {}
        self.value: int | None = None


class _Units:
    def __init__(self) -> None:
        self.array = [0] * 256
        self._used = {0}
        self._bases = {0}
        self._first_free = 1

    def place(self, position: int, label: int, node: _Node) -> None:
        """Put `node` at `position` and everything below it where there is room."""
        labels = [*([0] if node.value is not None else []), *node.children]
        base = self._base(labels)
        offset = position ^ base
        if offset >= 1 << 21:
            raise ValueError("too many entries for this form of the trie")
        self.array[position] = label | offset << 10 | (_HAS_VALUE if node.value is not None else 0)
        self._used.update(base ^ child for child in labels)
        if node.value is not None:
            self.array[base] = node.value | _IS_VALUE
        for child, below in node.children.items():
            self.place(base ^ child, child, below)

    def _base(self, labels: list[int]) -> int:
        while self._first_free in self._used:
            self._first_free += 1
        # Only the last units: before them most bases are taken though units are free. (darts-clone searches so, too.)
        candidate = max(self._first_free, len(self.array) - _SEARCHED)
        while True:
            base = candidate ^ labels[0]
            # Two nodes of one base would lend each other their children.
            if base not in self._bases and not any(base ^ label in self._used for label in labels):
                break
            candidate += 1
        self._bases.add(base)
        needed = (base | 255) + 1
        self.array.extend([0] * (needed - len(self.array)))
        return base
