"""Whether an open index holds and finds what a model says, and how it differs where it does not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from campaign.model import Contents, Encoding, Kept, encoder, encoder_name, expected_passages
from campaign.plan import SOURCES
from yusa.index import Index
from yusa.storage.blocks import keyword_text
from yusa.storage.lookup import held as held_ids
from yusa.storage.records import PassageRow
from yusa.text.analyzer import load_analyzer

if TYPE_CHECKING:
    from yusa.storage import View

_TERMS = 12
_TOP = 9
PROBE = "probe"


def held(index: Index) -> Contents:
    """The documents and the encoding of an index."""
    settings = index.settings
    with index._store.read() as view:
        ids = [id for source in (*SOURCES, PROBE) for id in view.ids_of(source)]
        rows = view.documents(_keys(view, ids).values())
        documents = {row.document.id: Kept(row.document, row.source) for row in rows.values()}
        assert sorted(documents) == sorted(ids), "ids and documents do not agree"
        assert view.document_count() == len(documents), f"{view.document_count()} documents, {len(documents)} by source"
        tuned = dict(view.tuned())
    name = encoder_name(settings.fingerprint["weights"])
    return Contents(documents, Encoding(name, settings.passage_tokens, settings.overlap, tuned))


def same(held: Contents, model: Contents) -> bool:
    """Whether an index holds what a model says."""
    return held.documents == model.documents and held.encoding == model.encoding


def _keys(view: View, ids: Iterable[str]) -> dict[str, int]:
    """The keys of documents, in one question."""
    return {id: other.key for id, other in held_ids(view._connection, ids).items()}


def differences(held: Contents, before: Contents, after: Contents) -> tuple[str, str]:
    """How what is held differs from the two states it may be in: the kind of finding, and a sentence."""
    if held.encoding not in (before.encoding, after.encoding):
        return "other", f"the encoding is {held.encoding}, neither {before.encoding} nor {after.encoding}"
    lost: list[str] = []
    torn: list[str] = []
    for id in sorted({*held.documents, *before.documents, *after.documents}):
        versions = (before.documents.get(id), after.documents.get(id))
        if held.documents.get(id) not in versions:
            (torn if id in held.documents else lost).append(id)
    if lost:
        return "lost", f"acknowledged documents are not there: {lost}"
    if torn:
        return "half", f"documents are neither what they were nor what they became, or come back: {torn}"
    return "half", "a commit is there in part, or another than the next one"


def problems(index: Index, model: Contents, *, seed: int) -> Iterator[tuple[str, str]]:
    """Vectors, dense search and keyword search against the model, which holds the same documents."""
    with index._store.read() as view:
        owned: dict[tuple[str, int], int] = {}
        keys = _keys(view, model.documents)
        of_document: dict[int, list[PassageRow]] = {}
        for row in view.passages(view._owned_by(np.array(list(keys.values()), dtype=np.int64))).values():
            of_document.setdefault(row.document, []).append(row)
        for id, kept in model.documents.items():
            spans, vectors = expected_passages(kept, model.encoding)
            passages = sorted(of_document.get(keys[id], []), key=lambda row: row.ordinal)
            if [(p.ordinal, p.start, p.end) for p in passages] != [(n, *span) for n, span in enumerate(spans)]:
                yield "half", f"the passages of {id} are {passages}, not {spans}"
                return
            owned |= {(id, p.ordinal): p.vector_id for p in passages}
            stored = view.vectors([p.vector_id for p in passages])
            if not np.array_equal(stored, vectors):
                yield "crossed", f"the vectors of {id} are not those of its text"
        if view.live() != len(owned):
            yield "half", f"{view.live()} vectors are searched, {len(owned)} belong to documents"
            return
        yield from _keywords(view, model, owned, seed)
    if owned:
        yield from _dense(index, model, owned, seed)


def _keywords(view: View, model: Contents, owned: dict[tuple[str, int], int], seed: int) -> Iterator[tuple[str, str]]:
    analyzer = load_analyzer("standard")
    expected: dict[str, set[int]] = {}
    for (id, ordinal), vector_id in owned.items():
        document = model.documents[id].document
        start, end = expected_passages(model.documents[id], model.encoding)[0][ordinal]
        for term in set(analyzer.terms(keyword_text(document.title, document.text[start:end]))):
            expected.setdefault(term, set()).add(vector_id)
    missing = expected.keys() - set(view.terms_from(""))
    if missing:
        yield "crossed", f"keyword search does not know {sorted(missing)[:5]}"
    terms: list[str] = np.random.default_rng(seed).permutation(sorted(expected))[:_TERMS].tolist()
    for term in terms:
        found = set(view.holding([term]).tolist())
        if found != expected[term]:
            yield "crossed", f"{term!r} is found in the vectors {sorted(found)}, not {sorted(expected[term])}"


def _dense(index: Index, model: Contents, owned: dict[tuple[str, int], int], seed: int) -> Iterator[tuple[str, str]]:
    stub = encoder(model.encoding.name)
    ids = list(model.documents)
    chosen = np.random.default_rng(seed).permutation(ids)[:2]
    queries = [model.documents[str(id)].document.text[:60] for id in chosen]
    vectors = {
        id: expected_passages(kept, model.encoding)[1].astype(np.float64) for id, kept in model.documents.items()
    }
    for query in queries:
        asked = stub.encode_queries([query])[0].astype(np.float64)
        scored = [
            (-float(np.float32((row * asked).sum())), owned[id, ordinal], id, ordinal)
            for id, rows in vectors.items()
            for ordinal, row in enumerate(rows)
        ]
        best = [(id, ordinal) for _, _, id, ordinal in sorted(scored)[:_TOP]]
        hits = index.search(query, mode="dense", top_k=_TOP, passages=True, literal=True)
        found = [(hit.id, hit.passage.ordinal) for hit in hits]
        if found != best:
            yield "crossed", f"dense search finds {found} for {query!r}, brute force {best}"
        for hit in hits:
            document = model.documents[hit.id].document
            if hit.text != document.text[hit.passage.start : hit.passage.end]:
                yield "crossed", f"a hit of {hit.id} shows another text: {hit.text!r}"


def unsound(index: Index, path: Path) -> Iterator[tuple[str, str]]:
    """What the product's own verification and SQLite's find."""
    report = index.verify(deep=True)
    for problem in (*report.problems, *report.repairable):
        yield "other", f"verify: {problem}"
    connection = sqlite3.connect(f"{(path / 'index.db').absolute().as_uri()}?mode=ro", uri=True)
    try:
        answer = connection.execute("PRAGMA integrity_check").fetchall()
    finally:
        connection.close()
    if answer != [("ok",)]:
        yield "other", f"integrity_check: {answer}"
