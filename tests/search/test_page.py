"""What is asked of the encoder and the reranker on a query's way, and what the last step shows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from searching import DIMENSION, ids, make_entry, make_searcher, put, shown, without_encoder
from stubs import StubEncoder

import yusa
from yusa.errors import DocumentNotFoundError, EncoderError, UsageError
from yusa.search.searcher import MODES, Searcher, check_choice
from yusa.storage import Store, View


class Judge:
    """A reranker that likes long texts; keeps what it was asked."""

    name = "judge"

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []

    def scores(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.append((query, list(texts)))
        return np.array([len(text) for text in texts], dtype=np.float32)


@pytest.fixture
def filled(store: Store) -> Store:
    put(store, {f"d{n:02}": [f"cat {'dog ' * (n * 7 % 30)}"] for n in range(30)}, title="Animals")
    return store


@pytest.mark.parametrize("mode", MODES)
def test_the_first_hits_stand_in_the_rerankers_order_whatever_the_page(filled: Store, mode: str) -> None:
    searcher, judge = make_searcher(filled), Judge()
    (before,) = searcher.search(["cat -nowhere"], top_k=30, mode=mode)
    (whole,) = searcher.search(["cat -nowhere"], top_k=30, mode=mode, reranker=judge, rerank_depth=12)
    wanted = sorted(before[:12], key=lambda hit: -len(hit.text)) + before[12:]
    assert ids(whole) == ids(wanted)
    assert [hit.rank for hit in whole] == list(range(1, 31))
    ((query, texts),) = judge.asked
    assert query == "cat"
    assert texts == [f"Animals\n{hit.text}" for hit in before[:12]]
    for hit, old in zip(whole, wanted, strict=True):
        assert hit.scores == ({**old.scores, "rerank": hit.score} if hit.rank <= 12 else old.scores)
    pages = [
        searcher.search(["cat -nowhere"], top_k=5, offset=n, mode=mode, reranker=judge, rerank_depth=12)[0]
        for n in range(0, 30, 5)
    ]
    assert [(hit.id, hit.score) for page in pages for hit in page] == [(hit.id, hit.score) for hit in whole]
    assert all(texts == judge.asked[0][1] for _, texts in judge.asked)


def test_reranking_asks_once_for_each_query_and_not_where_nothing_is_found(filled: Store) -> None:
    judge = Judge()
    answers = make_searcher(filled).search(["cat", "zebra", "dog"], mode="lexical", reranker=judge)
    assert [query for query, _ in judge.asked] == ["cat", "dog"]
    assert [len(hits) for hits in answers] == [10, 0, 10]
    # By default it sees 50; there are 30, of which one holds no dog.
    assert [len(texts) for _, texts in judge.asked] == [30, 29]


@pytest.mark.parametrize("bad", [[float("nan")] * 30, [float("inf")] * 30, [1.0], [[1.0]] * 30])
def test_a_reranker_without_a_number_for_every_text_is_named(filled: Store, bad: object) -> None:
    class Broken(Judge):
        def scores(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
            return np.array(bad, dtype=np.float32)

    with pytest.raises(EncoderError, match="the reranker judge gave"):
        make_searcher(filled).search(["cat"], reranker=Broken())


def test_models_work_outside_the_read_transaction(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # A long transaction keeps SQLite's log from being cleared.
    events: list[str] = []
    encoder, judge = StubEncoder(DIMENSION), Judge()
    encode, score, read = encoder._encode, judge.scores, filled.read

    def watched_encode(texts: Sequence[str]) -> NDArray[np.float32]:
        events.append("encode")
        return encode(texts)

    def watched_scores(query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        events.append("rerank")
        return score(query, texts)

    @contextmanager
    def watched_read() -> Iterator[View]:
        events.append("read")
        with read() as view:
            yield view
        events.append("end")

    monkeypatch.setattr(encoder, "_encode", watched_encode)
    monkeypatch.setattr(judge, "scores", watched_scores)
    monkeypatch.setattr(filled, "read", watched_read)
    make_searcher(filled, encoder).search(["cat", "dog"], reranker=judge, context=1)
    assert events == ["encode", "read", "end", "rerank", "rerank"]


def test_the_sentence_nearest_to_the_query_is_shown_where_no_word_is_shared(store: Store) -> None:
    class Synonyms(StubEncoder):
        def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return super()._encode([text.replace("feline", "고양이") for text in texts])

    encoder = Synonyms(DIMENSION)
    sleeps = "오늘 마당 에서 하루 종일 지붕 위 에 누워 고양이 고양이 고양이 고양이 고양이 고양이 고양이 고양이 고양이."
    rains = "비 가 온다 비 가 온다 비 가 온다 비 가 온다 비 가 온다 비 가 온다 비 가 온다 비 가 온다."
    lines = [f"{rains} {sleeps} {rains}"]
    with store.write() as writer:
        writer.put([make_entry("a", lines, encoder.encode_documents(lines), {})])
    searcher = make_searcher(store, encoder)
    for mode in ("dense", "hybrid"):
        ((hit,),) = searcher.search(["feline"], mode=mode)
        assert hit.text[slice(*hit.snippet)] == sleeps
        assert hit.highlights == ()
        ((hit,),) = searcher.search(["온다"], mode=mode)
        assert hit.text[slice(*hit.snippet)] == rains
        assert {hit.text[start:end] for start, end in hit.highlights} == {"온다"}


@pytest.mark.parametrize("operator", ["-고양이", '"비 가"'])
def test_marks_are_those_of_the_words_looked_for(store: Store, searcher: Searcher, operator: str) -> None:
    put(store, {"a": ["비 가 온다"]})
    ((hit,),) = searcher.search([f"온다 {operator}"])
    marked = [hit.text[start:end] for start, end in hit.highlights]
    assert marked == (["온다"] if operator.startswith("-") else ["비", "가", "온다"])


def test_lexical_mode_and_similar_need_no_encoder(filled: Store) -> None:
    searcher = without_encoder(filled)
    (hits,) = searcher.search(["dog"], mode="lexical", top_k=30)
    assert len(hits) == 29
    assert all(set(hit.scores) == {"lexical"} and hit.score == hit.scores["lexical"] > 0 for hit in hits)
    assert len(searcher.similar("d03", top_k=30)) == 29
    assert searcher.facets("id", "dog", mode="lexical")
    with pytest.raises(AssertionError, match="the encoder was loaded"):
        searcher.search(["dog"])


def test_lexical_mode_loads_nothing_of_an_encoder(tmp_path: Path) -> None:
    with yusa.create(tmp_path / "index", encoder=StubEncoder(DIMENSION)) as index:
        index.add([{"id": "a", "text": "학교에 간다"}, {"id": "b", "text": "집에 간다"}])
    code = f"""
import sys, yusa
with yusa.open({str(tmp_path / "index")!r}) as index:
    print([hit.id for hit in index.search("학교", mode="lexical", collapse=True, context=1)])
    print([hit.id for hit in index.similar("a")], index.facets("yusa", "학교", mode="lexical"))
print({{"torch", "tokenizers", "transformers", "yusa.encoder.encoder"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode().split("\n")[:3] == ["['a']", "['b'] []", "set()"]


def test_similar_to_one_passage_is_near_that_passage(store: Store) -> None:
    put(store, {"a": ["cat cat cat", "dog dog dog"], "cats": ["cat", "cat bird"], "dogs": ["dog"], "birds": ["bird"]})
    searcher = without_encoder(store)
    assert shown(searcher.similar("a", passage=0, top_k=1)) == [("cats", 0)]
    assert shown(searcher.similar("a", passage=1, top_k=1)) == [("dogs", 0)]
    (first, *_) = searcher.similar("a", passage=1)
    assert first.score == pytest.approx(1.0, abs=1e-3)
    assert "a" not in ids(searcher.similar("a", passage=0, top_k=10, passages=True))
    for passage in (2, -1):
        with pytest.raises(DocumentNotFoundError, match=f"has no passage {passage}; it has 2, counted from 0"):
            searcher.similar("a", passage=passage)


def test_similar_to_a_text_is_what_it_would_be_if_it_were_stored(tmp_path: Path) -> None:
    encoder = StubEncoder(DIMENSION)
    words = [f"word{n}" for n in range(12)]
    with yusa.create(tmp_path / "index", encoder=encoder, passage_tokens=20, overlap=4) as index:
        index.add([{"id": f"d{n}", "text": " ".join(words[n % 12 :] + words[: n % 5])} for n in range(30)])
        text = " ".join(f"word{n % 7}" for n in range(100))
        for title in (None, "word3 word3"):
            hits = index.similar_text(text, title=title, top_k=30)
            index.add([{"id": "stored", "text": text, "title": title or ""}])
            stored = index.similar("stored", top_k=30)
            assert [(hit.id, hit.passage) for hit in hits] == [(hit.id, hit.passage) for hit in stored]
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in stored], abs=1e-6)
            index.delete(["stored"])
        assert index.stats().documents == 30
        with pytest.raises(yusa.YusaError, match="the text is empty"):
            index.similar_text(" \n")


def test_facets_count_the_documents_that_match(store: Store) -> None:
    searcher = without_encoder(store)
    put(store, {"a": ["cat", "cat dog"], "b": ["dog"]}, lang="en", tags=["x", "y"])
    put(store, {"c": ["고양이"], "d": ["cat 고양이"]}, title="둘", lang="ko", tags=["x"])
    put(store, {"e": ["새"]})
    assert searcher.facets("lang") == [("en", 2), ("ko", 2)]
    assert searcher.facets("tags") == [("x", 4), ("y", 2)]
    assert searcher.facets("lang", where="id in ('a', 'c', 'd')") == [("ko", 2), ("en", 1)]
    assert searcher.facets("lang", "cat") == [("en", 2), ("ko", 2)]
    assert searcher.facets("lang", "cat", mode="lexical") == [("en", 1), ("ko", 1)]
    assert searcher.facets("lang", "고양이", mode="lexical", where="tags = 'x'") == [("ko", 2)]
    assert searcher.facets("lang", 'bird "cat"') == [("en", 1), ("ko", 1)]
    assert searcher.facets("lang", "bird -cat") == [("en", 1), ("ko", 1)]
    assert searcher.facets("lang", 'cat -cat "dog"') == [("en", 1)]
    assert searcher.facets("lang", '"cat"', literal=True) == [("en", 2), ("ko", 2)]
    assert searcher.facets("lang", "nowhere", mode="lexical") == []
    assert searcher.facets("nothing") == []
    assert searcher.facets("title") == [("둘", 2)]
    assert searcher.facets("source") == [("test", 5)]
    assert searcher.facets("id", '"새"') == [("e", 1)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("query", ["cat dog", "bird -cat", '"cat" dog', "고*"])
def test_facets_agree_with_the_hits(store: Store, mode: str, query: str) -> None:
    random = np.random.default_rng(5)
    for n in range(4):
        lines = [" ".join(random.choice(["cat", "dog", "bird", "고양이"], size=3)) for _ in range(15)]
        put(store, {f"d{n}-{i}": [line] for i, line in enumerate(lines)}, n=n)
    searcher = make_searcher(store)
    for where in (None, "n < 2"):
        (hits,) = searcher.search([query], top_k=100, mode=mode, where=where)
        counts: dict[object, int] = {}
        for hit in hits:
            counts[hit.metadata["n"]] = counts.get(hit.metadata["n"], 0) + 1
        assert dict(searcher.facets("n", query, mode=mode, where=where)) == counts


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"mood": "dense"}, "tuning cannot choose 'mood'; it chooses mode, weight, rerank, rerank_depth"),
        ({"mode": "psychic"}, "no mode 'psychic'"),
        ({"mode": 3}, "no mode 3"),
        ({"weight": 1.1}, "weight must be from 0 to 1"),
        ({"weight": "0.5"}, "weight must be a number, not '0.5'"),
        ({"rerank": 3}, "rerank must be the name"),
        ({"rerank_depth": 0}, "rerank_depth must be from 1"),
        ({"rerank_depth": 2.5}, "rerank_depth must be a whole number, not 2.5"),
    ],
)
def test_what_tuning_cannot_store_is_refused(choice: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_choice(choice)


def test_what_tuning_stored_answers_where_the_search_does_not_say(tmp_path: Path) -> None:
    with yusa.create(tmp_path / "index", encoder=StubEncoder(DIMENSION)) as index:
        index.add([{"id": f"d{n}", "text": f"cat {'dog ' * n}", "n": n} for n in range(4)])
        index.add([{"id": "none", "text": "bird"}])
        assert index.tuned() == {}
        hybrid = index.search("cat")
        assert index.search("cat", mode="hybrid", weight=0.0) != hybrid
        index.tune({"mode": "lexical"})
        assert index.tuned() == {"mode": "lexical"}
        assert index.search("cat") == index.search("cat", mode="lexical")
        assert [set(hit.scores) for hit in index.search("cat")] == [{"lexical"}] * 4
        assert index.search("cat", mode="hybrid") == hybrid
        assert index.facets("n", "cat") == index.facets("n", "cat", mode="lexical")
        index.tune({"mode": "hybrid", "weight": 0.0})
        assert index.search("cat") == index.search("cat", mode="hybrid", weight=0.0)
        assert index.search("cat", weight=0.6) == hybrid
        index.tune({})
        assert index.search("cat") == hybrid
