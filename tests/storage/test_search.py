"""Exact search: the same answer from any arrangement of parts, with any share of ids allowed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from storing import DIMENSION, brute_force, create_store, filled, make_entries, make_entry, make_settings

from yusa.errors import StorageError, UsageError
from yusa.storage import View, view
from yusa.storage.filters import Compare, Not
from yusa.storage.ranking import exact_scores, scan
from yusa.storage.settings import VectorType
from yusa.storage.view import Allowed


def _all(view: View) -> tuple[NDArray[np.float32], list[int]]:
    ids = view.allowed(Not(Compare("nothing", "=", 1))).vector_ids.tolist()
    return view.vectors(ids), ids


@pytest.mark.parametrize("exact", [0, 10**6])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.01, 0.001])
def test_filters_give_what_brute_force_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_tail: int, share: float, exact: int
) -> None:
    monkeypatch.setattr(view, "_EXACT", exact)
    store = filled(tmp_path / "index", range(1000))
    with store.write() as writer:
        writer.delete([f"d{i}" for i in range(0, 1000, 9)])
        writer.put(make_entries(range(1000, 1010)))
    query = np.random.default_rng(0).standard_normal((2, DIMENSION)).astype(np.float32)
    with store.read() as read:
        allowed = read.allowed(Compare("number", "<", 1010 * share))
        ids = allowed.vector_ids.tolist()
        assert ids == sorted(ids)
        assert len(ids) == sum(1 for i in range(1010) if i < 1010 * share and (i >= 1000 or i % 9))
        vectors = read.vectors(ids)
        for count in (1, 10, 2000):
            scores, found = read.search(query, count, allowed)
            for row in range(2):
                expected_scores, expected_ids = brute_force(vectors, ids, query[row], count)
                assert found[row].tolist() == expected_ids + [-1] * (count - len(expected_ids))
                np.testing.assert_allclose(scores[row][: len(expected_ids)], expected_scores, atol=1e-6)
    store.close()


def test_nothing_allowed_and_nothing_there(tmp_path: Path) -> None:
    store = create_store(tmp_path / "index", make_settings())
    query = np.ones((1, DIMENSION), dtype=np.float32)
    with store.read() as read:
        scores, ids = read.search(query, 3)
        assert ids.tolist() == [[-1] * 3]
        assert np.isneginf(scores).all()
        allowed = read.allowed(Compare("number", "=", 1))
        assert len(allowed.vector_ids) == 0
        assert read.search(query, 3, allowed)[1].tolist() == [[-1] * 3]
        assert read.search(np.zeros((0, DIMENSION), dtype=np.float32), 3)[1].shape == (0, 3)
    store.close()


@pytest.mark.parametrize("copies", [30, 300])
def test_ties_go_to_the_smaller_id_across_parts(tmp_path: Path, small_tail: int, copies: int) -> None:
    store = create_store(tmp_path / "index", make_settings())
    with store.write() as writer:
        for start in range(0, copies, 7):
            writer.put([make_entry(f"d{i}", "the same text") for i in range(start, min(copies, start + 7))])
            writer.put(make_entries(range(10_000 + start, 10_003 + start)))
        writer.delete(["d0", "d5"])
    query = make_entry("q", "the same text").vectors
    with store.read() as read:
        assert len(read._snapshot.parts) > 1
        expected: list[int] = read.search(query, copies)[1][0].tolist()[: copies - 2]
        assert expected == sorted(expected)
        for count in (1, 5, 20):
            scores, ids = read.search(query, count)
            assert ids[0].tolist() == expected[:count]
            assert len(set(scores[0].tolist())) == 1
            low = Allowed(read.sequence, np.array(sorted(expected)[3:], dtype=np.int64))
            assert read.search(query, count, low)[1][0].tolist() == expected[3 : 3 + count]
    store.close()


@pytest.mark.parametrize("vector_dtype", ["float16", "float32"])
@pytest.mark.parametrize("dimension", [1, 3, 17, 384])
def test_scores_are_those_of_the_stored_vectors(tmp_path: Path, vector_dtype: VectorType, dimension: int) -> None:
    store = create_store(tmp_path / "index", make_settings(dimension=dimension, vector_dtype=vector_dtype))
    with store.write() as writer:
        writer.put(make_entries(range(500), dimension=dimension))
    queries = np.random.default_rng(dimension).standard_normal((30, dimension)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    with store.read() as read:
        vectors, ids = _all(read)
        scores, found = read.search(queries, 10)
        for row, query in enumerate(queries):
            expected_scores, expected_ids = brute_force(vectors, ids, query, 10)
            assert found[row].tolist() == expected_ids
            np.testing.assert_allclose(scores[row], expected_scores, atol=1e-6)
    store.close()


def test_rough_scores_never_decide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Vectors that differ less than single precision can tell come in their exact order, however many there are."""
    store = create_store(tmp_path / "index", make_settings(vector_dtype="float32"))
    base = np.full(DIMENSION, 0.35, dtype=np.float32)
    with store.write() as writer:
        entries = []
        for i in range(200):
            entry = make_entry(f"d{i}")
            row = base.copy()
            row[i % DIMENSION] = np.nextafter(np.float32(0.35), np.float32(1), dtype=np.float32) if i % 3 else 0.35
            entry.vectors[:] = row
            entries.append(entry)
        writer.put(entries)
    query = np.random.default_rng(1).standard_normal((1, DIMENSION)).astype(np.float32)
    with store.read() as read:
        vectors, ids = _all(read)
        assert read.search(query, 10)[1][0].tolist() == brute_force(vectors, ids, query[0], 10)[1]
    store.close()


def test_many_queries_are_the_same_as_one_by_one(tmp_path: Path, small_tail: int) -> None:
    store = filled(tmp_path / "index", range(300))
    queries = np.random.default_rng(3).standard_normal((50, DIMENSION)).astype(np.float32)
    with store.read() as read:
        scores, ids = read.search(queries, 5)
        for row in range(50):
            one_scores, one_ids = read.search(queries[row : row + 1], 5)
            np.testing.assert_array_equal(one_ids[0], ids[row])
            np.testing.assert_array_equal(one_scores[0], scores[row])
    store.close()


def test_wrong_questions_are_refused(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(3))
    with store.read() as read:
        allowed = read.allowed(Compare("number", "=", 1))
        with pytest.raises(UsageError, match=r"shape \(n, 8\), not \(1, 9\)"):
            read.search(np.zeros((1, 9), dtype=np.float32), 3)
        with pytest.raises(UsageError, match="not a finite number"):
            read.search(np.full((1, 8), np.nan, dtype=np.float32), 3)
        with pytest.raises(UsageError, match="at least 1"):
            read.search(np.zeros((1, 8), dtype=np.float32), 0)
        with pytest.raises(StorageError, match="no vector 77"):
            read.vectors([0, 77])
        assert read.vectors([]).shape == (0, DIMENSION)
        assert read.passages([77]) == {}
        assert read.documents([77]) == {}
        assert read.get("nobody") is None
    with store.write() as writer:
        writer.delete(["d0"])
    with store.read() as read, pytest.raises(UsageError, match="another commit"):
        read.search(np.zeros((1, 8), dtype=np.float32), 3, allowed)
    store.close()


def test_filter_answers_are_kept_apart_by_type_and_commit(tmp_path: Path) -> None:
    store = create_store(tmp_path / "index", make_settings())
    with store.write() as writer:
        writer.put([make_entry("number", metadata={"v": 1}), make_entry("boolean", metadata={"v": True})])
    for _ in range(2):
        with store.read() as read:
            numbers = read.allowed(Compare("v", "=", 1))
            booleans = read.allowed(Compare("v", "=", True))
            assert numbers.vector_ids.tolist() == [0]
            assert booleans.vector_ids.tolist() == [1]
            assert read.allowed(Compare("v", "=", 1)) is numbers
    with store.write() as writer:
        writer.put([make_entry("another", metadata={"v": 1})])
    with store.read() as read:
        assert read.allowed(Compare("v", "=", 1)).vector_ids.tolist() == [0, 2]
        for value in range(100):
            read.allowed(Compare("v", "=", value))
    assert len(store._filters._answers) == 16
    store.close()


def test_documents_without_passages_are_not_found(tmp_path: Path) -> None:
    store = create_store(tmp_path / "index", make_settings())
    with store.write() as writer:
        writer.put(
            [make_entry("empty", passages=0, metadata={"v": 1}), make_entry("long", passages=3, metadata={"v": 1})]
        )
    with store.read() as read:
        allowed = read.allowed(Compare("v", "=", 1))
        assert len(allowed.vector_ids) == 3
        assert sorted(read.search(np.ones((1, DIMENSION), dtype=np.float32), 5, allowed)[1][0].tolist()) == [
            -1,
            -1,
            0,
            1,
            2,
        ]
    store.close()


def test_exact_scores_do_not_depend_on_the_place() -> None:
    random = np.random.default_rng(0)
    row = random.standard_normal(101).astype(np.float16)
    query = random.standard_normal(101).astype(np.float32)
    rows = np.tile(row, (1500, 1))
    assert len(set(exact_scores(query, rows).tolist())) == 1
    assert exact_scores(query, rows[:1])[0] == exact_scores(query, rows)[7]


def test_scan_without_parts() -> None:
    scores, ids = scan([], [], np.ones((2, 4), dtype=np.float32), 3)
    assert ids.tolist() == [[-1] * 3] * 2
    assert np.isneginf(scores).all()
