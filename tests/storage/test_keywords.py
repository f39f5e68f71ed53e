"""Lexical search over commits, segments, merges and deletions is BM25 over the live passages, bit for bit."""

from __future__ import annotations

import math
import shutil
import sqlite3
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from bm25_oracle import bm25
from storing import create_store, filled, make_entry, make_settings, open_store, vector_ids
from terms import Words

from yusa.errors import UsageError
from yusa.storage import Entry, Store, View, lexicon
from yusa.storage.blocks import keyword_text

WORDS = ["가을", "바다", "학교", "나무", "sea", "tree", "school", "rare"]


def _entries(numbers: range, seed: int, **options: object) -> list[Entry]:
    random = np.random.default_rng(seed)
    return [
        make_entry(
            f"d{number}",
            " ".join(random.choice(WORDS, size=int(random.integers(1, 12)))),
            passages=int(random.integers(1, 3)),
            title=WORDS[number % 8] if number % 3 == 0 else None,
            metadata={"number": number},
        )
        for number in numbers
    ]


def _ideal(view: View, query: Mapping[str, float]) -> float:
    count = len(view.holding([]))
    held = {term: len(view.holding([term])) for term in query}
    return sum(w * math.log(1 + (count - held[term] + 0.5) / (held[term] + 0.5)) for term, w in query.items())


def _check(store: Store, model: Mapping[str, Entry]) -> None:
    owned = vector_ids(store.path)
    queries: list[dict[str, float]] = [{"학교": 1.0}, {"바다": 2.0, "sea": 0.5, "rare": 1.0}, {"nowhere": 1.0}]
    with store.read() as view:
        for query in queries:
            expected = bm25(model, owned, query)
            scores, ids = view.lexical([query], 400)
            found = {int(i): float(s) for s, i in zip(scores[0], ids[0], strict=True) if i >= 0}
            assert found.keys() == expected.keys()
            np.testing.assert_allclose(list(found.values()), [expected[i] for i in found], rtol=1e-5)
            assert view.ideal_lexical(query) == pytest.approx(_ideal(view, query))
            order = [(-score, vector_id) for vector_id, score in found.items()]
            assert order == sorted(order)
            every = sorted(i for ids in owned.values() for i in ids)
            np.testing.assert_array_equal(
                view.lexical_scores(query, every), np.array([found.get(i, 0.0) for i in every], dtype=np.float32)
            )
        held = {i for i, text in view.texts(view.holding([])).items() if "학교" in keyword_text(*text).split()}
        assert set(view.holding(["학교"]).tolist()) == held
        assert view.holding(["학교", "nowhere"]).tolist() == []


def _changed(store: Store, seed: int) -> dict[str, Entry]:
    """The same documents by one of several ways, `seed` of them."""
    model: dict[str, Entry] = {}
    entries = _entries(range(120), 1)
    size = [120, 7, 1, 33][seed]
    with store.write() as writer:
        for start in range(0, 120, size):
            writer.put(entries[start : start + size])
    model |= {entry.document.id: entry for entry in entries}
    again = _entries(range(0, 120, 10), 2)
    with store.write() as writer:
        writer.put(again)
        writer.delete([f"d{i}" for i in range(5, 120, 10)])
    model |= {entry.document.id: entry for entry in again}
    return {id: entry for id, entry in model.items() if int(id[1:]) % 10 != 5}


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_bm25_however_the_passages_came(tmp_path: Path, small_tail: int, seed: int) -> None:
    store = create_store(tmp_path / "index", make_settings())
    model = _changed(store, seed)
    _check(store, model)
    with store.read() as view:
        before = view.lexical([{"바다": 1.0, "tree": 1.0}], 300)[0]
    store.compact()
    _check(store, model)
    with store.read() as view:
        np.testing.assert_array_equal(view.lexical([{"바다": 1.0, "tree": 1.0}], 300)[0], before)
    assert store.verify(deep=True).ok
    store.close()


def test_a_reader_follows_every_commit(tmp_path: Path, small_tail: int) -> None:
    store = create_store(tmp_path / "index", make_settings())
    reader = open_store(store.path)
    model: dict[str, Entry] = {}
    for step in range(16):
        entries = _entries(range(step * 5, step * 5 + 5), step)
        with store.write() as writer:
            writer.put(entries)
            if step % 4 == 3:
                writer.delete([f"d{step * 5 - 3}"])
        model |= {entry.document.id: entry for entry in entries}
        if step % 4 == 3:
            del model[f"d{step * 5 - 3}"]
        _check(reader, model)
    assert store.stats().segments > 1
    reader.close()
    store.close()


def test_allowed_narrows_and_statistics_stay(tmp_path: Path) -> None:
    store = create_store(tmp_path / "index", make_settings())
    model = _changed(store, 0)
    with store.read() as view:
        scores, ids = view.lexical([{"학교": 1.0}], 400)
        whole = {int(i): float(s) for s, i in zip(scores[0], ids[0], strict=True) if i >= 0}
        chosen = list(whole)[::3]
        scores, ids = view.lexical([{"학교": 1.0}], 400, view.select(chosen))
        narrowed = {int(i): float(s) for s, i in zip(scores[0], ids[0], strict=True) if i >= 0}
        assert narrowed == {i: whole[i] for i in chosen}
        assert view.lexical([{"학교": 1.0}], 5, view.select([]))[1].tolist() == [[-1] * 5]
        siblings = view.siblings(chosen[:1]).tolist()
        owner = view.passages(chosen[:1])[chosen[0]].document
        assert siblings == [p.vector_id for p in view.passages_of(owner)]
        assert view.siblings([]).tolist() == []
        begun = view.terms_from("s")
        assert begun == sorted(set(begun))
        assert {"school", "sea"} <= set(begun)
        assert all(term.startswith("s") for term in begun)
        with pytest.raises(UsageError, match="count must be at least 1"):
            view.lexical([{}], 0)
    assert len(model) > 0
    store.close()


def test_one_document_commits_leave_few_rows(tmp_path: Path) -> None:
    store = create_store(tmp_path / "index", make_settings())
    with store.write() as writer:
        for entry in _entries(range(70), 3):
            writer.put([entry])
    with sqlite3.connect(store.path / "index.db") as connection:
        rows = connection.execute("SELECT first_id, last_id, count FROM block ORDER BY first_id").fetchall()
    connection.close()
    assert len(rows) <= 15 * 2
    assert all(left[1] + 1 == right[0] for left, right in pairwise(rows))
    _check(store, {entry.document.id: entry for entry in _entries(range(70), 3)})
    store.close()


@pytest.mark.parametrize("harm", ["missing", "short", "flipped", "other analyzer"])
def test_harmed_postings_are_made_from_the_texts_and_rebuilt(tmp_path: Path, small_tail: int, harm: str) -> None:
    store = create_store(tmp_path / "index", make_settings())
    model = _changed(store, 1)
    store.close()
    path = sorted((tmp_path / "index" / "segments").glob("*.postings"))[0]
    if harm == "missing":
        path.unlink()
    elif harm == "short":
        path.write_bytes(path.read_bytes()[:-9])
    elif harm == "flipped":
        data = bytearray(path.read_bytes())
        data[-5] ^= 1
        path.write_bytes(data)
    names = {"words/1"} if harm != "other analyzer" else {"words/2"}
    store = Store.open(tmp_path / "index", lambda _: Words(*names))
    _check(store, model)
    assert not store.verify().ok
    with store.write():
        pass
    _check(store, model)
    assert store.verify(deep=True).ok
    store.close()


def test_a_harmed_row_of_the_tail_is_made_from_the_texts(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(30))
    store.close()
    with sqlite3.connect(tmp_path / "index" / "index.db") as connection:
        connection.execute("UPDATE block SET data = x'00112233'")
    connection.close()
    store = open_store(tmp_path / "index")
    with store.read() as view:
        assert len(view.holding(["text"])) == 30
    store.close()


def test_a_backup_is_searched_by_words_before_and_after_its_first_write(tmp_path: Path, small_tail: int) -> None:
    store = create_store(tmp_path / "index", make_settings())
    model = _changed(store, 1)
    store.backup(tmp_path / "copy")
    store.close()
    shutil.rmtree(tmp_path / "index")
    copy = open_store(tmp_path / "copy")
    _check(copy, model)
    with copy.write():
        pass
    _check(copy, model)
    assert copy.verify(deep=True).ok
    copy.close()


def test_the_choice_of_tuning_is_kept_and_taken_back(tmp_path: Path) -> None:
    store = filled(tmp_path / "index", range(3))
    before = store.stats().sequence
    for choice in ({"mode": "hybrid", "weight": 0.7}, {"mode": "dense"}, {}):
        with store.write() as writer:
            writer.tune(choice)
        with store.read() as view:
            assert view.tuned() == choice
    assert store.stats().sequence == before + 3
    store.close()


def test_a_view_keeps_its_postings_while_others_see_newer_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks may be cut otherwise each time they are read; scores of one cut must never meet the ids of another."""
    store = filled(tmp_path / "index", range(40), batch=10)
    query = {"text": 1.0, "d7": 1.0}
    with store.read() as view:
        scores, ids = view.lexical([query], 40)
        with store.write() as writer:
            writer.put([make_entry("new", "text of something else")])
        with store.read() as newer:
            assert len(newer.holding(["text"])) == 41
        monkeypatch.setattr(lexicon, "_tidied", lambda tail: [block for block, _ in tail])
        order = np.argsort(ids[0])
        np.testing.assert_array_equal(view.lexical_scores(query, ids[0][order]), scores[0][order])
        again = view.lexical([query], 7)
        np.testing.assert_array_equal(again[1][0], ids[0][:7])
    store.close()


def test_a_view_has_its_postings_though_a_newer_set_took_the_files_away(
    tmp_path: Path, small_tail: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To take the terms from the texts instead would keep a search of a large index waiting for minutes."""
    store = filled(tmp_path / "index", range(100))
    reader = open_store(store.path)

    def never(*_: object) -> None:
        raise AssertionError("the terms were taken from the texts")

    with reader.read() as view:
        with store.write() as writer:
            writer.delete(["d3"])
        store.compact()
        monkeypatch.setattr(lexicon, "analyzed", never)
        assert view.lexical([{"d7": 1.0}], 2)[1].tolist() == [[7, -1]]
        assert view.lexical([{"text": 1.0}], 200)[1].max() == 99
    with reader.read() as view:
        assert view.lexical([{"d3": 1.0}], 1)[1].tolist() == [[-1]]
    reader.close()
    store.close()
