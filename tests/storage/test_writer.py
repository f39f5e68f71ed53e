"""One transaction per batch: what goes in, what is refused by name, and what never comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from storing import (
    DIMENSION,
    check_against,
    create_store,
    filled,
    make_entries,
    make_entry,
    make_settings,
    open_store,
    vector_ids,
)

from yusa.errors import StorageError, UsageError
from yusa.storage import Document, Entry, Passage, Store, state, writer


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled(tmp_path / "index", range(10))


@pytest.fixture
def model() -> dict[str, Entry]:
    return {entry.document.id: entry for entry in make_entries(range(10))}


def _refused(store: Store, model: dict[str, Entry], entries: list[Entry], message: str) -> None:
    """A batch is refused with a message, and the next one goes in as if it had never been."""
    with store.write() as writer:
        before = writer.sequence
        with pytest.raises((StorageError, UsageError), match=message):
            writer.put([make_entry("good one"), *entries])
        assert writer.sequence == before
        assert writer.known(["good one"]) == {}
        writer.put([make_entry("next", metadata={"new field": 1}, source="new source")])
        assert writer.sequence == before + 1
    check_against(store, {**model, "next": make_entry("next", metadata={"new field": 1}, source="new source")})
    assert store.verify(deep=True).ok
    store.close()


def test_id_of_another_source_is_refused_by_name(store: Store, model: dict[str, Entry]) -> None:
    theirs = make_entry("d3", "other text", source="b", metadata={"new field": "x"})
    _refused(store, model, [theirs], r"document 'd3' of b was not stored: the id belongs to a\. Delete it there first")


def test_id_twice_in_a_batch_is_refused(store: Store, model: dict[str, Entry]) -> None:
    _refused(store, model, [make_entry("x"), make_entry("x", "other")], "'x' stands twice in one batch")


def test_wrong_number_of_vectors_is_refused(store: Store, model: dict[str, Entry]) -> None:
    entry = make_entry("x", passages=2)
    short = Entry(entry.document, "a", b"1" * 16, b"2" * 16, entry.passages, entry.vectors[:1])
    _refused(store, model, [short], r"'x' was not stored: its vectors have the shape \(1, 8\), not \(2, 8\)")


@pytest.mark.parametrize("value", [np.nan, np.inf, 70000.0])
def test_vectors_that_cannot_be_kept_are_refused(store: Store, model: dict[str, Entry], value: float) -> None:
    entry = make_entry("x", passages=2)
    entry.vectors[1, 3] = value
    _refused(store, model, [entry, make_entry("y")], "'x' was not stored: float16 cannot hold a value")


@pytest.mark.parametrize("place", ["id", "title", "text", "source"])
def test_half_a_surrogate_pair_is_refused(store: Store, model: dict[str, Entry], place: str) -> None:
    values = {"id": "x", "title": "t", "text": "some text", "source": "a", place: "bad \ud800"}
    entry = make_entry("x")
    document = Document(id=values["id"], text=values["text"], title=values["title"])
    bad = Entry(document, values["source"], b"1" * 16, b"2" * 16, (Passage(0, 0, 4),), entry.vectors)
    _refused(store, model, [bad], "half a surrogate pair")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"a": {1, 2}}, "'x' was not stored: .* a set is not JSON"),
        ({"a": float("nan")}, "'x' was not stored: "),
        ({"yusa": 1}, "'x' was not stored: .*reserved"),
    ],
)
def test_metadata_that_cannot_be_kept_is_refused(
    store: Store, model: dict[str, Entry], metadata: dict[str, object], message: str
) -> None:
    _refused(store, model, [make_entry("x", metadata=metadata)], message)


def test_ids_that_cannot_be_are_not_there(store: Store) -> None:
    with store.write() as writer:
        assert writer.known(["\ud800", "d1"]).keys() == {"d1"}
        assert writer.delete(["\ud800"]) == []
    with store.read() as view:
        assert view.get("\ud800") is None
    store.close()


def test_an_exception_in_the_block_keeps_what_was_committed(store: Store, model: dict[str, Entry]) -> None:
    def interrupted() -> None:
        with store.write() as writer:
            writer.put([make_entry("in")])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    check_against(store, {**model, "in": make_entry("in")})
    with store.write() as writer:
        writer.put([make_entry("in too")])
    store.close()


def test_encoded_finds_equal_texts_under_other_ids(store: Store) -> None:
    long = make_entry("long", "a text of three passages", passages=3)
    with store.write() as writer:
        writer.put([long, make_entry("copy", "a text of three passages", passages=3, metadata={"a": 1})])
        found = writer.encoded([long.encoding_hash, make_entry("d1").encoding_hash, b"unknown", long.encoding_hash])
        assert set(found) == {long.encoding_hash, make_entry("d1").encoding_hash}
        assert found[long.encoding_hash].passages == long.passages
        np.testing.assert_array_equal(found[long.encoding_hash].vectors, long.vectors)
        assert found[long.encoding_hash].vectors.dtype == np.float32
        writer.delete(["long"])
        assert set(writer.encoded([long.encoding_hash])) == {long.encoding_hash}
        writer.delete(["copy"])
        assert writer.encoded([long.encoding_hash]) == {}
    store.close()


def test_vector_ids_and_keys_are_never_used_again(store: Store) -> None:
    seen: set[int] = {i for ids in vector_ids(store.path).values() for i in ids}
    keys: set[int] = set()
    for _ in range(4):
        with store.write() as writer:
            assert len(writer.delete([f"d{i}" for i in range(10)])) == 10
        store.compact()
        store.close()
        store = open_store(store.path)
        with store.write() as writer:
            writer.put(make_entries(range(10)))
        new = {i for ids in vector_ids(store.path).values() for i in ids}
        assert not new & seen
        seen |= new
        with store.read() as view:
            new_keys = {view.get(f"d{i}").key for i in range(10)}  # type: ignore[union-attr]
        assert not new_keys & keys
        keys |= new_keys
    store.close()


def test_deleting_while_listing_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PAGE", 7)
    store = filled(tmp_path / "index", range(50))
    with store.write() as changes:
        changes.put([make_entry("other", source="b")])
        for id in changes.ids_of("a"):
            assert changes.delete([id]) == [id]
        assert list(changes.ids_of("nobody")) == []
        assert changes.delete(["d1"]) == []
        changes.put([])
    check_against(store, {"other": make_entry("other", source="b")})
    store.close()


def test_the_log_is_bounded_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "LOG_ROWS", 20)
    store = filled(tmp_path / "index", range(60), batch=1)
    with store.write() as changes:
        changes.delete(["d1"])
        sequence = changes.sequence
    with store._readers.connection() as connection:
        rows = connection.execute("SELECT sequence, kind, counts FROM log ORDER BY sequence").fetchall()
    assert [row[0] for row in rows] == list(range(sequence - 19, sequence + 1))
    assert rows[-1][1:] == ("delete", '{"documents": 1}')
    assert rows[-2][1:] == ("put", '{"documents": 1, "passages": 1, "replaced": 0}')
    store.close()


def test_large_batches_pass_the_limits_of_a_statement(tmp_path: Path) -> None:
    store = create_store(tmp_path / "index", make_settings())
    vector = np.full((1, DIMENSION), 0.5, dtype=np.float32)
    entries = [
        Entry(Document(f"d{i}", "text"), "a", b"1" * 16, i.to_bytes(16, "big"), (Passage(0, 0, 4),), vector)
        for i in range(3000)
    ]
    with store.write() as changes:
        changes.put(entries)
        changes.put(entries)
        assert len(changes.known([entry.document.id for entry in entries])) == 3000
        assert len(changes.encoded([entry.encoding_hash for entry in entries])) == 3000
        assert len(changes.delete([entry.document.id for entry in entries[100:]])) == 2900
    with store.read() as view:
        assert len(view.documents(range(10_000))) == view.document_count() == 100
    store.close()
