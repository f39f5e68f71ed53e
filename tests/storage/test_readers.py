"""Readers see one commit each, never go back, never write, and are never in the writer's way."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from storing import DIMENSION, check_against, filled, make_entries, make_entry, open_store

from yusa.errors import IndexNotFoundError, StorageError
from yusa.storage.database import reader_engine

_SUPPORT = Path(__file__).parents[1] / "support"

_READ = """
import sys
from pathlib import Path
import numpy as np
from storing import DIMENSION, open_store, vector_of
store = open_store(Path(sys.argv[1]))
print("open", flush=True)
last = 0
searches = 0
random = np.random.default_rng(1)
while not Path(sys.argv[2]).exists():
    with store.read() as view:
        assert view.sequence >= last
        last = view.sequence
        scores, ids = view.search(random.standard_normal((1, DIMENSION)).astype(np.float32), 5)
        hits = view.passages(ids[0])
        documents = view.documents(hit.document for hit in hits.values())
        assert len(hits) == 5
        for vector_id, hit in hits.items():
            text = documents[hit.document].document.text
            np.testing.assert_array_equal(view.vectors([vector_id])[0], vector_of(text[hit.start:hit.end]))
    searches += 1
print(searches, flush=True)
"""


def test_threads_and_a_process_read_while_one_writes(tmp_path: Path, small_tail: int) -> None:
    store = filled(tmp_path / "index", range(40))
    stop = tmp_path / "stop"
    environment = {**os.environ, "PYTHONPATH": str(_SUPPORT)}
    process = subprocess.Popen(
        [sys.executable, "-c", _READ, str(store.path), str(stop)], env=environment, stdout=subprocess.PIPE, text=True
    )
    failures: list[BaseException] = []
    searches = [0] * 4

    def read(number: int) -> None:
        random = np.random.default_rng(number)
        last = 0
        try:
            while not stop.exists():
                with store.read() as view:
                    assert view.sequence >= last
                    last = view.sequence
                    _, ids = view.search(random.standard_normal((1, DIMENSION)).astype(np.float32), 5)
                    hits = view.passages(ids[0])
                    assert len(hits) == 5
                    documents = view.documents(hit.document for hit in hits.values())
                    for vector_id, hit in hits.items():
                        expected = make_entry("", documents[hit.document].document.text).vectors
                        np.testing.assert_array_equal(view.vectors([vector_id]), expected)
                searches[number] += 1
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    random = np.random.default_rng(9)
    for step in range(20):
        with store.write() as writer:
            numbers = random.choice(100, size=12, replace=False)
            writer.put([make_entry(f"d{number}", f"{number} of step {step}") for number in numbers])
            writer.delete([f"d{number}" for number in random.choice(range(20, 100), size=5)])
        if step % 8 == 7:
            store.compact()
    stop.touch()
    for thread in threads:
        thread.join()
    output, _ = process.communicate()
    assert process.returncode == 0
    assert failures == []
    assert int(output) > 0
    assert min(searches) > 0
    assert store.verify(deep=True).ok
    store.close()


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
    engine = reader_engine(path)
    with engine.connect() as connection, pytest.raises(Exception, match=r"disk I/O error|readonly"):
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    with engine.connect() as connection, pytest.raises(Exception, match="readonly"):
        connection.exec_driver_sql("DELETE FROM document")
    engine.dispose()
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
    assert store._engine.pool.status().count("Current Checked out connections: 0") == 1
    store.close()


_AS_READER = """
import os, sys
from pathlib import Path
import numpy.testing  # before the installation cannot be read any more
from storing import check_against, make_entries, open_store
from yusa.errors import StorageError
from yusa.storage import store as everything
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
