"""The whole way of a query on real storage, against brute force."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from searching import DIMENSION, make_entry, make_searcher, new_store, put, shown, without_encoder
from stubs import StubEncoder

from yusa.errors import DocumentNotFoundError, FilterError, UsageError
from yusa.search.hit import Hit
from yusa.search.searcher import MAX_RESULTS, MODES, Searcher
from yusa.storage import Store, View
from yusa.storage.filters import Compare


class Corpus:
    """Documents of one to three passages with random vectors, and the answers by definition."""

    def __init__(self, path: Path, size: int) -> None:
        random = np.random.default_rng(7)
        self.size = size
        self.owners = np.repeat(np.arange(size), np.arange(size) % 3 + 1)
        vectors = random.standard_normal((len(self.owners), DIMENSION)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.vectors = vectors.astype(np.float16).astype(np.float32)
        self.ordinals = np.concatenate([np.arange(n % 3 + 1) for n in range(size)])
        self.alive = np.ones(size, dtype=bool)
        self.store = new_store(path)
        starts = np.searchsorted(self.owners, np.arange(size + 1))
        with self.store.write() as writer:
            for first in range(0, size, 5000):
                writer.put(
                    [
                        make_entry(
                            f"d{n}",
                            [f"d{n} line {i}" for i in range(n % 3 + 1)],
                            self.vectors[starts[n] : starts[n + 1]],
                            {"n": n, "half": n % 2, "percent": n % 100, "permille": n % 1000},
                        )
                        for n in range(first, min(first + 5000, size))
                    ]
                )
            gone = range(0, size, 97)
            writer.delete([f"d{n}" for n in gone])
            self.alive[list(gone)] = False

    def best(
        self,
        query: NDArray[np.float32],
        passes: NDArray[np.bool_],
        top_k: int,
        *,
        passages: bool = False,
        offset: int = 0,
    ) -> list[tuple[str, int]]:
        rows = np.flatnonzero((passes & self.alive)[self.owners])
        scores = self.vectors[rows].astype(np.float64) @ query.astype(np.float64)
        found: list[tuple[str, int]] = []
        seen: set[int] = set()
        for row in rows[np.argsort(-scores, kind="stable")].tolist():
            owner = int(self.owners[row])
            if passages or owner not in seen:
                seen.add(owner)
                found.append((f"d{owner}", int(self.ordinals[row])))
                if len(found) == offset + top_k:
                    break
        return found[offset:]

    def check(self, queries: Sequence[str]) -> None:
        encoder = StubEncoder(DIMENSION)
        searcher = make_searcher(self.store, encoder)
        vectors = encoder.encode_queries(queries)
        n = np.arange(self.size)
        filters: list[tuple[str | None, NDArray[np.bool_]]] = [
            (None, n >= 0),
            ("half = 0", n % 2 == 0),
            ("percent = 5", n % 100 == 5),
            ("permille = 7", n % 1000 == 7),
            ("n = 1234", n == 1234),
            ("not permille = 7", n % 1000 != 7),
            ("half = 1 and (percent < 3 or id = 'd8')", (n % 2 == 1) & (n % 100 < 3)),
            ("n < 0", n < 0),
        ]
        for where, passes in filters:
            for top_k, offset in ((10, 0), (7, 5), (60, 0)):
                for passages in (False, True):
                    answers = searcher.search(
                        queries, mode="dense", where=where, passages=passages, top_k=top_k, offset=offset
                    )
                    for hits, vector in zip(answers, vectors, strict=True):
                        wanted = self.best(vector, passes, top_k, passages=passages, offset=offset)
                        assert shown(hits) == wanted, where
                        assert [hit.rank for hit in hits] == list(range(offset + 1, offset + 1 + len(hits)))
                        assert all(hit.text == f"{hit.id} line {hit.passage.ordinal}" for hit in hits)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    corpus = Corpus(tmp_path_factory.mktemp("corpus") / "index", 20_000)
    yield corpus
    corpus.store.close()


def test_filters_of_every_width_give_what_brute_force_gives(corpus: Corpus) -> None:
    corpus.check(["one query", "둘째 질문"])


@pytest.mark.slow
def test_filters_of_every_width_give_what_brute_force_gives_at_100_000_documents(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "index", 100_000)
    corpus.check(["one query", "둘째 질문", "three"])
    corpus.store.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", [{}, {"passages": True}, {"collapse": True}, {"where": "percent = 5"}])
def test_pages_follow_each_other_without_gap_or_repetition(corpus: Corpus, mode: str, options: dict[str, Any]) -> None:
    searcher = make_searcher(corpus.store)
    (whole,) = searcher.search(["d7 line 2"], top_k=50, mode=mode, **options)
    assert len(whole) == 50
    pages = [
        searcher.search(["d7 line 2"], top_k=10, offset=offset, mode=mode, **options)[0] for offset in range(0, 50, 10)
    ]
    # How deep the parts' lists were read, and how much was hidden on the way, is another matter for each page.
    assert [plain(hit) for page in pages for hit in page] == [plain(hit) for hit in whole]


def plain(hit: Hit) -> Hit:
    return replace(hit, ranks={}, collapsed=())


def test_similar_is_the_mean_of_the_documents_vectors_without_itself(corpus: Corpus) -> None:
    searcher = without_encoder(corpus.store)
    n = np.arange(corpus.size)
    for document in (4, 5, 6):
        mean = corpus.vectors[corpus.owners == document].mean(axis=0)
        for where, passes in (("", n >= 0), ("permille = 7", n % 1000 == 7)):
            hits = searcher.similar(f"d{document}", top_k=5, offset=1, where=where or None)
            assert shown(hits) == corpus.best(mean, passes & (n != document), 5, offset=1)
        hits = searcher.similar(f"d{document}", top_k=5, passages=True)
        assert shown(hits) == corpus.best(mean, n != document, 5, passages=True)
        assert hits[0].score == pytest.approx(
            max(corpus.vectors[corpus.owners != document] @ mean) / np.linalg.norm(mean)
        )


def test_many_threads_at_once_get_the_same_answers(corpus: Corpus) -> None:
    searcher = make_searcher(corpus.store)
    queries = [f"query {n}" for n in range(6)]
    wheres = [None, "half = 1", "permille = 3"]
    alone = {(q, w): searcher.search([q], where=w)[0] for q in queries for w in wheres}
    with ThreadPoolExecutor(8) as pool:
        asked = [pair for pair in alone for _ in range(4)]
        answers = list(pool.map(lambda pair: searcher.search([pair[0]], where=pair[1])[0], asked))
    assert all(answer == alone[pair] for pair, answer in zip(asked, answers, strict=True))


def test_one_long_document_does_not_hide_the_others(store: Store, searcher: Searcher) -> None:
    put(store, {"long": ["the cat"] * 300, **{f"d{n}": [f"the dog {n}"] for n in range(5)}})
    (hits,) = searcher.search(["the cat"], top_k=4)
    assert hits[0].id == "long"
    assert len({hit.id for hit in hits}) == 4
    (all_hits,) = searcher.search(["the cat"], top_k=100)
    assert len(all_hits) == 6
    (every,) = searcher.search(["the cat"], top_k=1000, passages=True)
    assert len(every) == 305


def test_a_hit_shows_the_passage_its_place_its_marked_words_and_its_best_sentence(
    store: Store, searcher: Searcher
) -> None:
    encoder = StubEncoder(DIMENSION)
    lines = ["첫 줄이다.", "고양이는 잔다. 개는 논다."]
    with store.write() as writer:
        writer.put([make_entry("글", lines, encoder.encode_documents(lines), {"year": 2020}, "제목")])
    ((hit,),) = searcher.search(["개는 논다."])
    assert (hit.id, hit.title, hit.text, hit.source) == ("글", "제목", lines[1], "test")
    assert (hit.passage.ordinal, hit.passage.start, hit.passage.end) == (1, 7, 7 + len(lines[1]))
    assert [hit.text[start:end] for start, end in hit.highlights] == ["개는", "논다"]
    assert hit.text[slice(*hit.snippet)] == "개는 논다."
    assert hit.metadata == {"year": 2020}
    assert set(hit.scores) == {"dense", "lexical"}
    assert -1 <= hit.scores["dense"] <= 1
    assert hit.score == 1.0
    assert hit.ranks == {"dense": 1, "lexical": 1}


def test_deleted_and_replaced_documents_never_answer(store: Store, searcher: Searcher) -> None:
    put(store, {"a": ["red apple"], "b": ["red car"], "c": ["blue sky"]})
    with store.write() as writer:
        writer.delete(["a"])
    put(store, {"b": ["green tree"]}, new=True)
    (hits,) = searcher.search(["red apple"], top_k=10)
    assert {hit.id: hit.text for hit in hits} == {"b": "green tree", "c": "blue sky"}
    assert [hit.id for hit in searcher.search(["red"], where="new = true")[0]] == ["b"]


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_min_score_leaves_out_what_is_further_and_changes_nothing_else(
    store: Store, searcher: Searcher, mode: str
) -> None:
    put(store, {f"d{n}": [f"word{n}"] for n in range(40)})
    (all_hits,) = searcher.search(["word1 word2"], top_k=40, mode=mode)
    for hit in (all_hits[0], all_hits[7], all_hits[39]):
        floor = hit.scores["dense"]
        (hits,) = searcher.search(["word1 word2"], top_k=40, min_score=floor, mode=mode)
        kept = [other for other in all_hits if other.scores["dense"] >= floor]
        assert hits == [replace(other, rank=rank) for rank, other in enumerate(kept, 1)]
    assert searcher.search(["word1"], min_score=1.1, mode=mode) == [[]]


def test_a_batch_is_encoded_once_before_one_read_transaction(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, {"a": ["cat"], "b": ["dog"]})
    events: list[str] = []
    encoder = StubEncoder(DIMENSION)
    encode, read = encoder.encode_queries, store.read

    def encode_queries(texts: Sequence[str]) -> NDArray[np.float32]:
        events.append(f"encode {list(texts)}")
        return encode(texts)

    @contextmanager
    def watched() -> Iterator[View]:
        events.append("read")
        with read() as view:
            yield view
        events.append("end")

    monkeypatch.setattr(encoder, "encode_queries", encode_queries)
    monkeypatch.setattr(store, "read", watched)
    searcher = make_searcher(store, encoder)
    answers = searcher.search(["cat", "dog", "e\u0301"], top_k=1)
    assert [hit.id for hits in answers[:2] for hit in hits] == ["a", "b"]
    assert events == ["encode ['cat', 'dog', 'é']", "read", "end"]
    assert searcher.search([]) == []
    assert len(events) == 3


def test_similar_needs_no_encoder_and_knows_ids_in_any_normal_form(store: Store) -> None:
    put(store, {"é": ["red apple"], "b": ["red car"], "c": ["x"]})
    hits = without_encoder(store).similar("e\u0301", top_k=1)
    assert [(hit.id, hit.rank) for hit in hits] == [("b", 1)]
    with pytest.raises(DocumentNotFoundError, match="no document has the id 'none'"):
        without_encoder(store).similar("none")


def test_similar_to_a_document_without_passages_or_direction(store: Store) -> None:
    row = np.eye(1, DIMENSION, dtype=np.float32)
    with store.write() as writer:
        writer.put(
            [
                make_entry("empty", [], np.zeros((0, DIMENSION), np.float32), {}),
                make_entry("cancels", ["a", "b"], np.concatenate([row, -row]), {}),
                make_entry("near", ["c"], row, {}),
            ]
        )
    searcher = without_encoder(store)
    assert searcher.similar("empty") == []
    assert [(hit.id, hit.score) for hit in searcher.similar("cancels")] == [("near", 1.0)]


def test_an_empty_index_gives_empty_answers(searcher: Searcher) -> None:
    assert searcher.search(["a", "b"]) == [[], []]
    assert searcher.search(["a"], where="x = 1") == [[]]


def test_a_filter_may_be_a_tree(store: Store, searcher: Searcher) -> None:
    put(store, {"a": ["cat"], "b": ["dog"]})
    assert [hit.id for hit in searcher.search(["cat"], where=Compare("id", "=", "b"))[0]] == ["b"]


BAD: list[tuple[Callable[[Searcher], object], type[Exception], str]] = [
    (lambda s: s.search([" \n"]), UsageError, "the query is empty"),
    (lambda s: s.search(["a", ""]), UsageError, "query 2 of 2 is empty"),
    (lambda s: s.search(["a\ud800"]), UsageError, "the query cannot be read"),
    (lambda s: s.search("cat"), UsageError, "must be a list"),
    (lambda s: s.search(["a"], top_k=0), UsageError, "top_k must be at least 1, not 0"),
    (lambda s: s.search(["a"], offset=-1), UsageError, "offset must be at least 0, not -1"),
    (lambda s: s.search(["a"], top_k=MAX_RESULTS, offset=1), UsageError, "offset \\+ top_k is 10,001, at most 10,000"),
    (lambda s: s.search(["a"], mode="psychic"), UsageError, "no mode 'psychic'; use 'dense', 'lexical', 'hybrid'"),
    (lambda s: s.search(["a"], mode="lexical", min_score=0.1), UsageError, "mode 'lexical' does not compute"),
    (lambda s: s.search(["-a"]), UsageError, "the query only says what to leave out"),
    (lambda s: s.search(["a", "-a"]), UsageError, "query 2 of 2 only says"),
    (lambda s: s.search(["a"], weight=1.5), UsageError, "weight must be from 0 to 1, not 1.5"),
    (lambda s: s.search(["a"], weight=float("nan")), UsageError, "weight must be from 0 to 1, not nan"),
    (lambda s: s.search(["a"], rerank_depth=0), UsageError, "rerank_depth must be from 1 to 10,000, not 0"),
    (lambda s: s.search(["a"], context=-1), UsageError, "context must be at least 0, not -1"),
    (lambda s: s.facets("year", "-a"), UsageError, "the query only says"),
    (lambda s: s.facets("year", mode="psychic"), UsageError, "no mode 'psychic'"),
    (lambda s: s.facets("year", where="("), FilterError, "expected a field name"),
    (lambda s: s.search(["a"], min_score=float("nan")), UsageError, "min_score must be a finite number"),
    (lambda s: s.search(["a"], where="year = "), FilterError, "expected a value"),
    (lambda s: s.search(["a"], where=Compare("a", "<", True)), FilterError, "booleans have no order"),
    (lambda s: s.similar("a", top_k=-1), UsageError, "top_k must be at least 1"),
    (lambda s: s.similar("a", where="("), FilterError, "expected a field name"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_wrong_arguments_are_refused(
    searcher: Searcher, call: Callable[[Searcher], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(searcher)


def test_searches_beside_a_writer_never_mix_two_commits(store: Store, searcher: Searcher) -> None:
    def write(version: int) -> None:
        put(store, {f"d{n}": [f"common d{n} v{version}"] for n in range(20)}, version=version)

    write(0)
    done = threading.Event()

    def search() -> list[Hit]:
        seen: list[Hit] = []
        while not done.is_set() or not seen:
            (hits,) = searcher.search(["common"], top_k=30, where="version >= 0")
            versions = {hit.metadata["version"] for hit in hits}
            assert len(hits) == 20
            assert len(versions) == 1
            assert all(hit.text == f"common {hit.id} v{hit.metadata['version']}" for hit in hits)
            seen += hits
        return seen

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(search) for _ in range(3)]
        for version in range(1, 15):
            write(version)
        done.set()
        for reader in readers:
            reader.result()


def test_importing_search_loads_nothing_heavy() -> None:
    code = "import sys, yusa.search.searcher; print({'torch', 'faiss', 'sqlalchemy', 'tokenizers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
