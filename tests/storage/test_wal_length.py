"""The WAL is kept short."""

from __future__ import annotations

import os
import sqlite3
import zipfile
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Connection
from storing import check_against, filled, make_entry, open_store

from yusa.storage import compact, wal
from yusa.storage.database import WAL_BYTES


def test_the_limit_does_not_stay_at_what_a_long_search_made_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is kept open for writing remembers how long the WAL was, but not for ever."""
    log = tmp_path / "index.db-wal"
    log.touch()
    tried: list[float] = []
    monkeypatch.setattr(wal, "checkpoint", lambda _, *, wait: tried.append(wait))
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
