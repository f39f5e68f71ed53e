"""Files that other programs, or the disk, changed: served right from the truth, or refused by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from storing import check_against, filled, make_entries, open_store

from yusa.storage import Entry, publish

_DOCUMENTS = 200


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of one segment, whose checksums are remembered, and no tail."""
    monkeypatch.setattr(publish, "TAIL_LIMIT", 40)
    filled(tmp_path / "index", range(_DOCUMENTS), batch=_DOCUMENTS, passages=2).close()
    store = open_store(tmp_path / "index")
    check_against(store, _model())
    store.close()
    return tmp_path / "index"


def _model() -> dict[str, Entry]:
    return {entry.document.id: entry for entry in make_entries(range(_DOCUMENTS), passages=2)}


def _segment_files(path: Path) -> list[Path]:
    return sorted((path / "segments").iterdir())


def _flip(path: Path, at: int, bit: int) -> None:
    """One bit becomes another, in place."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def _flips(path: Path, seed: int, count: int) -> Iterator[tuple[int, int]]:
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield int(random.integers(path.stat().st_size)), int(random.integers(8))


@pytest.mark.parametrize("suffix", ["faiss", "ids", "owners", "postings"])
def test_a_flipped_bit_of_a_segment_is_never_a_wrong_hit(index: Path, suffix: str) -> None:
    [path] = [path for path in _segment_files(index) if path.suffix == f".{suffix}"]
    for at, bit in _flips(path, seed=1, count=6):
        _flip(path, at, bit)
        store = open_store(index)
        check_against(store, _model(), seed=at)
        assert len(store.verify(deep=True).repairable) == 1
        store.close()
        _flip(path, at, bit)


@pytest.mark.parametrize("suffix", ["faiss", "postings"])
def test_a_bit_that_decays_without_a_trace_is_found_deeply_and_then_rebuilt(index: Path, suffix: str) -> None:
    """A checksum is remembered by a file's time, which a disk that forgets does not change."""
    [path] = [path for path in _segment_files(index) if path.suffix == f".{suffix}"]
    status = path.stat()
    _flip(path, status.st_size - 1, 3)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    store = open_store(index)
    assert "checksum" in "".join(store.verify(deep=True).repairable)
    store.close()
    store = open_store(index)
    check_against(store, _model())
    with store.write():
        pass
    check_against(store, _model())
    assert store.verify(deep=True).ok
    assert not path.exists()
    store.close()
