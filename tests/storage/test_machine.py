"""Any sequence of operations on a store against a dictionary: what it holds, finds and counts is the model's."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bm25_oracle import bm25
from filtering import matches
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from storing import DIMENSION, brute_force, check_view, create_store, make_entry, make_settings, open_store, vector_ids

from yusa.errors import StorageError
from yusa.storage import Entry, Store, View, compact, publish
from yusa.storage.filters import And, Between, Compare, Filter, In, IsNull, Like, Not, Or

Model = dict[str, Entry]
Owned = dict[str, list[int]]

IDS = [f"d{number}" for number in range(14)] + ["한글", "../up", "a\nb", "'; DROP TABLE document; --"]
SOURCES = ("a", "웹")
WORDS = ("가을", "바다", "sea", "tree", "rare", "학교")
FILTERS: list[Filter] = [
    Compare("year", ">=", 2021),
    Compare("tags", "!=", "x"),
    Not(In("tags", ("x", "y"))),
    IsNull("year"),
    Or((Like("tags", "%Y%"), Between("year", 2020, 2021))),
    And((Compare("yusa.source", "=", "웹"), Compare("ok", "=", True))),
]
QUERIES: list[dict[str, float]] = [{"sea": 1.0}, {"바다": 2.0, "tree": 0.5, "rare": 1.0}, {"nowhere": 1.0}]

texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join)
metadata = st.fixed_dictionaries(
    {},
    optional={
        "year": st.integers(2019, 2023) | st.just(2020.5) | st.just(2**60 + 1),
        "tags": st.lists(st.sampled_from(["x", "y", "xy", "'"]), max_size=3),
        "ok": st.booleans(),
    },
)
contents = st.tuples(texts, st.integers(0, 3), st.none() | st.sampled_from(WORDS), metadata)


class StoreMachine(RuleBasedStateMachine):
    """One store that changes, one reader that looks only now and then, and at times a view that is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(publish, "TAIL_LIMIT", 12)
        # Nothing is gained by waiting for the views that this machine itself keeps.
        self.patch.setattr(compact, "_WAIT", 0.0)
        self.folder = Path(tempfile.mkdtemp(prefix="yusa-machine-"))
        self.path = self.folder / "index"
        self.store = create_store(self.path, make_settings())
        self.late = open_store(self.path)
        self.model: Model = {}
        self.sequence = 0
        self.copies = 0
        self.kept: tuple[AbstractContextManager[View], View, Model, Owned] | None = None

    def teardown(self) -> None:
        self.end_the_kept_view()
        report = self.store.verify(deep=True)
        assert report.problems == ()
        with self.store.write() as writer:
            writer.delete([])
        assert self.store.verify(deep=True).repairable == ()
        self.look_late()
        self.late.close()
        self.store.close()
        shutil.rmtree(self.folder)
        self.patch.undo()

    def entry(self, id: str, content: tuple[str, int, str | None, dict[str, Any]]) -> Entry:
        text, passages, title, values = content
        source = self.model[id].source if id in self.model else SOURCES[len(text) % 2]
        return make_entry(id, text, source=source, passages=passages, title=title, metadata=values)

    @initialize(ids=st.lists(st.sampled_from(IDS), max_size=12, unique=True), content=contents)
    def begin(self, ids: list[str], content: tuple[str, int, str | None, dict[str, Any]]) -> None:
        self.put_entries([self.entry(id, content) for id in ids])

    @rule(changes=st.dictionaries(st.sampled_from(IDS), contents, min_size=1, max_size=6))
    def put(self, changes: dict[str, tuple[str, int, str | None, dict[str, Any]]]) -> None:
        self.put_entries([self.entry(id, content) for id, content in changes.items()])

    @rule(content=contents)
    def put_many(self, content: tuple[str, int, str | None, dict[str, Any]]) -> None:
        self.put_entries([self.entry(id, content) for id in IDS])

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def put_the_same_again(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from(sorted(self.model)), min_size=1, unique=True))
        self.put_entries([self.model[id] for id in ids])

    @precondition(lambda self: self.model)
    @rule(data=st.data(), content=contents)
    def an_id_of_another_source_is_refused(
        self, data: st.DataObject, content: tuple[str, int, str | None, dict[str, Any]]
    ) -> None:
        id = data.draw(st.sampled_from(sorted(self.model)))
        other = next(name for name in SOURCES if name != self.model[id].source)
        with self.store.write() as writer, pytest.raises(StorageError, match="belongs to"):
            writer.put([make_entry("new", "never"), make_entry(id, content[0], source=other)])

    @rule(ids=st.lists(st.sampled_from(IDS), max_size=8))
    def delete(self, ids: list[str]) -> None:
        with self.store.write() as writer:
            assert writer.delete(ids) == [id for id in dict.fromkeys(ids) if id in self.model]
        self.model = {id: entry for id, entry in self.model.items() if id not in ids}

    @rule()
    def delete_nearly_all(self) -> None:
        self.delete(sorted(self.model)[1:])

    @rule()
    def compact(self) -> None:
        report = self.store.compact()
        assert report.segments <= 1

    @rule()
    def maintain(self) -> None:
        with self.store.write() as writer:
            writer.maintain()

    @rule()
    def reopen(self) -> None:
        if self.kept is None:
            self.store.close()
            self.store = open_store(self.path)

    @rule(number=st.integers(0, 50), how=st.sampled_from(["gone", "empty", "short", "flipped", "another"]))
    def damage(self, number: int, how: str) -> None:
        files = sorted((self.path / "segments").glob("*")) if (self.path / "segments").is_dir() else []
        if not files:
            return
        path = files[number % len(files)]
        if how == "gone":
            path.unlink()
            return
        data = bytearray(path.read_bytes())
        match how:
            case "empty":
                data.clear()
            case "short":
                del data[-7:]
            case "flipped" if data:
                data[number * 31 % len(data)] ^= 1 << number % 8
            case "another":
                data = bytearray(files[(number + 1) % len(files)].read_bytes())
        # A new file under the old name: readers that have mapped the old one keep it.
        changed = path.with_name(".changed")
        changed.write_bytes(data)
        os.replace(changed, path)  # noqa: PTH105

    @rule()
    def segments_are_lost(self) -> None:
        shutil.rmtree(self.path / "segments", ignore_errors=True)

    @rule()
    def back_up(self) -> None:
        self.copies += 1
        target = self.folder / f"copy{self.copies}"
        self.store.backup(target)
        copy = open_store(target)
        check_everything(copy, self.model)
        with copy.write() as writer:
            writer.delete(sorted(self.model)[:1])
        check_everything(copy, {id: entry for id, entry in self.model.items() if id != min(self.model)})
        copy.close()
        shutil.rmtree(target)

    @precondition(lambda self: self.kept is None)
    @rule()
    def keep_a_view(self) -> None:
        context = self.store.read()
        self.kept = (context, context.__enter__(), dict(self.model), vector_ids(self.path))

    @precondition(lambda self: self.kept is not None)
    @rule()
    def end_the_kept_view(self) -> None:
        if self.kept is None:
            return
        context, view, model, owned = self.kept
        check_kept(view, model, owned)
        context.__exit__(None, None, None)
        self.kept = None

    @rule()
    def look_late(self) -> None:
        check_everything(self.late, self.model)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        sequence = check_everything(self.store, self.model)
        assert sequence >= self.sequence
        self.sequence = sequence

    def put_entries(self, entries: list[Entry]) -> None:
        with self.store.write() as writer:
            writer.put(entries)
        self.model |= {entry.document.id: entry for entry in entries}


def check_everything(store: Store, model: Model) -> int:
    """Documents, vectors, searches, filters and facets; the number of the commit that was looked at."""
    owned = vector_ids(store.path)
    with store.read() as view:
        check_kept(view, model, owned)
        return view.sequence


def check_kept(view: View, model: Model, owned: Owned) -> None:
    check_view(view, model, owned, seed=view.sequence)
    check_lexical(view, model, owned)
    tree = FILTERS[view.sequence % len(FILTERS)]
    passing = {id: entry for id, entry in model.items() if matches(tree, entry.document, entry.source)}
    ids = sorted(vector_id for id in passing for vector_id in owned[id])
    allowed = view.allowed(tree)
    assert allowed.vector_ids.tolist() == ids, tree
    if ids:
        query = np.random.default_rng(view.sequence).standard_normal(DIMENSION).astype(np.float32)
        scores, found = view.search(query[None], 5, allowed)
        best, wanted = brute_force(view.vectors(ids), ids, query, 5)
        assert found[0].tolist()[: len(wanted)] == wanted
        np.testing.assert_allclose(scores[0][: len(best)], best, atol=1e-6)
    for field in ("year", "tags", "ok"):
        assert counted(view.facets(field)) == counts(model, field)
        searched = {id: entry for id, entry in passing.items() if owned[id]}
        assert counted(view.facets(field, allowed)) == counts(searched, field)


def check_lexical(view: View, model: Model, owned: Owned) -> None:
    if not any(owned.values()):
        assert view.lexical(QUERIES, 3)[1].max() == -1
        return
    scores, ids = view.lexical(QUERIES, 100)
    for row, query in enumerate(QUERIES):
        expected = bm25(model, owned, query)
        found = {int(i): float(s) for s, i in zip(scores[row], ids[row], strict=True) if i >= 0}
        assert found.keys() == expected.keys(), query
        np.testing.assert_allclose(list(found.values()), [expected[i] for i in found], rtol=1e-5)
        order = [(-score, vector_id) for vector_id, score in found.items()]
        assert order == sorted(order)


def counts(model: Model, field: str) -> Counter[tuple[bool, Any]]:
    """Of each value, booleans apart from numbers, the documents that have it."""
    counted: Counter[tuple[bool, Any]] = Counter()
    for entry in model.values():
        value = entry.document.metadata.get(field, [])
        counted.update({(isinstance(one, bool), one) for one in (value if isinstance(value, list) else [value])})
    return counted


def counted(facets: list[tuple[Any, int]]) -> dict[tuple[bool, Any], int]:
    assert [-count for _, count in facets] == sorted(-count for _, count in facets)
    return {(isinstance(value, bool), value): count for value, count in facets}


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_sequence_of_operations() -> None:
    _run(8, 20)


@pytest.mark.slow
def test_many_long_sequences_of_operations() -> None:
    _run(40, 50)
