"""The WAL is kept short, and a checkpoint that was cut off anywhere leaves an index that opens."""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from storing import check_against, filled, make_entries, make_entry, open_store
from sqlalchemy import Connection

from yusa.storage import compact, wal
from yusa.storage.database import WAL_BYTES, writer_engine

_HEADER, _FRAME = 32, 24


def _pages(log: bytes) -> tuple[int, dict[int, bytes]]:
    """The size of pages, and the newest of each that a checkpoint would copy."""
    (size,) = struct.unpack(">I", log[8:12])
    pages: dict[int, bytes] = {}
    last = 0
    for at in range(_HEADER, len(log), _FRAME + size):
        number, whole = struct.unpack(">II", log[at : at + 8])
        if log[at + 8 : at + 16] != log[16:24]:
            break
        pages[number] = log[at + _FRAME : at + _FRAME + size]
        last = whole or last
    return size, {number: pages[number] for number in sorted(pages) if number <= last}


def _cut_off(index: Path, copy: Path, chosen: Callable[[list[int]], list[int]]) -> None:
    """A copy of an index of whose WAL only some pages have come into the database."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(index, copy)
    size, pages = _pages((copy / "index.db-wal").read_bytes())
    with (copy / "index.db").open("r+b") as file:
        for number in chosen(list(pages)):
            file.seek((number - 1) * size)
            file.write(pages[number])
    (copy / "index.db-shm").unlink()


def _check_cut_off(index: Path, copy: Path, numbers: range) -> None:
    model = {entry.document.id: entry for entry in make_entries(numbers)}
    chance = random.Random(1)
    count = len(_pages((index / "index.db-wal").read_bytes())[1])
    assert count > 20
    # A kill leaves the first pages, a power loss any.
    firsts: list[Callable[[list[int]], list[int]]] = [lambda pages, n=n: pages[:n] for n in range(0, count + 1, 3)]
    for chosen in [*firsts, *[lambda pages: [page for page in pages if chance.random() < 0.5]] * 10]:
        _cut_off(index, copy, chosen)
        store = open_store(copy)
        check_against(store, model)
        with store.write() as writer:
            writer.put([make_entry("new")])
        store.close()
        store = open_store(copy)
        assert store.verify(deep=True).ok
        store.close()


def test_a_checkpoint_cut_off_while_the_database_grows(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(100))
    with store.write() as writer:
        writer.put(make_entries(range(100, 700)))
        shutil.copytree(store.path, tmp_path / "killed")
    store.close()
    _check_cut_off(tmp_path / "killed", tmp_path / "copy", range(700))


def test_a_checkpoint_cut_off_after_the_database_was_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path / "index", range(2000))
    with store.write() as writer:
        writer.delete([f"d{number}" for number in range(300, 2000)])

    def killed(connection: Connection, *, wait: float = 0.0) -> None:
        shutil.copytree(store.path, tmp_path / "killed")

    monkeypatch.setattr(compact, "checkpoint", killed)
    before = store.stats().database_bytes
    store.compact()
    assert store.stats().database_bytes < before / 2
    store.close()
    _check_cut_off(tmp_path / "killed", tmp_path / "copy", range(300))
