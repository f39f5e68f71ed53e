"""Blocks: keyword postings of a run of passages, as arrays.

The same bytes are a row of the database while the passages are in the tail, and a file of a segment afterwards. The
layout is that of safetensors (a length, a JSON header, the arrays), which holds no code and can be mapped.
"""

from __future__ import annotations

import json
import mmap
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from yusa.storage.distinct import distinct
from yusa.storage.files import DamagedFileError, Sink
from yusa.storage.parts import Flags, Ids

POSTINGS_SUFFIX: Final = "postings"

KEY_BYTES: Final = 32
_HEAD_BYTES = 20
_MOST = 255
_ALIGNED = 64
_ARRAYS: Final = {
    "ids": ("I64", "<i8"),
    "lengths": ("U32", "<u4"),
    "keys": ("U8", "u1"),
    "starts": ("I64", "<i8"),
    "positions": ("U32", "<u4"),
    "counts": ("U8", "u1"),
}

Keys = NDArray[np.bytes_]


class TermSource(Protocol):
    """What storage needs of a keyword analyzer.

    Attributes:
        identity: changes whenever the terms of any text would.
    """

    @property
    def identity(self) -> str: ...

    def terms(self, text: str) -> Sequence[str]:
        """The terms of a text, with repetitions; none is empty or holds NUL."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Postings of passages of ascending ids. Term i stands in `positions[starts[i]:starts[i + 1]]`.

    Attributes:
        identity: of the analyzer.
        ids: int64 (n,), ascending.
        lengths: uint32 (n,), terms of each passage, repetitions counted.
        keys: bytes (v,), the terms in UTF-8, ascending; of a long one its beginning and a hash (`term_key`).
        starts: int64 (v + 1,).
        positions: uint32 (p,), which passages, ascending for each term.
        counts: uint8 (p,), how often; 255 stands for 255 or more.
    """

    identity: str
    ids: Ids
    lengths: NDArray[np.uint32]
    keys: Keys
    starts: NDArray[np.int64]
    positions: NDArray[np.uint32]
    counts: NDArray[np.uint8]

    def find(self, keys: Keys) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the postings of each key begin and end; nowhere for a term that is not here."""
        at = np.searchsorted(self.keys, keys)
        inside = np.minimum(at, max(0, len(self.keys) - 1))
        here = self.keys[inside] == keys if len(self.keys) else np.zeros(len(keys), dtype=np.bool_)
        first = np.where(here, self.starts[inside], 0)
        return first, np.where(here, self.starts[inside + 1], 0) if len(self.keys) else first


def term_key(term: str) -> bytes:
    """The term in UTF-8 if it has at most 32 bytes, else its first 20, a control character and 64 bits of a hash."""
    data = term.encode()
    if len(data) <= KEY_BYTES:
        return data
    from hashlib import blake2b

    head = data[:_HEAD_BYTES].decode(errors="ignore").encode()
    return head + b"\x01" + urlsafe_b64encode(blake2b(data, digest_size=8).digest())[:11]


def term_keys(terms: Iterable[str]) -> Keys:
    """bytes (n,), in the order of the terms."""
    return np.array([term_key(term) for term in terms], dtype=f"S{KEY_BYTES}")


def build(ids: Sequence[int] | Ids, texts: Iterable[str], source: TermSource) -> Block:
    """The block of passages of ascending ids."""
    numbers: dict[str, int] = {}
    found: list[int] = []
    counts: list[int] = []
    sizes: list[int] = []
    lengths: list[int] = []
    for text in texts:
        terms = source.terms(text)
        counted = Counter(terms)
        found.extend([numbers.setdefault(term, len(numbers)) for term in counted])
        counts.extend(counted.values())
        sizes.append(len(counted))
        lengths.append(len(terms))
    keys, rank = np.unique(term_keys(numbers), return_inverse=True)
    ranked = rank[np.array(found, dtype=np.int64)] if found else np.zeros(0, dtype=np.int64)
    order = np.argsort(ranked, kind="stable")
    return Block(
        identity=source.identity,
        ids=np.array(ids, dtype=np.int64),
        lengths=np.array(lengths, dtype=np.uint32),
        keys=keys,
        starts=_starts(np.bincount(ranked, minlength=len(keys))),
        positions=np.repeat(np.arange(len(sizes), dtype=np.uint32), sizes)[order],
        counts=np.minimum(np.array(counts, dtype=np.int64), _MOST).astype(np.uint8)[order],
    )


def merged(blocks: Sequence[tuple[Block, Flags | None]]) -> Block:
    """One block of the flagged passages (None: all) of neighbouring blocks, in the order of their ids."""
    keys = distinct(*(block.keys for block, _ in blocks))
    ranks = [np.searchsorted(keys, block.keys) for block, _ in blocks]
    sizes = [_kept_sizes(block, flags) for block, flags in blocks]
    totals = np.zeros(len(keys), dtype=np.int64)
    for rank, size in zip(ranks, sizes, strict=True):
        totals[rank] += size
    cursor = _starts(totals)[:-1].copy()
    positions = np.empty(int(totals.sum()), dtype=np.uint32)
    counts = np.empty(len(positions), dtype=np.uint8)
    base = 0
    for (block, flags), rank, size in zip(blocks, ranks, sizes, strict=True):
        moved = np.arange(base, base + len(block.ids)) if flags is None else base + np.cumsum(flags) - 1
        # In pieces, because what stands between the arrays is several times as large as they are.
        for low, high in _pieces(block.starts):
            taken = slice(int(block.starts[low]), int(block.starts[high]))
            old, count = block.positions[taken], block.counts[taken]
            if flags is not None:
                old, count = old[flags[old]], count[flags[old]]
            piece = size[low:high]
            target = np.repeat(cursor[rank[low:high]] - _starts(piece)[:-1], piece) + np.arange(len(old))
            positions[target] = moved[old]
            counts[target] = count
        cursor[rank] += size
        base += len(block.ids) if flags is None else int(np.count_nonzero(flags))
    present = totals > 0
    return Block(
        identity=blocks[0][0].identity,
        ids=np.concatenate([block.ids if flags is None else block.ids[flags] for block, flags in blocks]),
        lengths=np.concatenate([block.lengths if flags is None else block.lengths[flags] for block, flags in blocks]),
        keys=keys[present],
        starts=_starts(totals[present]),
        positions=positions,
        counts=counts,
    )


def same_postings(left: Block, right: Block) -> bool:
    """Whether two blocks hold the same."""
    return left.identity == right.identity and all(
        np.array_equal(getattr(left, name), getattr(right, name)) for name in _ARRAYS
    )


def save(block: Block, sink: Sink) -> None:
    """Write a block."""
    arrays = {name: np.ascontiguousarray(getattr(block, name)) for name in _ARRAYS if name != "keys"}
    arrays["keys"] = np.frombuffer(block.keys.astype(f"S{KEY_BYTES}").tobytes(), dtype=np.uint8)
    header: dict[str, Any] = {"__metadata__": {"analyzer": block.identity}}
    at = 0
    # The widest first, so that every array is aligned.
    names = sorted(_ARRAYS, key=lambda name: -np.dtype(_ARRAYS[name][1]).itemsize)
    for name in names:
        code, kind = _ARRAYS[name]
        arrays[name] = arrays[name].astype(kind, copy=False)
        shape = [len(block.keys), KEY_BYTES] if name == "keys" else [len(arrays[name])]
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [at, at + arrays[name].nbytes]}
        at += arrays[name].nbytes
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-(8 + len(head)) % _ALIGNED)
    sink(len(head).to_bytes(8, "little"))
    sink(head)
    for name in names:
        sink(arrays[name].data.cast("B") if len(arrays[name]) else b"")


def load(data: bytes | mmap.mmap, name: str) -> Block:
    """A block whose arrays are views of `data`.

    Raises:
        DamagedFileError: `data` is no block; `name` says in the message what was read.
    """
    try:
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(bytes(data[8:start]))
        arrays: dict[str, NDArray[Any]] = {}
        for array, (_, kind) in _ARRAYS.items():
            low, high = header[array]["data_offsets"]
            width = np.dtype(kind).itemsize
            arrays[array] = np.frombuffer(data, dtype=kind, count=(high - low) // width, offset=start + low)
        arrays["keys"] = arrays["keys"].view(f"S{KEY_BYTES}")
        block = Block(identity=str(header["__metadata__"]["analyzer"]), **arrays)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(f"{name} is no block of postings ({error})") from error
    whole = (
        len(block.starts) == len(block.keys) + 1
        and block.starts[0] == 0
        and block.starts[-1] == len(block.positions) == len(block.counts)
        and len(block.ids) == len(block.lengths)
    )
    if not whole:
        raise DamagedFileError(f"{name} holds arrays that do not fit together")
    return block


def map_block(path: Path) -> Block:
    """The block of a file, mapped; the file must have been verified.

    Raises:
        FileNotFoundError: the file is gone.
        DamagedFileError: it is no block.
    """
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (ValueError, OSError) as error:
            raise DamagedFileError(f"{path.name} cannot be mapped ({error})") from error
    return load(data, path.name)


def _kept_sizes(block: Block, flags: Flags | None) -> NDArray[np.int64]:
    if flags is None or not len(block.keys):
        return np.diff(block.starts)
    sizes = np.empty(len(block.keys), dtype=np.int64)
    for low, high in _pieces(block.starts):
        kept = flags[block.positions[int(block.starts[low]) : int(block.starts[high])]]
        sizes[low:high] = np.add.reduceat(kept, block.starts[low:high] - block.starts[low], dtype=np.int64)
    return sizes


def _pieces(starts: NDArray[np.int64], size: int = 1 << 22) -> Iterable[tuple[int, int]]:
    """Runs of terms of about `size` postings, at least one term each."""
    low, count = 0, len(starts) - 1
    while low < count:
        high = max(low + 1, int(np.searchsorted(starts, starts[low] + size, side="right")) - 1)
        yield low, high
        low = high


def _starts(sizes: NDArray[Any]) -> NDArray[np.int64]:
    starts = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=starts[1:])
    return starts
