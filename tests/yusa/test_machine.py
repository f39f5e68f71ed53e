"""Any sequence of operations on an index against a dictionary: reports, searches in every mode, filters, facets."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from bm25_oracle import bm25
from filtering import matches
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from stubs import StubEncoder

import yusa
from yusa.indexer.intake import Candidate
from yusa.indexer.prepare import prepare
from yusa.indexer.rows import make_document
from yusa.search.hit import Hit
from yusa.search.where import parse
from yusa.storage import Document, Entry, compact, publish
from yusa.text.analyzer import load_analyzer

DIMENSION: Final = 16
TOKENS: Final = 6
SOURCES: Final = ("python", "웹")
IDS: Final = [f"d{number}" for number in range(10)] + ["한글", "../up", "id' OR '1'='1"]
WHERES: Final = [
    None,
    "year >= 2021",
    "tags != 'x'",
    "not tags in ('x', 'y')",
    "year is null or source = '웹'",
    "tags like '%Y%' and not (ok = true and year between 2020 and 2021)",
    "id in ('d1', 'd2', 'd3', '../up', 'id'' OR ''1''=''1')",
]
QUERIES: Final = ["sea tree", "가을 바다의 tree", "unheard"]
WEIGHT: Final = 0.6

WORDS: Final = ["가을에", "바다가", "바다", "sea.", "Trees", "tree", "rare", "학교를", "갔다. ", "\n\n"]
texts = st.lists(st.sampled_from(WORDS), max_size=16).map(" ".join)
metadata = st.fixed_dictionaries(
    {},
    optional={
        "year": st.integers(2019, 2023) | st.just(2020.5),
        "tags": st.lists(st.sampled_from(["x", "y", "xy"]), max_size=3),
        "ok": st.booleans(),
        "title": st.sampled_from(["tree", "바다 여행", ""]),
    },
)
rows = st.builds(lambda id, text, data: {"id": id, "text": text, **data}, st.sampled_from(IDS), texts, metadata)
batches = st.lists(rows, max_size=6)


@dataclass(frozen=True)
class Held:
    """A document with the source it came from, its passages, their vectors, and the texts that these are of."""

    document: Document
    source: str
    entry: Entry
    texts: tuple[str, ...]


class IndexMachine(RuleBasedStateMachine):
    """One index that changes and another, opened once, that looks only now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(publish, "TAIL_LIMIT", 12)
        self.patch.setattr(compact, "_WAIT", 0.0)
        self.folder = Path(tempfile.mkdtemp(prefix="yusa-machine-"))
        self.encoder = StubEncoder(DIMENSION)
        self.index = yusa.create(self.folder / "index", encoder=self.encoder, passage_tokens=TOKENS, overlap=2)
        self.late = yusa.open(self.folder / "index", encoder=StubEncoder(DIMENSION))
        self.model: dict[str, Held] = {}
        self.looked = 0
        # Loading compares it with the index, once for each runtime, by encoding a few texts.
        assert self.index.encoder is self.encoder

    def teardown(self) -> None:
        report = self.index.verify(deep=True)
        assert report.problems == ()
        self.look_late()
        self.late.close()
        self.index.close()
        shutil.rmtree(self.folder)
        self.patch.undo()

    @rule(batch=batches, source=st.sampled_from(SOURCES), prune=st.booleans())
    def add(self, batch: list[dict[str, Any]], source: str, prune: bool) -> None:
        expected = Counter[str]()
        fresh: dict[str, Held] = {}
        named: set[str] = set()
        for row in batch:
            id = str(row["id"])
            named.add(id)
            if not row["text"].strip():
                expected["rejected"] += 1
                continue
            made = held(row, source)
            if id in fresh:
                # The first one counts; the same once more is no mistake.
                same = fresh[id].document == made.document
                expected["same" if same else "rejected"] += 1
                continue
            fresh[id] = made
            before = self.model.get(id)
            if before is None:
                expected["added"] += 1
            elif before.source != source:
                expected["rejected"] += 1
            else:
                expected["unchanged" if before.document == made.document else "updated"] += 1
        taken = {id: made for id, made in fresh.items() if id not in self.model or self.model[id].source == source}
        gone = {id for id, one in self.model.items() if one.source == source and id not in named} if prune else set()
        known = {encoded(one) for one in self.model.values()}
        new = {
            encoded(one): one.texts
            for id, one in taken.items()
            if encoded(one) not in known and (id not in self.model or self.model[id].document != one.document)
        }
        self.encoder.encoded_texts.clear()
        report = self.index.add(batch, source=source, prune=prune, confirm=lambda *_: True)
        assert (report.added, report.updated, report.pruned) == (expected["added"], expected["updated"], len(gone))
        assert report.unchanged == expected["unchanged"] + expected["same"]
        assert report.rejected == expected["rejected"]
        assert sorted(self.encoder.encoded_texts) == sorted(text for texts in new.values() for text in texts)
        self.model = {id: one for id, one in (self.model | taken).items() if id not in gone}

    @rule(batch=batches)
    def nothing_is_stored_where_a_row_is_bad_or_nothing_is_meant(self, batch: list[dict[str, Any]]) -> None:
        before = self.index.refresh()
        with pytest.raises(yusa.errors.RejectedInputError):
            self.index.add([*batch, {"id": "bad", "text": None}], strict=True)
        self.index.add(batch, dry_run=True, prune=True)
        assert self.index.refresh() == before

    @precondition(lambda self: self.model)
    @rule()
    def add_what_is_there(self) -> None:
        before = self.index.refresh()
        self.encoder.encoded_texts.clear()
        for source in SOURCES:
            documents = [one.document for one in self.model.values() if one.source == source]
            report = self.index.add(documents, source=source, prune=bool(documents))
            assert (report.unchanged, report.updated, report.pruned) == (len(documents), 0, 0)
        assert self.encoder.encoded_texts == []
        assert self.index.refresh() == before

    @rule(ids=st.lists(st.sampled_from(IDS), max_size=6))
    def delete(self, ids: list[str]) -> None:
        assert self.index.delete(ids) == [id for id in dict.fromkeys(ids) if id in self.model]
        self.model = {id: one for id, one in self.model.items() if id not in ids}

    @rule()
    def compact(self) -> None:
        self.index.compact()

    @rule(weight=st.sampled_from([None, 0.0, 1.0]))
    def tune(self, weight: float | None) -> None:
        self.index.tune({} if weight is None else {"weight": weight, "mode": "dense"})
        assert self.late.tuned() == self.index.tuned()

    @rule()
    def reopen(self) -> None:
        self.index.close()
        self.index = yusa.open(self.folder / "index", encoder=self.encoder)

    @rule(number=st.integers(0, 9))
    def lose_a_segment_file(self, number: int) -> None:
        for path in sorted((self.folder / "index" / "segments").glob("*"))[number : number + 1]:
            path.unlink()

    @rule()
    def back_up(self) -> None:
        self.index.backup(self.folder / "copy")
        with yusa.open(self.folder / "copy", encoder=self.encoder) as copy:
            check(copy, self.model, self.looked)
        shutil.rmtree(self.folder / "copy")

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def look_at_one(self, data: st.DataObject) -> None:
        one = self.model[data.draw(st.sampled_from(sorted(self.model)))]
        row, passages = self.index.row(one.document.id)
        assert (row.document, row.source) == (one.document, one.source)
        assert [(p.ordinal, p.start, p.end) for p in passages] == [
            (p.ordinal, p.start, p.end) for p in one.entry.passages
        ]
        assert {hit.id for hit in self.index.similar(one.document.id, top_k=100)} == self.model.keys() - {
            one.document.id
        }

    @rule()
    def look_late(self) -> None:
        check(self.late, self.model, self.looked)

    @invariant()
    def answers_as_the_model(self) -> None:
        self.looked += 1
        check(self.index, self.model, self.looked)


def held(row: Mapping[str, Any], source: str) -> Held:
    """What the index should make of a row."""
    data = {key: value for key, value in row.items() if key not in ("id", "text", "title")}
    document = make_document(row["id"], row["text"], row.get("title"), data)
    encoder = StubEncoder(DIMENSION)
    candidate = Candidate(document, source, b"", b"", len(document.text), replaces=False)
    [made] = prepare([candidate], {}, encoder, passage_tokens=TOKENS, overlap=2)
    entry = Entry(document, source, b"", b"", made.work.passages, encoder.encode_documents(made.work.texts))
    return Held(document, source, entry, made.work.texts)


def encoded(one: Held) -> tuple[str | None, str]:
    """Documents that are alike in this are encoded once."""
    return one.document.title, one.document.text


def check(index: yusa.Index, model: Mapping[str, Held], turn: int) -> None:
    """Every mode with one of the filters, all documents at once, and the facets."""
    assert index.stats().documents == len(model)
    where, query = WHERES[turn % len(WHERES)], QUERIES[turn % len(QUERIES)]
    tree = None if where is None else parse(where)
    passing = {id: one for id, one in model.items() if tree is None or matches(tree, one.document, one.source)}
    vector = StubEncoder(DIMENSION).encode_queries([query])[0].astype(np.float64)
    cosines = {id: (one.entry.vectors.astype(np.float64) @ vector).max() for id, one in passing.items()}

    dense = index.search(query, mode="dense", where=where, top_k=100)
    check_hits(dense, passing)
    assert {hit.id: pytest.approx(hit.score, abs=1e-5) for hit in dense} == cosines

    numbered, owned = numbers(model)
    terms = load_analyzer("standard").query_terms(query)
    scores = (
        bm25({id: one.entry for id, one in model.items()}, owned, terms, load_analyzer("standard")) if model else {}
    )
    best: dict[str, float] = {}
    for vector_id, score in scores.items():
        id = numbered[vector_id]
        if id in passing:
            best[id] = max(best.get(id, 0.0), score)
    lexical = index.search(query, mode="lexical", where=where, top_k=100)
    check_hits(lexical, passing)
    assert {hit.id: pytest.approx(hit.score, rel=1e-4) for hit in lexical} == best

    hybrid = index.search(query, mode="hybrid", weight=WEIGHT, where=where, top_k=100)
    check_hits(hybrid, passing)
    assert {hit.id for hit in hybrid} == passing.keys()
    for hit in hybrid:
        passage = model[hit.id].entry.vectors[hit.passage.ordinal].astype(np.float64)
        assert hit.scores["dense"] == pytest.approx(passage @ vector, abs=1e-5)
        expected = scores.get(owned[hit.id][hit.passage.ordinal], 0.0)
        assert hit.scores["lexical"] == pytest.approx(expected, rel=1e-4)
    pages = [index.search(query, weight=WEIGHT, mode="hybrid", where=where, top_k=2, offset=n) for n in (0, 2)]
    assert [hit.id for page in pages for hit in page] == [hit.id for hit in hybrid[:4]]

    for field in ("year", "tags", "ok", "source"):
        assert {(type(value) is bool, value): count for value, count in index.facets(field, where=where)} == counts(
            passing, field
        )
        found = {(type(value) is bool, value): count for value, count in index.facets(field, query, mode="lexical")}
        matching = {numbered[vector_id] for vector_id in scores}
        assert found == counts({id: one for id, one in model.items() if id in matching}, field)


def check_hits(hits: list[Hit], passing: Mapping[str, Held]) -> None:
    """One hit a document, best first, each with the text, the source and the metadata that belong to its id."""
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert [-hit.score for hit in hits] == sorted(-hit.score for hit in hits)
    assert len({hit.id for hit in hits}) == len(hits)
    for hit in hits:
        one = passing[hit.id]
        passage = one.entry.passages[hit.passage.ordinal]
        assert (hit.passage.start, hit.passage.end) == (passage.start, passage.end)
        assert hit.text == one.document.text[passage.start : passage.end]
        assert (hit.title, hit.metadata, hit.source) == (one.document.title, one.document.metadata, one.source)
        for start, end in (hit.snippet, *hit.highlights):
            assert 0 <= start <= end <= len(hit.text)


def numbers(model: Mapping[str, Held]) -> tuple[list[str], dict[str, list[int]]]:
    """A number for each passage: whose it is, and which numbers a document has."""
    numbered: list[str] = []
    owned: dict[str, list[int]] = {}
    for id, one in model.items():
        owned[id] = [len(numbered) + ordinal for ordinal in range(len(one.entry.passages))]
        numbered += [id] * len(one.entry.passages)
    return numbered, owned


def counts(model: Mapping[str, Held], field: str) -> Counter[tuple[bool, Any]]:
    counted: Counter[tuple[bool, Any]] = Counter()
    for one in model.values():
        value = one.source if field == "source" else one.document.metadata.get(field, [])
        counted.update({(type(v) is bool, v) for v in (value if isinstance(value, list) else [value])})
    return counted


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        IndexMachine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_any_sequence_of_operations() -> None:
    _run(6, 15)


@pytest.mark.slow
def test_many_long_sequences_of_operations() -> None:
    _run(40, 40)
