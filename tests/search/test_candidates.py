"""Which of the ranked passages may be shown: one for each document, and near-identical ones once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from searching import DIMENSION, ids, make_entry, put, shown
from stubs import StubEncoder

from yusa.search.candidates import NEAR_IDENTICAL
from yusa.search.searcher import MODES, Searcher
from yusa.storage import Store
from yusa.text.terms import bigrams

SAME = "오늘 서울 시청 앞 광장 에서 겨울 축제 가 열렸다"
OTHER = "부산 바다 에서 여름 축제 가 열렸다"


def resemblance(one: str, other: str) -> float:
    left, right = set(bigrams(one)), set(bigrams(other))
    return len(left & right) / len(left | right)


@pytest.mark.parametrize("mode", MODES)
def test_one_hit_for_each_document_is_its_best_passage(store: Store, searcher: Searcher, mode: str) -> None:
    put(store, {"a": ["cat", "cat dog", "dog"], "b": ["dog bird", "cat cat bird"], "c": ["cat"]})
    (every,) = searcher.search(["cat"], mode=mode, passages=True)
    best = {hit.id: hit.passage.ordinal for hit in reversed(every)}
    (hits,) = searcher.search(["cat"], mode=mode)
    assert {hit.id: hit.passage.ordinal for hit in hits} == best
    assert [hit.id for hit in hits] == list(dict.fromkeys(hit.id for hit in every))
    # In mode "lexical" a passage without the word is no hit.
    assert len(every) == (4 if mode == "lexical" else 6)


@pytest.mark.parametrize("mode", MODES)
def test_collapse_hides_what_is_nearly_the_same_as_a_better_hit(store: Store, searcher: Searcher, mode: str) -> None:
    put(store, {"first": [SAME], "copy": [SAME], "nearly": [f"{SAME} !"], "other": [OTHER], "tail": [f"{SAME} 어제"]})
    assert resemblance(SAME, f"{SAME} 어제") >= NEAR_IDENTICAL > resemblance(SAME, OTHER)
    (plain,) = searcher.search(["겨울 축제"], mode=mode)
    (hits,) = searcher.search(["겨울 축제"], mode=mode, collapse=True)
    assert sorted(ids(plain)) == ["copy", "first", "nearly", "other", "tail"]
    assert len(hits) == 2
    head = next(hit for hit in hits if hit.id != "other")
    assert head.id == next(hit.id for hit in plain if hit.id != "other")
    assert sorted([head.id, *head.collapsed]) == ["copy", "first", "nearly", "tail"]
    assert [hit.collapsed for hit in hits if hit.id == "other"] == [()]
    assert all(hit.collapsed == () for hit in plain)


def test_collapse_is_as_if_the_worse_ones_were_not_there(store: Store, searcher: Searcher) -> None:
    # Blocks of near-identical texts, told apart by a number alone.
    texts = {f"{block}-{copy}": f"w{block} " * 3 + "the same long sentence stands here " * 2 for block in range(12)
             for copy in range(5)}  # fmt: skip
    put(store, {id: [f"{text} {id.replace('-', 'x')}"] for id, text in texts.items()})
    (plain,) = searcher.search(["w3 w7 sentence"], top_k=60)
    wanted: list[str] = []
    kept: list[str] = []
    for hit in plain:
        if all(resemblance(hit.text, text) < NEAR_IDENTICAL for text in kept):
            wanted.append(hit.id)
            kept.append(hit.text)
    assert 1 < len(wanted) < 60
    for top_k in (1, 2, len(wanted), 100):
        (hits,) = searcher.search(["w3 w7 sentence"], top_k=top_k, collapse=True)
        assert ids(hits) == wanted[:top_k]
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    pages = [searcher.search(["w3 w7 sentence"], top_k=1, offset=n, collapse=True)[0] for n in range(len(wanted))]
    assert [ids(page)[0] for page in pages] == wanted
    (whole,) = searcher.search(["w3 w7 sentence"], top_k=100, collapse=True)
    hidden = [id for hit in whole for id in hit.collapsed]
    assert sorted([*wanted, *hidden]) == sorted(texts)


def test_with_passages_a_document_is_named_once_and_never_under_itself(store: Store, searcher: Searcher) -> None:
    put(store, {"a": [SAME, SAME, OTHER], "b": [SAME, f"{SAME} !"]})
    (hits,) = searcher.search([SAME], passages=True, collapse=True)
    assert shown(hits) == [("a", 0), ("a", 2)]
    assert [hit.collapsed for hit in hits] == [("b",), ()]


def test_passages_without_words_are_the_same_only_if_they_are(store: Store, searcher: Searcher) -> None:
    put(store, {"a": ["!!!"], "b": ["???"], "c": ["!!!"]})
    (hits,) = searcher.search(["!!!"], collapse=True)
    assert sorted([hit.id, *hit.collapsed] for hit in hits) == [["a", "c"], ["b"]]


def test_titles_do_not_tell_near_identical_passages_apart(store: Store, searcher: Searcher) -> None:
    put(store, {"a": [SAME]}, title="아침 신문")
    put(store, {"b": [SAME]}, title="저녁 뉴스 모음")
    (hits,) = searcher.search(["겨울 축제"], collapse=True)
    assert [(hit.id, hit.collapsed) for hit in hits] in ([("a", ("b",))], [("b", ("a",))])


@pytest.mark.parametrize("mode", MODES)
def test_scores_fall_and_equal_ones_stand_in_the_order_of_their_making(
    store: Store, searcher: Searcher, mode: str
) -> None:
    put(store, {f"d{n:02}": [("cat", "dog", "bird", "fish")[n % 4]] for n in range(24)})
    (hits,) = searcher.search(["dog bird"], top_k=24, mode=mode)
    assert len(hits) == (12 if mode == "lexical" else 24)
    for one, next_one in pairwise(hits):
        assert (one.score, next_one.id) > (next_one.score, one.id)


def test_context_is_the_neighbours_and_stops_at_the_ends(store: Store, searcher: Searcher) -> None:
    encoder = StubEncoder(DIMENSION)
    lines = [f"line {name}" for name in ("zero", "one", "two", "three", "four")]
    with store.write() as writer:
        writer.put([make_entry("a", lines, encoder.encode_documents(lines), {})])
    for query, context, wanted in (
        ("line two", 0, []),
        ("line two", 1, [1, 3]),
        ("line two", 9, [0, 1, 3, 4]),
        ("line zero", 2, [1, 2]),
        ("line four", 1, [3]),
    ):
        ((hit,),) = searcher.search([query], context=context)
        assert [one.ordinal for one in hit.context] == wanted
        text = "\n".join(lines)
        assert all(one.text == lines[one.ordinal] == text[one.start : one.end] for one in hit.context)
