"""Readers see one commit each, never write, and are never in the writer's way; ten at once: `tests/torture`."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Connection
from storing import check_against, filled, make_entries, make_entry, open_store

from yusa.errors import IndexNotFoundError, StorageError
from yusa.storage import database, engine, wal
from yusa.storage.database import Readers

_SUPPORT = Path(__file__).parents[1] / "support"


def test_a_view_keeps_its_commit(tmp_path: Path, small_tail: int) -> None:
    store = filled(tmp_path / "index", range(30))
    with store.read() as view:
        before = view.sequence
        with store.write() as writer:
            writer.delete([f"d{i}" for i in range(25)])
            writer.put(make_entries(range(100, 200)))
        assert view.sequence == before
        assert view.document_count() == 30
        assert view.live() == 30
        _, ids = view.search(make_entry("d3").vectors, 1)
        assert view.documents([view.passages(ids[0])[int(ids[0, 0])].document])
    with store.read() as view:
        assert view.sequence > before
        assert view.live() == 105
    store.close()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_no_reader_writes_or_checkpoints(tmp_path: Path, small_tail: int) -> None:
    """With a full WAL and no other connection, reading and closing leaves database and WAL as they are."""
    path = tmp_path / "index"
    filled(path, range(90)).close()
    code = (
        "import os, sys; from pathlib import Path; from storing import make_entries, open_store\n"
        "store = open_store(Path(sys.argv[1]))\n"
        "with store.write() as writer:\n"
        "    writer.put(make_entries(range(90, 120)))\n"
        "    os._exit(0)\n"  # leaves its WAL behind, as a kill does
    )
    subprocess.run([sys.executable, "-c", code, str(path)], env={**os.environ, "PYTHONPATH": str(_SUPPORT)}, check=True)
    files = [path / "index.db", path / "index.db-wal"]
    assert files[1].stat().st_size > 0
    before = [_digest(file) for file in files]
    for _ in range(2):
        store = open_store(path)
        check_against(store, {entry.document.id: entry for entry in make_entries(range(120))})
        store.verify(deep=True)
        store.stats()
        store.backup(tmp_path / "backup" / before[0] / str(_))
        store.close()
    assert [_digest(file) for file in files] == before
    readers = Readers(path)
    with readers.connection() as connection, pytest.raises(sqlite3.Error, match=r"disk I/O error|readonly"):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with readers.connection() as connection, pytest.raises(sqlite3.Error, match="readonly"):
        connection.execute("DELETE FROM document")
    examining = engine.reader_engine(readers.uri)
    with examining.connect() as examiner, pytest.raises(Exception, match="readonly"):
        examiner.exec_driver_sql("DELETE FROM document")
    readers.close()
    assert [_digest(file) for file in files] == before
    store = open_store(path)
    with store.write():
        pass
    assert files[1].stat().st_size == 0
    assert _digest(files[0]) != before[0]
    store.close()


def test_errors_in_a_view_end_its_transaction(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(3))
    for _ in range(20):
        with pytest.raises(ZeroDivisionError), store.read():
            raise ZeroDivisionError
    with store.write() as writer:
        writer.put(make_entries(range(3, 6)))
    assert wal.wal_bytes(store.path) == 0, "a transaction of a reader keeps the WAL from being emptied"
    store.close()


_AS_READER = """
import os, sys
from pathlib import Path
import numpy.random, numpy.testing  # before the installation cannot be read any more
from storing import check_against, make_entries, open_store
from yusa.errors import StorageError
from yusa.storage import encodings, engine, lock, stats, store, verify, writer
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)  # root may write anywhere
path = Path(sys.argv[1])
assert not os.access(path, os.W_OK)
"""

_READ_ONLY = """
store = open_store(path)
check_against(store, {entry.document.id: entry for entry in make_entries(range(90))})
assert store.verify(deep=True).ok
assert store.stats().documents == 90
try:
    with store.write():
        pass
except StorageError as error:
    print(error, flush=True)
sys.stdin.readline()
try:
    with store.read():
        pass
except StorageError as error:
    print(error, flush=True)
"""

_READ_ONLY_WITH_WAL = """
try:
    open_store(path)
except StorageError as error:
    print(error)
"""


def _as_reader(script: str, path: Path) -> subprocess.Popen[str]:
    """Run a script as a user who may not write `path`, which others may enter."""
    for parent in [*path.parents][:4]:  # one more where tests run side by side
        parent.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(_SUPPORT), "YUSA_CACHE": str(path.parent / "cache")}
    command = [sys.executable, "-c", _AS_READER + script, str(path)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_a_read_only_directory_is_searched(tmp_path: Path, small_tail: int) -> None:
    path = tmp_path / "index"
    filled(path, range(90)).close()
    for name in ("index.db-wal", "index.db-shm", "writer.lock"):
        (path / name).unlink(missing_ok=True)
    path.chmod(0o555)
    try:
        with _as_reader(_READ_ONLY, path) as process:
            assert process.stdout is not None
            assert "writer.lock cannot be locked" in process.stdout.readline()
            path.chmod(0o755)
            store = open_store(path)
            with store.write() as writer:
                writer.put(make_entries(range(90, 95)))
            store.close()
            output, _ = process.communicate("\n")
            assert "was changed while it was open" in output
    finally:
        path.chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_a_read_only_directory_with_a_wal_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "index"
    filled(path, range(9)).close()
    (path / "index.db-shm").unlink(missing_ok=True)
    (path / "index.db-wal").write_bytes(b"left over by a crash" * 10)
    path.chmod(0o555)
    try:
        output, _ = _as_reader(_READ_ONLY_WITH_WAL, path).communicate()
    finally:
        path.chmod(0o755)
    assert "cannot be opened" in output
    assert "index.db-shm" in output


def test_closing_twice_and_missing_index(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(3))
    store.close()
    store.close()
    with store.read() as view:  # a closed store opens its connections anew
        assert view.live() == 3
    store.close()
    with pytest.raises(IndexNotFoundError):
        open_store(tmp_path)
    with pytest.raises(StorageError):
        open_store(tmp_path / "index" / "index.db")


def _small_wal(monkeypatch: pytest.MonkeyPatch) -> int:
    """The WAL is copied from 50 pages on instead of 4,000; the bound that follows, without the last commit."""
    size = 50 * engine._PAGE_SIZE
    limit = f"journal_size_limit={database.WAL_BYTES}"
    assert limit in engine._WRITER_PRAGMAS
    monkeypatch.setattr(
        engine,
        "_WRITER_PRAGMAS",
        tuple(f"journal_size_limit={size}" if pragma == limit else pragma for pragma in engine._WRITER_PRAGMAS),
    )
    monkeypatch.setattr(wal, "WAL_BYTES", size)
    return 2 * size


_COMMIT = 300_000
"""More bytes than a batch of the tests below adds to the WAL, with the segments that follow it (measured: 254,696)."""


def test_the_wal_stays_short_while_searches_overlap(
    tmp_path: Path, small_tail: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = _small_wal(monkeypatch)
    monkeypatch.setattr(wal, "_WAIT", 30.0)  # a busy machine is no matter of this test
    store = filled(tmp_path / "index", range(20))
    file = store.path / "index.db-wal"
    stop, begun = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        """At every moment at least one view is open."""
        try:
            with ExitStack() as last:
                current = last.enter_context(ExitStack())
                current.enter_context(store.read())
                begun.set()
                while not stop.is_set():
                    following = ExitStack()
                    view = following.enter_context(store.read())
                    assert len(view.search(make_entry("d3").vectors, 3)[1][0]) == 3
                    current.close()
                    current = last.enter_context(following)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(60)
    sizes: list[int] = []
    written = 0
    try:
        with store.write() as writer:
            for _ in range(60):
                writer.put(make_entries(range(20)))
                sizes.append(file.stat().st_size)
                written += max(0, sizes[-1] - (sizes[-2] if len(sizes) > 1 else 0))
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert written > 2 * bound
    assert max(sizes) <= bound + _COMMIT
    with store.write():
        pass
    assert file.stat().st_size == 0
    store.close()


def test_a_view_that_is_held_makes_the_wal_grow_only_until_it_ends(
    tmp_path: Path, small_tail: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = _small_wal(monkeypatch)
    monkeypatch.setattr(wal, "_WAIT", 0.001)
    store = filled(tmp_path / "index", range(20))
    file = store.path / "index.db-wal"
    waits = 0
    checkpoint = wal.checkpoint

    def counted(connection: Connection, *, wait: float = 0.0) -> None:
        nonlocal waits
        waits += 1
        checkpoint(connection, wait=wait)

    monkeypatch.setattr(wal, "checkpoint", counted)
    with store.read() as view:
        with store.write() as writer:
            while file.stat().st_size < 4 * bound:
                writer.put(make_entries(range(20)))
        # The writer did not wait at every commit, but once for each copy that the file has grown by.
        assert 0 < waits <= 4 * 2
        assert view.document_count() == 20
        assert {entry.document.id for entry in make_entries(range(20))} == set(view.ids_of("a"))
    waits = 0
    sizes = []
    with store.write() as writer:
        for _ in range(60):
            writer.put(make_entries(range(20)))
            sizes.append(file.stat().st_size)
    assert max(sizes[1:]) <= bound + _COMMIT
    assert file.stat().st_size == 0
    store.close()
