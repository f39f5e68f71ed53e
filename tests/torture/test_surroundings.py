"""What is around an index: long paths, a clock that goes backwards, folders that cannot be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from storing import check_against, create_store, filled, make_entries, make_settings, open_store

from yusa.errors import IndexNotFoundError, StorageError
from yusa.storage import Entry, Store, publish, state
from yusa.storage.opening import _LONGEST_PATH


def _model(count: int) -> dict[str, Entry]:
    return {entry.document.id: entry for entry in make_entries(range(count))}


@pytest.fixture(autouse=True)
def _small_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "TAIL_LIMIT", 40)


def _padded(directory: Path, size: int) -> Path:
    """A path below a directory, in pieces, whose database has a path of exactly `size` bytes."""
    path = directory
    while (left := size - len(bytes(path / "index.db"))) > 0:
        path /= "n" * min(left - 1 if left - 1 <= 200 else 150, 200)
    assert len(bytes(path / "index.db")) == size
    return path


def test_a_name_of_255_bytes(tmp_path: Path) -> None:
    store = filled(tmp_path / ("가" * 85), range(50))
    assert store.stats().segments == 1
    check_against(store, _model(50))
    with pytest.raises(StorageError, match=r"backup .* failed \(File name too long\)"):
        store.backup(tmp_path / ("나" * 85))
    store.close()


def test_the_longest_path(tmp_path: Path) -> None:
    path = _padded(tmp_path, _LONGEST_PATH)
    store = filled(path, range(50))
    assert store.stats().segments == 1
    check_against(store, _model(50))
    store.close()
    open_store(path).close()


@pytest.mark.parametrize("size", [_LONGEST_PATH + 2, 1000, 3900, 9000])
def test_a_path_that_is_too_long_is_refused_before_anything_is_made(tmp_path: Path, size: int) -> None:
    path = _padded(tmp_path, size)
    with pytest.raises(StorageError, match=r"bytes, of which SQLite takes \d+\. Give a shorter one"):
        create_store(path, make_settings())
    with pytest.raises(IndexNotFoundError, match="Give a shorter one"):
        open_store(path)
    assert not Store.exists(path)
    assert list(tmp_path.iterdir()) == []
    store = filled(tmp_path / "index", range(3))
    with pytest.raises(StorageError, match="Give a shorter one"):
        store.backup(path)
    store.close()


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"has 256 bytes, of which file systems take 255\. Give a shorter one"):
        create_store(tmp_path / ("x" * 256), make_settings())
    with pytest.raises(IndexNotFoundError, match="file systems take 255"):
        open_store(tmp_path / ("x" * 256))


def test_a_clock_that_goes_backwards_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = [datetime(2030, 1, 1, tzinfo=UTC)]

    class Backwards(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Backwards:  # noqa: ARG003
            times.append(times[-1] - timedelta(days=100))
            return cls.fromisoformat(times[-1].isoformat())

    monkeypatch.setattr(state, "datetime", Backwards)
    store = filled(tmp_path / "index", range(90), batch=30)
    reader = open_store(tmp_path / "index")
    with store.write() as writer:
        writer.delete(["d3"])
    assert len(times) > 5
    model = _model(90)
    del model["d3"]
    for each in (store, reader):
        check_against(each, model)
    assert store.verify(deep=True).ok
    reader.close()
    store.close()


def test_a_folder_of_segments_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path / "index", range(90), batch=45)
    listed = Path.iterdir

    def refuse(self: Path) -> object:
        if self.name == "segments":
            raise PermissionError(13, "Permission denied")
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with store.write() as writer:
        writer.put(make_entries(range(90, 95)))
    check_against(store, _model(95))
    store.close()
