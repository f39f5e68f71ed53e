"""The WAL that belongs to a database is taken however far it was copied into it; another one is refused."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from storing import check_against, filled, make_entries, open_store, vector_ids

from yusa.errors import IndexFormatError
from yusa.storage import wal

_SUPPORT = Path(__file__).parents[1] / "support"

_VACUUM = """
import os, sys
from pathlib import Path
from storing import open_store
from yusa.storage.database import driver_connection
store = open_store(Path(sys.argv[1]))
with store.write() as writer:
    writer.delete([f"d{number}" for number in range(0, 400) if number % 5])
    driver_connection(writer._connection).execute("VACUUM")
    os._exit(0)
"""


def _frames(log: bytes) -> list[tuple[int, bytes]]:
    """Page numbers and pages of a WAL, in the order a checkpoint copies them: the last of each page, by number."""
    size = int.from_bytes(log[8:12], "big")
    pages = {}
    for start in range(32, len(log) - size, 24 + size):
        pages[int.from_bytes(log[start : start + 4], "big")] = log[start + 24 : start + 24 + size]
    return sorted(pages.items())


def test_a_checkpoint_that_was_killed_anywhere_leaves_the_index_whole(tmp_path: Path) -> None:
    path = tmp_path / "index"
    filled(path, range(400), batch=40).close()
    environment = {**os.environ, "PYTHONPATH": str(_SUPPORT)}
    subprocess.run([sys.executable, "-c", _VACUUM, str(path)], env=environment, check=True)
    model = {entry.document.id: entry for entry in make_entries(range(0, 400, 5))}
    frames = _frames((path / "index.db-wal").read_bytes())
    assert len(frames) > 10
    owned = vector_ids(path)
    for copied in range(1, len(frames) + 1):
        other = tmp_path / f"copied {copied}"
        _copy(path, other, dict(frames[:copied]))
        store = open_store(other)
        check_against(store, model)
        assert vector_ids(other) == owned
        store.close()
        shutil.rmtree(other)


def test_what_a_database_shows_in_the_middle_of_a_checkpoint_is_not_believed(tmp_path: Path) -> None:
    """A page that is free in the old layout may hold an older state, where the new layout has the newest."""
    path = tmp_path / "index"
    store = filled(path, range(400), batch=40)
    with sqlite3.connect(path / "index.db") as database:
        ((root, size),) = database.execute(
            "SELECT rootpage, page_size FROM sqlite_master, pragma_page_size WHERE name = 'state'"
        )
    database.close()
    older = (path / "index.db").read_bytes()[(root - 1) * size : root * size]
    with store.write() as writer:
        writer.put(make_entries(range(3)))
    store.close()
    subprocess.run(
        [sys.executable, "-c", _VACUUM, str(path)], env={**os.environ, "PYTHONPATH": str(_SUPPORT)}, check=True
    )
    model = {entry.document.id: entry for entry in make_entries(range(0, 400, 5))}
    numbers = [number for number, _ in _frames((path / "index.db-wal").read_bytes())]
    assert root in numbers
    _copy(path, tmp_path / "other", {root: older, numbers[-1]: bytes(size)})
    shown = wal._alone(tmp_path / "other" / "index.db", whole=False)
    assert shown is not None
    other = open_store(tmp_path / "other")
    with other.read() as view:
        assert shown[1] < view.sequence - 1
    check_against(other, model)
    other.close()
    _copy(path, tmp_path / "sound", {root: older})
    with pytest.raises(IndexFormatError, match="belongs to another database"):
        open_store(tmp_path / "sound")


def _copy(path: Path, other: Path, pages: dict[int, bytes]) -> None:
    """A copy of an index whose database has other pages."""
    shutil.copytree(path, other)
    (other / "index.db-shm").unlink()
    with (other / "index.db").open("r+b") as file:
        for number, content in pages.items():
            file.seek((number - 1) * len(content))
            file.write(content)


def test_every_full_copy_is_noted(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(3))
    for number in range(3, 6):
        with store.write() as writer:
            before = writer.sequence
            writer.put(make_entries([number]))
        with sqlite3.connect(store.path / "index.db") as database:
            assert database.execute("SELECT checkpointed FROM state").fetchone() == (before,)
        database.close()
    store.close()
