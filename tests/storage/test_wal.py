"""The WAL is kept short, and a checkpoint that was cut off anywhere leaves an index that opens."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from storing import check_against, filled, make_entries, make_entry, open_store
from sqlalchemy import Connection

from yusa.storage import compact, wal
from yusa.storage.database import WAL_BYTES

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


def test_the_limit_does_not_stay_at_what_a_long_search_made_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is kept open for writing remembers how long the WAL was, but not for ever."""
    log = tmp_path / "index.db-wal"
    log.touch()
    tried: list[float] = []
    monkeypatch.setattr(wal, "checkpoint", lambda connection, *, wait: tried.append(wait))
    limit = wal.WalLimit(tmp_path)

    def keep(size: int) -> int:
        os.truncate(log, size)
        tried.clear()
        limit.keep(cast(Connection, None))
        return len(tried)

    assert [keep(size) for size in (WAL_BYTES, WAL_BYTES + 1, 2 * WAL_BYTES, 9 * WAL_BYTES)] == [0, 1, 0, 1]
    assert [keep(size) for size in (9 * WAL_BYTES + 1, 10 * WAL_BYTES + 1)] == [0, 1]
    # The end of a session empties it.
    assert [keep(size) for size in (0, WAL_BYTES + 1)] == [0, 1]


def test_compacting_in_place_keeps_the_log_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is too little to give back for writing the database anew, pages are moved one by one."""
    store = filled(tmp_path / "index", range(4000))
    with store.write() as writer:
        writer.delete([f"d{number}" for number in range(0, 4000, 3)])
    monkeypatch.setattr(compact, "VACUUM_SHARE", 1)
    monkeypatch.setattr(compact, "_PAGES_AT_ONCE", 4)
    monkeypatch.setattr(wal, "WAL_BYTES", 1 << 16)
    longest = 0
    shrink = compact._number

    def number(connection: sqlite3.Connection, pragma: str) -> int:
        nonlocal longest
        longest = max(longest, wal.wal_bytes(store.path))
        return shrink(connection, pragma)

    monkeypatch.setattr(compact, "_number", number)
    store.close()
    store = open_store(store.path)
    store.compact()
    assert 0 < longest < 4 << 16
    check_against(store, {f"d{i}": make_entry(f"d{i}", metadata={"number": i}) for i in range(4000) if i % 3})
    store.close()


def test_a_migration_leaves_no_log(tmp_path: Path) -> None:
    """It writes every row, and nobody may write to the index for a long time."""
    with zipfile.ZipFile(Path(__file__).parent / "fixtures" / "format-2.zip") as archive:
        archive.extractall(tmp_path / "old")
    [database] = (tmp_path / "old").rglob("index.db")
    store = open_store(database.parent)
    assert wal.wal_bytes(store.path) == 0
    store.close()
