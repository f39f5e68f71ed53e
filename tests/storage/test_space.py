"""What an index takes is bounded, and what was deleted is given back as promised."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from storing import check_against, create_store, filled, make_entries, make_entry, make_settings, open_store

from yusa.storage import Entry, Store, files, publish, state
from yusa.storage.state import read_segments, read_state
from yusa.storage.tiers import small_run

_ROOT = Path(__file__).parents[2]
_DIMENSION = 128


def _on_disk(path: Path) -> int:
    """All of it: database, WAL, its shared memory, segments, the lock."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _rich_entries(numbers: Iterable[int]) -> Iterator[Entry]:
    """Documents with many words and attributes, so that every part of an index has its share of the bytes."""
    for number in numbers:
        words = np.random.default_rng(number).integers(0, 3000, 60)
        yield make_entry(
            f"d{number}",
            " ".join(f"word{word}" for word in words),
            passages=2,
            metadata={"number": number, "lang": "ko", "tags": ["a", "b", f"t{number % 7}"]},
            dimension=_DIMENSION,
        )


def _rich(path: Path, count: int) -> Store:
    store = create_store(path, make_settings(dimension=_DIMENSION))
    with store.write() as writer:
        for start in range(0, count, 500):
            writer.put(list(_rich_entries(range(start, start + 500))))
    return store


_SEARCH = """
import sys
from pathlib import Path
import numpy as np
from storing import open_store
store, stop, live = open_store(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
rounds = 0
while not stop.exists():
    with store.read() as view:
        assert view.live() == live
        assert (view.search(np.ones((1, 128), dtype=np.float32), 20)[1] >= 0).all()
        assert (view.lexical([{"word7": 1.0}], 1)[1] >= 0).all()
    if not rounds:
        print("searching", flush=True)
    rounds += 1
store.close()
"""


def test_deleting_nine_tenths_gives_85_percent_back_as_promised_while_searches_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "TAIL_LIMIT", 1000)
    store = _rich(tmp_path / "index", 4000)
    assert store.stats().segments > 1
    full = _on_disk(store.path)
    kept = list(range(3, 4000, 10))
    with store.write() as writer:
        writer.delete([f"d{number}" for number in range(4000) if number % 10 != 3])
    stop = tmp_path / "stop"
    process = subprocess.Popen(
        [sys.executable, "-c", _SEARCH, str(store.path), str(stop), str(2 * len(kept))],
        env={**os.environ, "PYTHONPATH": f"{_ROOT / 'tests' / 'support'}{os.pathsep}{_ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    failures: list[BaseException] = []
    rounds = [0]

    def search() -> None:
        query = np.ones((1, _DIMENSION), dtype=np.float32)
        try:
            while not stop.exists():
                with store.read() as view:
                    assert view.live() == 2 * len(kept)
                    assert (view.search(query, 400)[1] >= 0).all()
                rounds[0] += 1
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    assert process.stdout is not None
    assert process.stdout.readline() == "searching\n"
    thread = threading.Thread(target=search)
    thread.start()
    before, promised = _on_disk(store.path), store.stats().reclaimable_bytes
    report = store.compact()
    after = _on_disk(store.path)
    stop.touch()
    thread.join()
    process.communicate()
    assert process.returncode == 0
    assert failures == []
    assert rounds[0] > 0
    assert full - after >= 0.85 * full
    assert promised <= before - after <= 1.1 * promised
    assert report.bytes_freed >= before - after
    stats = store.stats()
    assert (stats.deleted, stats.dead_bytes) == (0, 0)
    # What is left to give back is less than the pages that every table has.
    assert stats.reclaimable_bytes <= 0.01 * full
    assert stats.live_bytes == stats.database_bytes + stats.segment_bytes
    check_against(store, {entry.document.id: entry for entry in _rich_entries(kept)})
    assert store.verify(deep=True).ok
    assert store.compact().bytes_freed <= 0.01 * full
    store.close()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7])
def test_compact_gives_back_at_least_what_was_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(publish, "TAIL_LIMIT", 1000)
    store = _rich(tmp_path / "index", 1500)
    gone = np.random.default_rng(3).permutation(1500)[: int(1500 * share)]
    with store.write() as writer:
        writer.delete([f"d{number}" for number in gone])
    before, promised = _on_disk(store.path), store.stats().reclaimable_bytes
    assert promised > 0
    store.compact()
    assert before - _on_disk(store.path) >= promised
    store.close()


def _cycles(path: Path, count: int, log_rows: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of an index after each of `count` rounds of updates of the same 40 documents."""
    monkeypatch.setattr(publish, "TAIL_LIMIT", 200)
    monkeypatch.setattr(state, "LOG_ROWS", log_rows)
    store = create_store(path, make_settings())
    sizes = []
    for cycle in range(count):
        random = np.random.default_rng([5, cycle])
        numbers = range(40) if cycle % 3 == 0 else random.choice(40, size=7, replace=False).tolist()
        with store.write() as writer:
            writer.put(
                [
                    make_entry(
                        f"d{number}",
                        f"document {number} as of round {cycle:04}",
                        passages=2,
                        metadata={"number": number, f"field {cycle}": cycle},
                        source="always the same" if number else f"source {cycle}",
                    )
                    for number in numbers
                    if number or cycle % 3 == 0
                ]
            )
            if cycle % 5 == 0:
                writer.delete([f"d{number}" for number in random.choice(40, size=3, replace=False)])
            writer.delete(["d0"])
        sizes.append(_on_disk(path))
    assert store.verify(deep=True).ok
    store.close()
    return sizes


def test_updating_the_same_documents_takes_no_more_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a log of 50 rows, which are there after 25 rounds, an index is as large as it gets after 60."""
    sizes = _cycles(tmp_path / "index", 150, 50, monkeypatch)
    assert max(sizes[90:]) <= max(sizes[:90])


@pytest.mark.slow
def test_a_thousand_updates_of_the_same_documents_take_no_more_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the log grows, to its 1,000 rows, some 100 bytes each; it has them after 500 rounds."""
    sizes = _cycles(tmp_path / "index", 1000, state.LOG_ROWS, monkeypatch)
    assert max(sizes[600:]) <= max(sizes[:600])
    assert sizes[-1] <= max(sizes[:100]) + 120 * state.LOG_ROWS


def _counts(store: Store) -> dict[str, int]:
    tables = ("document", "source", "field", "log", "deletion", "block", "segment")
    with store._readers.connection() as connection:
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


@pytest.mark.parametrize("largest", [1 << 20, 120])
def test_every_part_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int) -> None:
    """The formulas of ARCHITECTURE.md, "Bounds", after every commit of a long history."""
    tail_limit, log_rows, batch = 60, 40, 20
    monkeypatch.setattr(publish, "TAIL_LIMIT", tail_limit)
    monkeypatch.setattr(state, "LOG_ROWS", log_rows)
    monkeypatch.setattr(publish, "_LARGEST_BYTES", largest * make_settings().vector_bytes)
    store = create_store(tmp_path / "index", make_settings())
    random = np.random.default_rng(8)
    for step in range(90):
        size = int(random.integers(1, batch + 1))
        numbers = random.choice(300, size=size, replace=False).tolist()
        with store.write() as writer:
            writer.put(
                [
                    make_entry(f"d{number}", f"{number} of {step}", source=f"s{number}", metadata={f"f{step}": 1})
                    for number in numbers
                ]
            )
            if step % 3 == 0:
                writer.delete([f"d{number}" for number in random.choice(300, size=batch, replace=False)])
        with store._readers.connection() as connection:
            now = read_state(connection)
            segments = read_segments(connection, now.encoding_id)
        counts = _counts(store)
        tail = now.next_vector_id - 1 - (segments[-1].last_id if segments else -1)
        live = sum(segment.live for segment in segments)
        assert tail < tail_limit
        assert counts["log"] <= log_rows
        assert all(segment.dead <= 0.3 * segment.count for segment in segments)
        assert counts["deletion"] <= 0.3 * sum(segment.count for segment in segments) + tail
        assert counts["block"] <= 15 * (1 + int(math.log(tail_limit, 16)))
        reached = 2 + math.log(max(1, min(live, largest))) / math.log(4 / 3)
        assert counts["segment"] <= reached + 1 + 2 * live / (largest // 4 + 1)
        assert counts["source"] + counts["field"] <= 2 * (counts["document"] + tail_limit + batch)
        assert len(list((store.path / files.SEGMENTS).glob("*"))) <= 4 * counts["segment"]
    assert store.verify(deep=True).ok
    store.close()


def test_no_piece_is_kept_for_what_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of several segments of the largest size, all of it replaced again and again."""
    monkeypatch.setattr(publish, "TAIL_LIMIT", 40)
    monkeypatch.setattr(publish, "_LARGEST_BYTES", 100 * make_settings().vector_bytes)
    store = create_store(tmp_path / "index", make_settings())
    counts = []
    for cycle in range(6):
        entries = [make_entry(f"d{number}", f"{number} of {cycle}") for number in range(300)]
        with store.write() as writer:
            for start in range(0, 300, 50):
                writer.put(entries[start : start + 50])
        counts.append(store.stats().segments)
    check_against(store, {entry.document.id: entry for entry in entries})
    assert max(counts[3:]) <= max(counts[:3])
    store.close()


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], None),
        ([0, 0, 0], None),  # all within reach
        ([0, 0, 80, 80], (0, 2)),
        ([80, 0, 0, 80, 80], (1, 3)),
        ([10, 10, 10, 80, 80], (0, 2)),
        ([25, 80, 0, 80, 80], None),
        ([80, 20, 80], None),
    ],
)
def test_small_run(sizes: list[int], expected: tuple[int, int] | None) -> None:
    assert small_run(sizes, largest=100) == expected


def test_names_go_with_the_last_document_that_used_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "TAIL_LIMIT", 40)
    store = create_store(tmp_path / "index", make_settings())

    def versions(step: int) -> list[Entry]:
        return [make_entry(f"d{number}", metadata={f"f{step}": 1, "same": step}) for number in range(30)]

    with store.write() as writer:
        # The names of a step go while the writer is at work; those it knows must still be right afterwards.
        for step in [*range(6), 0, 1, 0]:
            writer.put(versions(step))
        writer.put([make_entry("other", source="b")])
        writer.delete(["other"])
    store.compact()
    check_against(store, {entry.document.id: entry for entry in versions(0)})
    with store._readers.connection() as connection:
        assert connection.execute("SELECT name FROM field ORDER BY name").fetchall() == [("f0",), ("same",)]
        assert connection.execute("SELECT name FROM source").fetchall() == [("a",)]
    assert store.verify(deep=True).ok
    store.close()


def test_what_a_killed_merge_left_is_counted_and_swept(tmp_path: Path, small_tail: int) -> None:
    store = filled(tmp_path / "index", range(100))
    before = store.stats().reclaimable_bytes
    (store.path / files.SEGMENTS / ".000099.faiss.tmp").write_bytes(bytes(12345))
    assert store.stats().reclaimable_bytes == before + 12345
    store.close()
    store = open_store(store.path)
    with store.write() as writer:
        writer.put(make_entries(range(100, 101)))
    assert store.stats().reclaimable_bytes < 12345
    assert not list((store.path / files.SEGMENTS).glob(".*"))
    store.close()
