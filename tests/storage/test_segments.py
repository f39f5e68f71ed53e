"""Segments are a cache: whatever happens to their files, every answer is right and the next writer mends them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from storing import DIMENSION, check_against, filled, make_entries, open_store

from yusa.storage import Entry, Store, compact, files, publish
from yusa.storage.files import DamagedFileError, FileSum, Verified
from yusa.storage.tiers import merge_start


def _model(numbers: range) -> dict[str, Entry]:
    return {entry.document.id: entry for entry in make_entries(numbers)}


def _segment_files(store: Store, suffix: str = "*") -> list[Path]:
    return sorted((store.path / "segments").glob(f"*.{suffix}"))


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip(path: Path) -> None:
    """One bit, the size and the time of the file as before."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 4
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def _replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _write(path: Path, content: bytes) -> FileSum:
    def produce(sink: files.Sink) -> None:
        sink(content)

    return files.write_file(path, produce)


@pytest.mark.parametrize("suffix", ["faiss", "ids"])
@pytest.mark.parametrize("harm", [_truncate, _flip, Path.unlink, _replace_by_directory])
def test_a_harmed_file_is_not_used_and_is_rebuilt(
    tmp_path: Path, small_tail: int, caplog: pytest.LogCaptureFixture, suffix: str, harm: object
) -> None:
    filled(tmp_path / "index", range(90), batch=45).close()
    store = open_store(tmp_path / "index")
    model = _model(range(90))
    harmed = _segment_files(store, suffix)[0]
    harm(harmed)  # type: ignore[operator]
    with caplog.at_level(logging.WARNING):
        check_against(store, model)
    assert "is not used" in caplog.text
    assert "the next write rebuilds it" in caplog.text
    report = store.verify()
    assert report.problems == ()
    assert len(report.repairable) == 1
    assert not report.ok
    with store.write() as writer:
        writer.delete(["d7"])
    del model["d7"]
    check_against(store, model)
    assert store.verify(deep=True).ok
    assert not harmed.is_file()
    store.close()


def test_all_segments_gone(tmp_path: Path, small_tail: int) -> None:
    store = filled(tmp_path / "index", range(200), batch=45)
    check_against(store, _model(range(200)))
    for path in _segment_files(store):
        path.unlink()
    (store.path / "segments").rmdir()
    check_against(store, _model(range(200)))  # files in use stay readable
    store.close()
    store = open_store(tmp_path / "index")
    check_against(store, _model(range(200)))
    assert store.verify().problems == ()
    store.compact()
    assert store.verify(deep=True).ok
    assert store.stats().segments == 1
    store.close()


def test_a_file_of_other_vectors_is_found_by_the_sample(tmp_path: Path, small_tail: int) -> None:
    """Even with the right size and a checksum that the database agrees with."""
    store = filled(tmp_path / "index", range(80), batch=80)
    path = _segment_files(store, "faiss")[0]
    content = bytearray(path.read_bytes())
    content[-DIMENSION * 2 * 40 :] = bytes(DIMENSION * 2 * 40)
    checksum = _write(path, bytes(content))
    with store._writer_engine.begin() as connection:
        connection.exec_driver_sql("UPDATE segment_file SET sha256 = ? WHERE suffix = 'faiss'", (checksum.sha256,))
    check_against(store, _model(range(80)))
    assert "another vector" in store.verify().repairable[0]
    assert "another vector" in store.verify(deep=True).repairable[0]
    with store.write():
        pass
    assert store.verify(deep=True).ok
    store.close()


@pytest.mark.parametrize("content", [b"", b"no index", bytes(1000)])
def test_a_file_faiss_cannot_read(tmp_path: Path, small_tail: int, content: bytes) -> None:
    store = filled(tmp_path / "index", range(80), batch=80)
    path = _segment_files(store, "faiss")[0]
    checksum = _write(path, content)
    with store._writer_engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE segment_file SET bytes = ?, sha256 = ? WHERE suffix = 'faiss'", (checksum.bytes, checksum.sha256)
        )
    check_against(store, _model(range(80)))
    assert len(store.verify().repairable) == 1
    with store.write():
        pass
    assert store.verify(deep=True).ok
    store.close()


def test_merging_writes_each_vector_a_few_times(
    tmp_path: Path, small_tail: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0
    build = publish.Publisher._build

    def counted(self: publish.Publisher, *arguments: object) -> tuple[int, dict[str, FileSum]]:
        nonlocal written
        built = build(self, *arguments)  # type: ignore[arg-type]
        written += built[0]
        return built

    monkeypatch.setattr(publish.Publisher, "_build", counted)
    store = filled(tmp_path / "index", range(small_tail * 64), batch=small_tail)
    assert store.stats().segments <= 3 * 4
    assert written <= small_tail * 64 * 4
    assert len(_segment_files(store)) == 4 * store.stats().segments
    store.close()


def test_mostly_dead_segments_are_rewritten(tmp_path: Path, small_tail: int) -> None:
    store = filled(tmp_path / "index", range(100), batch=100)
    model = _model(range(100))
    with store.write() as writer:
        writer.delete([f"d{i}" for i in range(20)])
    assert store.stats().deleted == 20
    assert store.stats().dead_bytes == store.stats().segment_bytes * 20 // 100
    with store.write() as writer:
        writer.delete([f"d{i}" for i in range(20, 40)])
    assert store.stats().deleted == 0
    check_against(store, {id: entry for id, entry in model.items() if entry.document.metadata["number"] >= 40})
    with store.write() as writer:
        writer.delete(list(model))
    check_against(store, {})
    assert store.stats().deleted == 0
    assert _segment_files(store) == []
    with store.write() as writer:
        writer.put(make_entries(range(100)))
    check_against(store, model)
    assert store.verify(deep=True).ok
    store.close()


def test_updating_the_same_documents_leaves_no_trace(tmp_path: Path, small_tail: int) -> None:
    store = filled(tmp_path / "index", range(10))
    sizes = []
    for cycle in range(60):
        with store.write() as writer:
            writer.put(make_entries(range(10)))
        if cycle % 20 == 19:
            with store._readers.connection() as connection:
                assert connection.execute("SELECT count(*) FROM deletion").fetchone()[0] <= small_tail + 10
            sizes.append(store.stats().database_bytes)
            check_against(store, _model(range(10)))
    assert sizes[1] == sizes[2]
    assert store.stats().segments <= 4
    store.close()


def test_orphans_are_swept_by_the_writer_alone(tmp_path: Path, small_tail: int) -> None:
    store = filled(tmp_path / "index", range(100))
    current = _segment_files(store)
    for name in ("000099.faiss", ".000098.ids.tmp", "notes.txt"):
        (store.path / "segments" / name).write_bytes(b"left over")
    check_against(store, _model(range(100)))
    assert store.stats().reclaimable_bytes >= 27
    assert len(list((store.path / "segments").iterdir())) == len(current) + 3
    with store.write():
        pass
    assert sorted((store.path / "segments").iterdir()) == current
    store.close()


def test_a_segment_that_cannot_be_written_costs_nothing(
    tmp_path: Path, small_tail: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "sync_file", fail)
        store = filled(tmp_path / "index", range(200))
        assert "could not be written, the next write tries again" in caplog.text
        check_against(store, _model(range(200)))
        assert store.stats().segments == 0
        assert list((store.path / "segments").iterdir()) == []
    with store.write():
        pass
    assert store.stats().segments == 1
    check_against(store, _model(range(200)))
    assert store.verify(deep=True).ok
    store.close()


def test_a_reader_that_comes_late_reads_again(tmp_path: Path, small_tail: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transaction names files that a merge has replaced and deleted between its first read and its second."""
    store = filled(tmp_path / "index", range(100), batch=50)
    late = open_store(store.path)
    monkeypatch.setattr(compact, "_WAIT", 0.0)  # for the reader that waits for this very compaction
    check = Verified.check
    compacted = False

    def compact_first(self: Verified, path: Path, expected: FileSum, *, again: bool = False) -> None:
        nonlocal compacted
        if not compacted:
            compacted = True
            store.compact()
        check(self, path, expected, again=again)

    monkeypatch.setattr(Verified, "check", compact_first)
    check_against(late, _model(range(100)))
    assert late._current.snapshots.damaged == set()
    assert all(part.segment is not None for part in late._current.snapshots._newest.parts)  # type: ignore[union-attr]
    late.close()
    store.close()


def test_checksums_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YUSA_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "file"
    expected = _write(path, b"content")
    Verified("index").check(path, expected)
    status = path.stat()
    path.write_bytes(b"another")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    Verified("index").check(path, expected)  # nothing that is looked at has changed
    with pytest.raises(DamagedFileError, match="checksum"):
        Verified("index").check(path, expected, again=True)
    with pytest.raises(DamagedFileError, match="checksum"):
        Verified("another index").check(path, expected)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(DamagedFileError, match="checksum"):
        Verified("index").check(path, expected)
    with pytest.raises(FileNotFoundError):
        Verified("index").check(tmp_path / "nothing", expected)
    with pytest.raises(DamagedFileError, match="7 bytes instead of 8"):
        Verified("index").check(path, FileSum(8, expected.sha256))


@pytest.mark.parametrize("content", ["no json", "[]", '{"1:2": 3}'])
def test_a_broken_or_missing_cache_only_costs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setenv("YUSA_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "file"
    expected = _write(path, b"content")
    (tmp_path / "cache" / "verified").mkdir(parents=True)
    (tmp_path / "cache" / "verified" / "index.json").write_text(content, encoding="utf-8")
    Verified("index").check(path, expected)
    monkeypatch.setenv("YUSA_CACHE", str(path))
    Verified("index").check(path, expected)


@pytest.mark.parametrize(
    ("sizes", "factor", "largest", "start"),
    [
        ([], 3, 100, None),
        ([5], 3, 100, None),
        ([5, 5], 3, 100, None),
        ([5, 5], 1, 100, 0),
        ([5, 5, 5, 5], 3, 100, 0),
        ([40, 5, 5, 5, 5], 3, 100, 1),
        ([100, 5, 5, 5, 5], 3, 100, 1),
        ([5, 0, 0], 3, 100, 1),
        ([2, 100], 3, 100, None),
        ([2, 98], 3, 100, 0),
    ],
)
def test_what_is_merged(sizes: list[int], factor: int, largest: int, start: int | None) -> None:
    assert merge_start(sizes, factor=factor, largest=largest) == start


def test_a_reader_far_behind_catches_up(tmp_path: Path, small_tail: int) -> None:
    store = filled(tmp_path / "index", range(30))
    behind = open_store(store.path)
    check_against(behind, _model(range(30)))
    with store.write() as writer:
        for start in range(30, 300, 30):
            writer.put(make_entries(range(start, start + 30)))
        writer.delete([f"d{i}" for i in range(10)])
    check_against(behind, {id: e for id, e in _model(range(300)).items() if e.document.metadata["number"] >= 10})
    with behind.read() as view:
        assert np.isin(np.arange(10), [i for part in view._snapshot.parts for i in part.ids]).sum() in {0, 10}
    behind.close()
    store.close()
