"""What a disk may hold after a power loss, from a recording of system calls (syscalls.py).

The reading is the strict one of POSIX. A file's content is durable as of its last fsync or fdatasync, a directory's
names as of the last fsync of that directory, and a file's fsync does not make its own name durable. Of what came later
anything may be there: `Loss` says what. Within one directory names change in order and a rename is atomic; a write
changes no byte outside its range. Both are what SQLite and every journalling file system assume.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeAlias

import numpy as np
from syscalls import Operation

_BLOCK = 4096

Change = tuple[int, bytes | None]
"""Data written at an offset; or a new size, with None."""
Names = dict[str, "Node"]
Tree: TypeAlias = "bytes | dict[str, Tree]"
"""What a file or a directory holds."""
Renaming = tuple[str | None, str | None, "Node | None"]
"""The name that goes, the name that comes, and what it means."""


class Loss(Enum):
    """What of that which was not synced is there."""

    NONE = "none of it"
    ALL = "all of it"
    PREFIXES = "of every file and directory a beginning, in order"
    BLOCKS = "of every file any blocks of 4096 bytes, of every directory a beginning"
    TORN = "all of it, but half of the last write"
    NAMES = "all names and no content"
    CONTENT = "all content and no names"


@dataclass(eq=False, slots=True)
class Node:
    """A file, or a directory where `names` is not None."""

    content: bytearray = field(default_factory=bytearray)
    changes: list[Change] = field(default_factory=list)
    names: Names | None = None
    renamings: list[Renaming] = field(default_factory=list)


class Disk:
    """A directory whose recorded changes are done again one by one, apart from what became durable."""

    def __init__(self, root: Path, image: Path) -> None:
        """Start with what `image` holds, all of it durable, as the content of `root`."""
        self._root = str(root)
        self._top = _loaded(image)
        self._inodes: dict[int, Node] = {}
        self._last: Node | None = None

    def apply(self, operation: Operation) -> None:
        """Do one operation."""
        kind = operation.kind
        if kind == "m":
            return
        if kind in "ck":
            # Numbers of inodes are used again.
            self._inodes[operation.inode] = Node(names={} if kind == "k" else None)
        node = self._inodes.get(operation.inode) or self._node(operation.path)
        self._inodes[operation.inode] = node
        if kind == "w":
            node.changes.append((operation.offset, operation.data))
            self._last = node
        elif kind in "gt":
            node.changes.append((operation.offset, None))
        elif kind in "sd":
            node.content = _content(node, node.changes)
            node.changes.clear()
        elif kind == "D":
            node.names = _names(node, node.renamings)
            node.renamings.clear()
        else:
            folder, name = self._folder(operation.path)
            if kind == "r":
                target, new = self._folder(operation.target)
                assert target is folder, "a rename between directories is not modelled"
                folder.renamings.append((name, new, node))
            else:
                folder.renamings.append((name, None, None) if kind in "ux" else (None, name, node))

    def crash(self, loss: Loss, random: np.random.Generator) -> Tree:
        """What the disk may hold if the power goes now."""
        return self._left(self._top, loss, random)

    def _left(self, node: Node, loss: Loss, random: np.random.Generator) -> Tree:
        if node.names is None:
            return bytes(_content(node, self._kept(node, loss, random)))
        count = len(node.renamings)
        if loss in {Loss.NONE, Loss.CONTENT}:
            count = 0
        elif loss in {Loss.PREFIXES, Loss.BLOCKS}:
            count = int(random.integers(count + 1))
        names = _names(node, node.renamings[:count])
        return {name: self._left(child, loss, random) for name, child in sorted(names.items())}

    def _kept(self, node: Node, loss: Loss, random: np.random.Generator) -> list[Change]:
        changes = node.changes
        if loss in {Loss.NONE, Loss.NAMES}:
            return []
        if loss is Loss.PREFIXES:
            return changes[: int(random.integers(len(changes) + 1))]
        if loss is Loss.BLOCKS:
            return [block for change in changes for block in _blocks(change) if random.random() < 0.5]
        if loss is Loss.TORN and node is self._last and changes:
            at, data = changes[-1]
            return changes if data is None else [*changes[:-1], (at, data[: len(data) // 2])]
        return changes

    def _node(self, path: str) -> Node:
        node = self._top
        for name in Path(path).relative_to(self._root).parts:
            node = _names(node, node.renamings)[name]
        return node

    def _folder(self, path: str) -> tuple[Node, str]:
        return self._node(str(Path(path).parent)), Path(path).name


def store(tree: Tree, path: Path) -> None:
    """Write what a disk holds to a new directory or file."""
    if isinstance(tree, bytes):
        path.write_bytes(tree)
        return
    path.mkdir()
    for name, child in tree.items():
        store(child, path / name)


def digest(tree: Tree) -> bytes:
    """The same for equal trees alone."""
    if isinstance(tree, bytes):
        return hashlib.sha256(b"file" + tree).digest()
    parts = [hashlib.sha256(os.fsencode(name)).digest() + digest(child) for name, child in tree.items()]
    return hashlib.sha256(b"directory" + b"".join(parts)).digest()


def _loaded(path: Path) -> Node:
    if path.is_dir():
        return Node(names={child.name: _loaded(child) for child in path.iterdir()})
    return Node(content=bytearray(path.read_bytes()))


def _content(node: Node, changes: Iterable[Change]) -> bytearray:
    content = bytearray(node.content)
    for at, data in changes:
        end = at if data is None else at + len(data)
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        if data is None:
            del content[at:]
        else:
            content[at:end] = data
    return content


def _names(node: Node, renamings: Iterable[Renaming]) -> Names:
    assert node.names is not None
    names = dict(node.names)
    for gone, name, child in renamings:
        if gone is not None:
            names.pop(gone, None)
        if name is not None and child is not None:
            names[name] = child
    return names


def _blocks(change: Change) -> Iterable[Change]:
    """A write, cut where blocks of the disk end."""
    at, data = change
    start = 0
    while data is not None and start < len(data):
        end = min(len(data), start + _BLOCK - (at + start) % _BLOCK)
        yield at + start, data[start:end]
        start = end
    if data is None:
        yield change
