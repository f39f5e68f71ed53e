"""Rankings against brute force over all passages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from searching import DIMENSION, make_entry, make_searcher, new_store, shown
from stubs import StubEncoder

from yusa.search.candidates import candidates
from yusa.search.ranking import DenseRanking, HybridRanking, LexicalRanking, Ranking
from yusa.search.where import parse
from yusa.storage import View, publish
from yusa.storage.view import Allowed
from yusa.text.analyzer import load_analyzer

QUERY = "w1 w3 w3 w8 학교"
FILTERS = (None, "half = 0", "percent = 5", "n = 12", "n < 0")


class Corpus:
    """Documents of one to three passages in many segments, with few different vectors and texts, so that many tie."""

    def __init__(self, path: Path, size: int) -> None:
        random = np.random.default_rng(size)
        self.size = size
        vectors = random.standard_normal((40, DIMENSION)).astype(np.float32)
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
        words = np.array([f"w{n}" for n in range(30)] + ["학교에서", "학교"])
        lines = [" ".join(random.choice(words, size=random.integers(1, 6))) for _ in range(60)]
        self.store = new_store(path)
        entries = []
        for n in range(size):
            count = n % 3 + 1
            texts = [lines[i] for i in random.integers(len(lines), size=count)]
            metadata = {"n": n, "half": n % 2, "percent": n % 100}
            entries.append(make_entry(f"d{n}", texts, vectors[random.integers(len(vectors), size=count)], metadata))
        # Twenty commits, and then some documents again, so that ids and order of documents part ways.
        for step in range(20):
            with self.store.write() as writer:
                writer.put(entries[step::20])
        with self.store.write() as writer:
            writer.delete([f"d{n}" for n in range(0, size, 7)])
        with self.store.write() as writer:
            writer.put(entries[:size:21])
        self.vector = StubEncoder(DIMENSION).encode_queries([QUERY])[0]
        self.terms = load_analyzer("standard").query_terms(QUERY)


@pytest.fixture(scope="module", params=[0, 1, 50, 3000])
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "TAIL_LIMIT", 500)
        corpus = Corpus(tmp_path_factory.mktemp("corpus") / "index", request.param)
    assert corpus.size < 3000 or corpus.store.stats().segments > 1
    yield corpus
    corpus.store.close()


Row = tuple[int, float, dict[str, float]]


def by_definition(
    view: View, vector: NDArray[np.float32], terms: Mapping[str, float], allowed: Allowed | None, weight: float
) -> list[Row]:
    """Every passage that is allowed, by the fused score: id, score, and the two scores."""
    ids = view.holding([]) if allowed is None else allowed.vector_ids
    dense, lexical = view.dense_scores(vector, ids), view.lexical_scores(terms, ids)

    def normalised(scores: NDArray[np.float32], listed: list[float], least: float) -> list[float]:
        best, last = (max(listed[0], least), listed[:100][-1]) if listed else (least, 0.0)
        shares = [(score - last) / ((best - last) or 1.0) for score in scores.tolist()]
        return [share if share >= 0 else 0.02 * share for share in shares]

    passages = len(view.holding([]))
    held = [len(view.holding([term])) for term in terms]
    idfs = [math.log(1 + (passages - count + 0.5) / (count + 0.5)) for count in held]
    ideal = math.fsum(weight * idf for weight, idf in zip(terms.values(), idfs, strict=True))
    matching = sorted([*(score for score in lexical.tolist() if score > 0), *[0.0] * 100], reverse=True)
    parts = zip(
        normalised(dense, sorted(dense.tolist(), reverse=True), -math.inf),
        normalised(lexical, matching, 0.5 * ideal),
        strict=True,
    )
    fused = [weight * one + (1 - weight) * other for one, other in parts]
    rows = zip(ids.tolist(), fused, dense.tolist(), lexical.tolist(), strict=True)
    return sorted(
        [(id, score, {"dense": cosine, "lexical": bm25}) for id, score, cosine, bm25 in rows],
        key=lambda row: (-row[1], row[0]),
    )


def check(ranking: Ranking, wanted: list[Row], size: int) -> None:
    for count in (1, 7, 99, 100, 101, 640, 2 * size + 2):
        ranked, complete = ranking.top(count)
        assert [(one.vector_id, one.score, dict(one.scores)) for one in ranked] == wanted[:count]
        if complete:
            assert len(wanted) <= count
    assert complete


def rankings(
    corpus: Corpus, view: View, allowed: Allowed | None, floor: float = -math.inf
) -> tuple[DenseRanking, LexicalRanking]:
    return DenseRanking(view, corpus.vector, allowed, floor=floor), LexicalRanking(view, corpus.terms, allowed)


@pytest.mark.parametrize("where", FILTERS)
@pytest.mark.parametrize("weight", [0.0, 0.3, 0.6, 1.0])
def test_hybrid_is_the_weighted_sum_over_all_passages(corpus: Corpus, weight: float, where: str | None) -> None:
    with corpus.store.read() as view:
        allowed = None if where is None else view.allowed(parse(where))
        wanted = by_definition(view, corpus.vector, corpus.terms, allowed, weight)
        check(HybridRanking(*rankings(corpus, view, allowed), weight), wanted, corpus.size)


@pytest.mark.parametrize("where", FILTERS)
@pytest.mark.parametrize("nearest", [0, 5, 150, 2000])
def test_a_floor_leaves_out_and_keeps_the_order_and_the_scores(corpus: Corpus, nearest: int, where: str | None) -> None:
    with corpus.store.read() as view:
        allowed = None if where is None else view.allowed(parse(where))
        wanted = by_definition(view, corpus.vector, corpus.terms, allowed, 0.6)
        cosines = sorted((scores["dense"] for _, _, scores in wanted), reverse=True)
        floor = cosines[min(nearest, len(cosines) - 1)] if cosines else 0.0
        kept = [row for row in wanted if row[2]["dense"] >= floor]
        check(HybridRanking(*rankings(corpus, view, allowed, floor), 0.6), kept, corpus.size)


@pytest.mark.parametrize("where", FILTERS)
def test_the_parts_alone(corpus: Corpus, where: str | None) -> None:
    with corpus.store.read() as view:
        allowed = None if where is None else view.allowed(parse(where))
        rows = by_definition(view, corpus.vector, corpus.terms, allowed, 0.5)
        dense, lexical = rankings(corpus, view, allowed)
        for ranking, name in ((dense, "dense"), (lexical, "lexical")):
            wanted = [
                (id, scores[name], {name: scores[name]})
                for id, _, scores in sorted(rows, key=lambda row: (-row[2][name], row[0]))
                if name == "dense" or scores[name] > 0
            ]
            check(ranking, wanted, corpus.size)


@pytest.mark.parametrize("words", ["학교", "w29", "nowhere", "!?"])
def test_words_that_few_or_none_hold(corpus: Corpus, words: str) -> None:
    terms = load_analyzer("standard").query_terms(words)
    with corpus.store.read() as view:
        wanted = by_definition(view, corpus.vector, terms, None, 0.6)
        dense = DenseRanking(view, corpus.vector, None)
        check(HybridRanking(dense, LexicalRanking(view, terms, None), 0.6), wanted, corpus.size)


def test_ranks_are_places_in_the_parts_own_lists(corpus: Corpus) -> None:
    with corpus.store.read() as view:
        dense, lexical = rankings(corpus, view, None)
        places = {
            "dense": {one.vector_id: n for n, one in enumerate(dense.top(10_000)[0], 1)},
            "lexical": {one.vector_id: n for n, one in enumerate(lexical.top(10_000)[0], 1)},
        }
        ranked, _ = HybridRanking(*rankings(corpus, view, None), 0.6).top(50)
        for one in ranked:
            for name, rank in one.ranks.items():
                assert places[name][one.vector_id] == rank
        # What heads a list was looked at.
        known = {(name, one.vector_id) for one in ranked for name in one.ranks}
        for name, place in places.items():
            assert known >= {(name, one.vector_id) for one in ranked if place.get(one.vector_id, 101) <= 100}


@pytest.mark.parametrize("passages", [False, True])
@pytest.mark.parametrize("where", FILTERS)
def test_pages_of_hits_are_the_best_passages_of_brute_force(corpus: Corpus, where: str | None, passages: bool) -> None:
    with corpus.store.read() as view:
        allowed = None if where is None else view.allowed(parse(where))
        rows = by_definition(view, corpus.vector, corpus.terms, allowed, 0.6)
        found = view.passages([id for id, _, _ in rows])
        names = view.documents({passage.document for passage in found.values()})
    wanted: list[tuple[str, int]] = []
    for id, _, _ in rows:
        name = names[found[id].document].document.id
        if passages or name not in {other for other, _ in wanted}:
            wanted.append((name, found[id].ordinal))
    searcher = make_searcher(corpus.store)
    for offset, top_k in ((0, 10), (10, 10), (20, 7), (0, 300), (len(wanted) - 1, 10), (len(wanted), 10)):
        (hits,) = searcher.search(
            [QUERY], top_k=top_k, offset=max(0, offset), where=where, passages=passages, weight=0.6
        )
        assert shown(hits) == wanted[max(0, offset) : max(0, offset) + top_k]


def test_a_batch_gives_what_single_queries_give(corpus: Corpus) -> None:
    searcher = make_searcher(corpus.store)
    queries = [QUERY, "w5", "-w1 학교", '"w1 w2" w3', "w9*"]
    for where in (None, "half = 0"):
        together = searcher.search(queries, top_k=30, where=where)
        assert together == [searcher.search([query], top_k=30, where=where)[0] for query in queries]


def test_candidates_are_complete_however_many_are_wanted(corpus: Corpus) -> None:
    with corpus.store.read() as view:
        alive = view.document_count()
        for wanted in (1, max(1, alive - 1), max(1, alive), alive + 1, 10_000):
            ranking = HybridRanking(*rankings(corpus, view, None), 0.6)
            assert len(candidates(view, ranking, wanted)) == min(wanted, alive)
