"""A backup becomes an index: from its one file, checked before anything is touched, whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock
from storing import check_against, filled, make_entries, make_entry, open_store

from yusa.errors import (
    IndexExistsError,
    IndexFormatError,
    IndexLockedError,
    IndexNotFoundError,
    StorageError,
)
from yusa.storage import Entry, Store
from yusa.storage.lock import writer_lock
from yusa.storage.restore import restore
from yusa.storage.scratch import scratch_beside


def _model(numbers: range) -> dict[str, Entry]:
    return {entry.document.id: entry for entry in make_entries(numbers)}


@pytest.fixture
def saved(tmp_path: Path, small_tail: int) -> Path:
    store = filled(tmp_path / "made", range(100))
    with store.write() as writer:
        writer.delete(["d7"])
    store.backup(tmp_path / "saved")
    store.close()
    return tmp_path / "saved"


def _check(path: Path) -> None:
    model = {id: entry for id, entry in _model(range(100)).items() if id != "d7"}
    store = open_store(path)
    check_against(store, model)
    assert store.verify(deep=True).ok
    with store.write() as writer:
        writer.put([make_entry("new")])
    check_against(store, {**model, "new": make_entry("new")})
    assert store.verify(deep=True).ok
    store.close()


def test_a_new_place_and_an_empty_directory(tmp_path: Path, saved: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in ("deep/er/한글", "empty"):
        assert restore(saved, tmp_path / place) is None
        _check(tmp_path / place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "empty", "made", "saved"]


def test_the_one_file_is_enough(tmp_path: Path, saved: Path) -> None:
    alone = tmp_path / "news 2024.db"
    shutil.copy(saved / "index.db", alone)
    alone.chmod(0o400)
    restore(alone, tmp_path / "new")
    _check(tmp_path / "new")


def test_an_index_in_use_is_a_source_too(tmp_path: Path, small_tail: int) -> None:
    store = filled(tmp_path / "made", range(30))
    with store.write() as writer:
        writer.put(make_entries(range(30, 35)))
        restore(store.path, tmp_path / "copy")
    copy = open_store(tmp_path / "copy")
    check_against(copy, _model(range(35)))
    copy.close()
    store.close()


@pytest.mark.parametrize("atomic", [True, False])
def test_what_is_replaced_is_put_aside(
    tmp_path: Path, saved: Path, monkeypatch: pytest.MonkeyPatch, atomic: bool
) -> None:
    if not atomic:
        monkeypatch.setattr("yusa.storage.files.sys.platform", "other")
    store = filled(tmp_path / "index", range(5))
    with pytest.raises(IndexExistsError, match="with --replace"):
        restore(saved, store.path)
    check_against(store, _model(range(5)))
    with store.write(), pytest.raises(IndexLockedError, match=str(os.getpid())):
        restore(saved, store.path, replace=True)
    aside = restore(saved, store.path, replace=True)
    assert aside is not None
    with pytest.raises(IndexNotFoundError, match="removed or replaced"), store.read():
        pass
    store.close()
    _check(store.path)
    old = open_store(aside)
    check_against(old, _model(range(5)))
    old.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", aside.name, "made", "saved"]


def test_a_damaged_index_can_be_replaced(tmp_path: Path, saved: Path) -> None:
    filled(tmp_path / "index", range(5)).close()
    (tmp_path / "index" / "index.db").write_bytes(b"no database any more" * 1000)
    restore(saved, tmp_path / "index", replace=True)
    _check(tmp_path / "index")


def test_a_bad_source_touches_nothing(tmp_path: Path, saved: Path) -> None:
    store = filled(tmp_path / "index", range(5))
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE state (x)")
    other.commit()
    other.close()
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at" * 100, encoding="utf-8")
    newer = tmp_path / "newer.db"
    shutil.copy(saved / "index.db", newer)
    changed = sqlite3.connect(newer)
    changed.execute("UPDATE state SET format_version = 99")
    changed.commit()
    changed.close()
    torn = tmp_path / "torn.db"
    content = bytearray((saved / "index.db").read_bytes())
    for place in range(8192 * 3, len(content), 8192):
        content[place : place + 64] = b"\xff" * 64
    torn.write_bytes(content)
    cut = tmp_path / "cut.db"
    cut.write_bytes((saved / "index.db").read_bytes()[: 8192 * 5])
    cases: list[tuple[Path, type[StorageError], str]] = [
        (tmp_path / "nothing", IndexNotFoundError, "no backup at"),
        (tmp_path / "other.db", IndexFormatError, "other.db is no backup"),
        (tmp_path / "text.db", IndexFormatError, "text.db is not an index"),
        (newer, IndexFormatError, "has format 99"),
        (torn, IndexFormatError, "torn.db"),
        (cut, IndexFormatError, "cut.db"),
        (store.path, IndexExistsError, "the index that it would replace"),
    ]
    for source, error, message in cases:
        with pytest.raises(error, match=message):
            restore(source, store.path, replace=True)
        check_against(store, _model(range(5)))
    store.close()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".", "index.replaced"))]


def test_strangers_are_never_replaced(tmp_path: Path, saved: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine", encoding="utf-8")
    for place in (tmp_path / "mine", tmp_path / "mine" / "file"):
        with pytest.raises(IndexExistsError, match="is there and no index"):
            restore(saved, place, replace=True)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path / "index", range(5))

    def fail(one: Path, other: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("yusa.storage.restore.exchange", fail)
    with pytest.raises(StorageError, match="No space left on device"):
        restore(saved, store.path, replace=True)
    check_against(store, _model(range(5)))
    store.close()


def test_a_backup_of_an_older_format_is_migrated_at_opening(tmp_path: Path) -> None:
    with zipfile.ZipFile(Path(__file__).parent / "fixtures" / "format-1.zip") as archive:
        archive.extractall(tmp_path / "old")
    restore(tmp_path / "old" / "index.db", tmp_path / "new")
    store: Store = open_store(tmp_path / "new")
    assert store.stats().documents == 58
    assert store.stats().format_version == 3
    assert (tmp_path / "new" / "index.db.format-1").is_file()
    store.close()


def test_what_a_killed_backup_left_goes_with_the_next(tmp_path: Path, small_tail: int) -> None:
    store = filled(tmp_path / "index", range(5))
    home = tmp_path / "backups"
    names = {"dead": ".news.0123abcd.tmp", "living": ".news.89abcdef.tmp", "another": ".other.0123abcd.tmp"}
    for name in (*names.values(), ".news.00000000.tmp"):
        (home / name).mkdir(parents=True)
        (home / name / "index.db").write_bytes(b"half")
    for name in names.values():
        (home / name / "in-progress.lock").touch()
    with FileLock(home / names["living"] / "in-progress.lock", is_singleton=False):
        store.backup(home / "news")
    left = {path.name for path in home.iterdir()}
    assert left == {"news", names["living"], names["another"], ".news.00000000.tmp"}
    assert [path.name for path in (home / "news").iterdir()] == ["index.db"]
    restore(home / "news", home / "other")
    assert names["another"] not in {path.name for path in home.iterdir()}
    store.close()


def test_who_waited_for_the_lock_does_not_write_into_what_was_restored_meanwhile(
    tmp_path: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would write as the old index was: for another encoder, perhaps."""
    store = filled(tmp_path / "index", range(3))

    @contextmanager
    def after_a_restore(directory: Path, *, wait: float) -> Iterator[None]:
        restore(saved, tmp_path / "index", replace=True)
        with writer_lock(directory, wait=wait):
            yield

    monkeypatch.setattr("yusa.storage.lock.writer_lock", after_a_restore)
    with pytest.raises(IndexNotFoundError, match="removed or replaced"), store.write() as writer:
        writer.put([make_entry("stray")])
    monkeypatch.undo()
    store.close()
    with open_store(tmp_path / "index").read() as view:
        assert view.get("stray") is None


@pytest.mark.parametrize("before", [True, False])
def test_sweeping_lets_what_is_just_being_finished_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """Its lock file goes while the lock is held, perhaps after the sweeper has found or even opened it."""
    lock = "in-progress.lock"
    whole = os.open

    def opened(path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path != one.path / lock:
            return whole(path, flags, mode, dir_fd=dir_fd)
        if before:
            one.finished()
        descriptor = whole(path, flags, mode, dir_fd=dir_fd)
        one.finished()
        return descriptor

    with scratch_beside(tmp_path / "saved") as one:
        (one.path / "content").touch()
        monkeypatch.setattr(os, "open", opened)
        with scratch_beside(tmp_path / "saved"):
            assert [path.name for path in one.path.iterdir()] == ["content"]


def test_a_source_with_the_log_of_another_is_refused(tmp_path: Path) -> None:
    """SQLite would copy a mixture of both."""
    store = filled(tmp_path / "index", range(200))
    store.backup(tmp_path / "copy")
    with store.write() as writer:
        writer.delete([f"d{number}" for number in range(30)])
    with store.write() as writer:
        writer.put(make_entries(range(300, 320)))
        shutil.copy(store.path / "index.db-wal", tmp_path / "copy" / "index.db-wal")
    store.close()
    with pytest.raises(IndexFormatError, match="belongs to another database"):
        restore(tmp_path / "copy", tmp_path / "index", replace=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "index"]


def test_what_could_not_be_written_is_not_said_of_the_backup(
    tmp_path: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr("yusa.storage.restore.copy_database", full)
    with pytest.raises(StorageError, match=r"restoring .*saved to .*index failed .*full"):
        restore(saved, tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_a_path_that_is_too_long_is_said_so(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(StorageError, match="Give a shorter one"):
        restore(saved, tmp_path / ("가" * 100))
