"""Phrases, exclusions and prefixes against what the stored texts say."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from searching import ids, make_searcher, new_store, put, without_encoder

from yusa.errors import UsageError
from yusa.search import constraints
from yusa.search.query import parse_query
from yusa.search.searcher import MODES, Searcher
from yusa.storage import Store, View
from yusa.text.analyzer import load_analyzer
from yusa.text.phrases import holds

LINES = {
    "school": ["초등학교에서 운동회가 열렸다", "비가 와서 학교 운동장은 젖었다"],
    "spaced": ["학 교 운 동 장"],
    "rfc": ["See RFC-2119 and RFC 2026 for the words", "The law says 제12조 and 제120조"],
    "rfc3": ["RFC-3261 is another one"],
    "cat": ["A cat sat", "The dog ran"],
    "concat": ["We concat the strings", "an e-mail of 2012"],
    "spanned": ["the first red", "fox of the second"],
}


def fill(store: Store) -> Store:
    put(store, LINES)
    put(store, {"titled": ["nothing of it here", "nor here"]}, title="The Cat's  Handbook 학교")
    return store


@pytest.fixture
def own(store: Store) -> Store:
    """A store for one test, which may write to it."""
    return fill(store)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that all tests share: only to be read."""
    store = fill(new_store(tmp_path_factory.mktemp("filled") / "index"))
    yield store
    store.close()


def hits_of(searcher: Searcher, query: str, mode: str, **options: object) -> set[str]:
    (hits,) = searcher.search([query], top_k=100, mode=mode, **options)  # type: ignore[arg-type]
    return set(ids(hits))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('"학교 운동장"', {"school"}),
        ('"학교"', {"school", "titled"}),
        ('"cat"', {"cat", "titled"}),
        ('"CAT\'S handbook"', {"titled"}),
        ('"rfc-2119"', {"rfc"}),
        ('"RFC 2119"', set()),
        ('"제12조"', {"rfc"}),
        ('"12"', {"rfc"}),
        ('"2012"', {"concat"}),
        ('"e-mail"', {"concat"}),
        ('"red fox"', set()),
        ('"cat" "sat"', {"cat"}),
        ('"cat" "ran"', set()),
        ('"cat" -handbook', {"cat"}),
        ('"nowhere"', set()),
    ],
)
def test_phrases(filled: Store, query: str, found: set[str], mode: str) -> None:
    assert hits_of(make_searcher(filled), query, mode) == found


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
@pytest.mark.parametrize(
    ("query", "lost"),
    [
        ("words -cat", {"cat", "titled"}),
        ("words -학교", {"school", "titled"}),
        ('words -"the words"', {"rfc"}),
        ("words -dog -handbook", {"cat", "titled"}),
        ("words -RFC-2119", {"rfc"}),
        ("words -nowhere", set()),
        # It begins in one passage and ends in the next.
        ('words -"red fox"', {"spanned"}),
        ('words -"red fox" -"fox red"', {"spanned"}),
        ('words -"first second"', set()),
        ('words -"here nor" -handbook', {"titled"}),
        ('words -"학교 운동장" -concat', {"school", "concat"}),
    ],
)
def test_exclusions_take_whole_documents(filled: Store, query: str, lost: set[str], mode: str) -> None:
    assert hits_of(make_searcher(filled), query, mode) == {*LINES, "titled"} - lost
    (hits,) = make_searcher(filled).search([query], top_k=100, mode=mode, passages=True)
    assert lost.isdisjoint(ids(hits))


def test_in_lexical_mode_an_excluded_word_is_not_looked_for(filled: Store) -> None:
    searcher = make_searcher(filled)
    assert hits_of(searcher, "cat", "lexical") == {"cat", "titled"}
    assert hits_of(searcher, "cat -sat", "lexical") == {"titled"}
    assert hits_of(searcher, "dog -cat", "lexical") == set()


@pytest.mark.parametrize("mode", MODES)
def test_operators_and_filter_hold_together(filled: Store, mode: str) -> None:
    searcher = make_searcher(filled)
    assert hits_of(searcher, '"학교"', mode, where="id = 'school'") == {"school"}
    assert hits_of(searcher, '"학교"', mode, where="id = 'cat'") == set()
    assert hits_of(searcher, "학교 -비가", mode, where="id in ('school', 'titled')") == {"titled"}
    # The same constraint under another filter, and none, is another answer.
    assert hits_of(searcher, '"학교"', mode) == {"school", "titled"}


@pytest.mark.parametrize("mode", MODES)
def test_taken_literally_operators_are_words(filled: Store, mode: str) -> None:
    literal = hits_of(make_searcher(filled), '"학교" -cat', mode, literal=True)
    assert literal == ({"school", "spaced", "cat", "titled"} if mode == "lexical" else {*LINES, "titled"})


def test_decomposed_text_is_the_same_in_query_and_index(store: Store) -> None:
    put(store, {"a": ["학교에 간다"], "b": ["집에 간다"]})
    query = unicodedata.normalize("NFD", '"학교" 간다 -집')
    for mode in MODES:
        assert hits_of(make_searcher(store), query, mode) == {"a"}


def test_prefixes_stand_for_terms_that_begin_so(filled: Store) -> None:
    searcher = make_searcher(filled)
    for query in ("RFC-21*", "RFC-2*"):
        # Another RFC shares the word alone.
        (starred,), (plain,) = (searcher.search([text], mode="lexical") for text in (query, query[:-1]))
        assert ids(starred) == ["rfc", "rfc3"]
        assert starred[0].score > max(hit.score for hit in plain if hit.id == "rfc")
    assert hits_of(searcher, "hand*", "lexical") == {"titled"}
    assert hits_of(searcher, "hand", "lexical") == set()
    assert hits_of(searcher, "ca*", "lexical") == {"cat", "titled"}
    assert hits_of(searcher, "제12*", "lexical") == {"rfc"}
    assert hits_of(searcher, "zzz*", "lexical") == set()


def test_a_prefix_counts_every_term_once_and_the_words_written_out_by_themselves(filled: Store) -> None:
    searcher = make_searcher(filled)
    (found,) = searcher.search(["concat*"], mode="lexical")
    (word,) = searcher.search(["concat"], mode="lexical")
    assert [(hit.id, hit.score) for hit in found] == [(hit.id, hit.score) for hit in word]


def test_a_prefix_of_too_many_terms_is_refused_by_name(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constraints, "_MOST_EXPANDED", 2)
    with pytest.raises(UsageError, match=r"s\* stands for \d+ terms, at most 2 work"):
        make_searcher(filled).search(["s*"])


def test_a_commit_is_seen_though_the_constraint_was_asked_before(own: Store) -> None:
    searcher = make_searcher(own)
    assert hits_of(searcher, '"cat"', "lexical") == {"cat", "titled"}
    assert hits_of(searcher, "words -ran", "hybrid") == {*LINES, "titled"} - {"cat"}
    put(own, {"cat": ["A bird sat"], "new": ["one more cat ran"]})
    assert hits_of(searcher, '"cat"', "lexical") == {"new", "titled"}
    assert hits_of(searcher, "words -ran", "hybrid") == {*LINES, "titled"}
    with own.write() as writer:
        writer.delete(["titled"])
    assert hits_of(searcher, '"cat"', "lexical") == {"new"}


def test_a_constraint_asked_before_reads_no_text(own: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[int]] = []
    texts = View.texts

    def watched(self: View, vector_ids: Sequence[int]) -> object:
        asked.append(vector_ids)
        return texts(self, vector_ids)

    monkeypatch.setattr(View, "texts", watched)
    searcher = without_encoder(own)
    first = searcher.search(['"cat" -sat'], mode="lexical")
    assert len(asked) == 2
    assert searcher.search(['"cat" -sat'], mode="lexical") == first
    assert len(asked) == 2


ALPHABET = ("학교", "학", "교", "학교에", "cat", "concat", "cat2", "12", "제12", "制度", "e-mail", "mail", "Cat!")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, dict[str, list[str]]]]:
    random = np.random.default_rng(3)
    documents = {
        f"d{n}": [random.choice([" ", "", "-", "  "]).join(random.choice(ALPHABET, size=3)) for _ in range(n % 3 + 1)]
        for n in range(150)
    }
    store = new_store(tmp_path_factory.mktemp("mixed") / "index")
    put(store, documents)
    yield store, documents
    store.close()


def test_every_constraint_is_what_the_texts_say(mixed: tuple[Store, dict[str, list[str]]]) -> None:
    store, documents = mixed
    searcher = make_searcher(store)
    parts = [*ALPHABET, "학 교", "CAT", "cat cat", "12 제12"]
    checked = 0
    for phrase, other in product(parts, parts[::3]):
        (hits,) = searcher.search([f'"{phrase}" -"{other}"'], top_k=200, mode="dense", passages=True)
        wanted = {
            (id, ordinal)
            for id, lines in documents.items()
            for ordinal, line in enumerate(lines)
            if holds(line, phrase) and not holds("\n".join(lines), other)
        }
        assert {(hit.id, hit.passage.ordinal) for hit in hits} == wanted
        checked += len(wanted)
    assert checked > 300


def test_a_prefix_beyond_its_stem_finds_the_word(tmp_path: Path) -> None:
    store = new_store(tmp_path / "index")
    put(store, {"a": ["old libraries"], "b": ["liberty"]})
    with store.read() as view:
        terms = constraints.weighted_terms(view, parse_query("librarie*"), load_analyzer("standard"))
        assert "librari" in terms
        assert "liberti" not in terms
    store.close()
