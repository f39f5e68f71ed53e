"""Backups, compaction, verification, migration, and what a full disk or a network file system gets to hear."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from storing import check_against, create_store, filled, make_entries, make_entry, make_settings, open_store

from yusa.errors import IndexExistsError, IndexFormatError, StorageError
from yusa.storage import Entry, backup, database, network
from yusa.storage.checksums import renew_state_checksum

_SUPPORT = Path(__file__).parents[1] / "support"


def _model(numbers: range) -> dict[str, Entry]:
    return {entry.document.id: entry for entry in make_entries(numbers)}


def test_a_backup_is_an_index(tmp_path: Path, small_tail: int) -> None:
    store = filled(tmp_path / "index", range(200))
    with store.write() as writer:
        writer.delete(["d3"])
    model = {id: entry for id, entry in _model(range(200)).items() if id != "d3"}
    store.backup(tmp_path / "backups" / "한글")
    (tmp_path / "empty").mkdir()
    store.backup(tmp_path / "empty")
    store.close()
    shutil.rmtree(tmp_path / "index")
    for path in (tmp_path / "backups" / "한글", tmp_path / "empty"):
        assert [entry.name for entry in path.iterdir()] == ["index.db"]
        copy = open_store(path)
        check_against(copy, model)
        assert copy.verify(deep=True).ok
        with copy.write() as writer:
            writer.put([make_entry("new")])
        assert copy.stats().segments == 1
        check_against(copy, {**model, "new": make_entry("new")})
        copy.close()
    assert [path.name for path in (tmp_path / "backups").iterdir()] == ["한글"]


def test_a_backup_of_a_tail_with_deleted_passages_is_whole(tmp_path: Path) -> None:
    with closing(filled(tmp_path / "index", range(10))) as store:
        with store.write() as writer:
            writer.delete(["d3", "d4"])
        store.backup(tmp_path / "backup")
    with closing(open_store(tmp_path / "backup")) as copy:
        assert copy.verify(deep=True).ok
        with copy.write() as writer:
            writer.put([make_entry("new")])
        assert copy.verify(deep=True).ok


def test_a_backup_never_overwrites_and_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path / "index", range(20))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine", encoding="utf-8")
    for path in (tmp_path / "full", tmp_path / "full" / "file", tmp_path / "index"):
        with pytest.raises(IndexExistsError, match="there already and not empty"):
            store.backup(path)
    with pytest.raises(StorageError, match="failed"):
        store.backup(tmp_path / "full" / "file" / "deeper")

    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "sync_directory", fail)
    with pytest.raises(StorageError, match="No space left on device"):
        store.backup(tmp_path / "new")
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "index"]
    store.close()


def test_backup_while_writing(tmp_path: Path, small_tail: int) -> None:
    store = filled(tmp_path / "index", range(40), batch=10)
    stop = threading.Event()

    def write() -> None:
        number = 40
        while not stop.is_set():
            with store.write() as writer:
                writer.put(make_entries(range(number, number + 10)))
            number += 10

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(5):
            store.backup(tmp_path / f"b{number}")
    finally:
        stop.set()
        thread.join()
    counts = []
    for number in range(5):
        copy = open_store(tmp_path / f"b{number}")
        counts.append(copy.stats().documents)
        check_against(copy, _model(range(counts[-1])))
        assert copy.verify(deep=True).ok
        copy.close()
    assert counts == sorted(counts)
    assert all(count % 10 == 0 for count in counts)
    store.close()


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE passage SET vector = x'00' WHERE vector_id = 5", "vector 5 has 1 bytes instead of 16"),
        ("UPDATE passage SET vector = CAST(x'007c' || substr(vector, 3) AS BLOB) WHERE vector_id = 5", "5 .* finite"),
        ("UPDATE passage SET vector = x'ff' || substr(vector, 2) WHERE vector_id = 5", "database: Could not decode"),
        (
            'UPDATE passage SET "end" = 999 WHERE vector_id = 5',
            "passage 5 of document 'd5' spans 0-999 of 10 characters",
        ),
        ("UPDATE passage SET ordinal = 3 WHERE vector_id = 5", "not numbered from 0"),
        ("DELETE FROM attribute WHERE document = 3", "filterable values of document 'd2'"),
        ("UPDATE attribute SET number = 77 WHERE document = 3", "filterable values of document 'd2'"),
        ("INSERT INTO attribute VALUES (3, 9, 1, 0, NULL, 'x')", "filterable values of document 'd2'"),
        ("DELETE FROM document WHERE key = 4", "refers to a row of document that is not there"),
        ("UPDATE state SET next_key = 2", "is not below the next key 2"),
        ("UPDATE state SET next_vector_id = 2", "not below the next id 2.*beyond the last vector id 1"),
        ("DELETE FROM passage WHERE vector_id = 7", "stands for 80 vectors, the database has 79"),
        ("UPDATE segment SET first_id = -5", None),
        ("INSERT INTO segment VALUES (9, 1, 5, 6, 0, 1)", "segments 1 and 9 overlap"),
        ("INSERT INTO attribute VALUES (3, 9, 2, 0, NULL, 'label')", None),
    ],
)
def test_deep_verification_finds(tmp_path: Path, small_tail: int, statement: str, problem: str | None) -> None:
    store = filled(tmp_path / "index", range(80), batch=80)
    assert store.verify(deep=True).ok
    connection = sqlite3.connect(store.path / "index.db")
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute("INSERT INTO field VALUES (2, 'yusa.label')")
    connection.execute(statement)
    renew_state_checksum(connection)
    connection.commit()
    connection.close()
    report = store.verify(deep=True)
    assert report.deep
    assert report.ok == (problem is None)
    assert re.search(problem or "", "\n".join(report.problems), re.DOTALL), report.problems
    store.close()


def _read_all(path: Path) -> None:
    store = open_store(path)
    try:
        with store.read() as view:
            view.documents(range(1000))
    finally:
        store.close()


def test_a_damaged_database_is_refused_or_reported(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(500))
    store.close()
    path = store.path / "index.db"
    content = bytearray(path.read_bytes())
    for place in range(8192 * 3, len(content), 8192):
        content[place : place + 64] = b"\xff" * 64
    path.write_bytes(content)
    with pytest.raises(IndexFormatError, match=r"is damaged .* restore a backup"):
        _read_all(path.parent)


_FULL = """
import resource, signal, sys
from pathlib import Path
from storing import make_entries, check_against, open_store
from yusa.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = open_store(Path(sys.argv[1]))
sizes = [path.stat().st_size for path in store.path.rglob("*") if path.is_file()]
resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) + int(sys.argv[2]), resource.RLIM_INFINITY))
committed = 100
try:
    with store.write() as writer:
        while True:
            writer.put(make_entries(range(committed, committed + 100)))
            committed += 100
except StorageError as error:
    print(error, flush=True)
check_against(store, {entry.document.id: entry for entry in make_entries(range(committed))})
print(committed, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("room", [0, 30_000, 100_000, 300_000])
def test_a_full_disk_takes_back_only_the_batch_in_flight(tmp_path: Path, room: int) -> None:
    store = filled(tmp_path / "index", range(100))
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(store.path), str(room)],
        env={**os.environ, "PYTHONPATH": str(_SUPPORT)},
        capture_output=True,
        text=True,
        check=True,
    )
    message, committed = done.stdout.splitlines()
    assert "Everything committed before is kept" in message
    check_against(store, _model(range(int(committed))))
    assert store.verify(deep=True).ok
    with store.write() as writer:
        writer.put(make_entries(range(int(committed), int(committed) + 100)))
    check_against(store, _model(range(int(committed) + 100)))
    store.close()


@pytest.mark.parametrize("code", sorted(database._MESSAGES))
def test_every_database_error_says_what_to_do(tmp_path: Path, code: int) -> None:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code | (3 << 8)
    shown = database.database_error(tmp_path, error)
    assert isinstance(shown, StorageError)
    assert str(tmp_path / "index.db") in str(shown)
    assert str(shown).endswith(".")
    assert "{" not in str(shown)


def test_other_database_errors_are_shown_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"index\.db: something else"), database.translated(tmp_path):
        raise sqlite3.OperationalError("something else")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_network_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    share = tmp_path / "a share"
    share.mkdir()
    filled(share / "index", range(3)).close()
    mounts = tmp_path / "mounts"
    escaped = str(share).replace(" ", "\\040")
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nserver:/x {escaped} {kind} rw 0 0\nbroken\n", encoding="utf-8")
    monkeypatch.setattr(network, "_MOUNTS", mounts)
    with pytest.raises(StorageError, match=rf"network file system \({kind}\).* Put the index on a local disk"):
        create_store(share / "new" / "index", make_settings())
    with pytest.raises(StorageError, match="network file system"):
        open_store(share / "index")
    (tmp_path / "link").symlink_to(share)
    with pytest.raises(StorageError, match="network file system"):
        open_store(tmp_path / "link" / "index")
    assert not (share / "new").exists()
    filled(tmp_path / "local", range(3)).close()
    monkeypatch.setattr(network, "_MOUNTS", tmp_path / "no such file")
    open_store(share / "index").close()


def test_stats_count(tmp_path: Path, small_tail: int) -> None:
    store = filled(tmp_path / "index", range(50), passages=2)
    with store.write() as writer:
        writer.put([make_entry("other", source="b"), make_entry("empty", passages=0)])
        writer.delete(["d1", "d2"])
    stats = store.stats()
    assert (stats.documents, stats.passages, stats.sources, stats.segments) == (50, 97, 2, 1)
    assert (stats.tail, stats.deleted) == (1, 4)
    assert stats.dead_bytes == stats.segment_bytes * 4 // 100
    assert stats.database_bytes == sum((store.path / name).stat().st_size for name in ("index.db", "index.db-wal"))
    assert stats.segment_bytes == sum(path.stat().st_size for path in (store.path / "segments").iterdir())
    assert 0 < stats.live_bytes <= stats.database_bytes + stats.segment_bytes
    with store.write() as writer:
        assert stats.sequence == writer.sequence
    store.close()
