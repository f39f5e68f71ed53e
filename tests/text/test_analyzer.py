"""What the keyword analyzer promises of Korean, codes, Chinese characters and every other text."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from yusa.errors import UsageError
from yusa.text.analyzer import load_analyzer
from yusa.text.phrases import holds

ANALYZER = load_analyzer("standard")
# Few characters of many kinds, so that runs of one kind meet runs of others.
MIXED = st.text(alphabet="학교에서가ㅋㅏab9Z1RF-.,_ \n大韓民國女éßİ́мирタカ๑😀\u1112\u1161\u11ab", max_size=30)


def shared(one: str, other: str) -> set[str]:
    return set(ANALYZER.terms(one)) & set(ANALYZER.terms(other))


@pytest.mark.parametrize(
    ("query", "text", "term"),
    [
        ("학교가", "초등학교에서는", "학교"),
        ("국어 사전", "국어사전을 샀다", "사전"),
        ("인공지능학회", "인공 지능 학회", "지능"),
        ("RFC-2119", "RFC2119에 따르면", "rfc2119"),
        ("rfc 2119", "RFC2119", "2119"),
        ("제12조", "제12조에서", "12조"),
        ("제12조", "제12조에서", "제12"),
        ("K-9", "K9 자주포", "k9"),
        ("email", "E-mail", "email"),
        ("1000원", "1,000원", "1000"),
        ("running", "runs", "run"),
        ("대한민국", "大韓民國", "대한"),
        ("大韓民國", "大韓民國 臨時政府", "大韓"),
        ("여자", "女子", "여자"),
        ("녀자", "女子", "녀자"),
        ("ÉCOLE", "école", "école"),
        ("мира", "мир", "ми"),
        ("학교", unicodedata.normalize("NFD", "학교"), "학교"),
        ("학", "학", "학"),
    ],
)
def test_what_meets(query: str, text: str, term: str) -> None:
    assert term in shared(query, text)


def test_what_does_not_meet() -> None:
    assert not shared("12", "2012")
    assert not shared("cat", "concat")
    assert "20240315" not in ANALYZER.terms("2024-03-15")
    assert ANALYZER.terms("") == ANALYZER.terms(" \n.,!?😀") == []


def test_a_query_counts_its_terms() -> None:
    assert ANALYZER.query_terms("dog dogs cat") == {"dog": 2.0, "cat": 1.0}


def test_a_long_text_is_read_in_one_pass() -> None:
    assert len(ANALYZER.terms("가" * 100_000)) == 199_999
    assert ANALYZER.terms("a" * 100_000) == ["a" * 100_000]


def test_names() -> None:
    assert (ANALYZER.name, ANALYZER.identity) == ("standard", "standard/1")
    assert load_analyzer("standard") is ANALYZER
    with pytest.raises(UsageError, match="there is no keyword analyzer 'nori'"):
        load_analyzer("nori")


@given(MIXED | st.text(max_size=40))
def test_terms_can_be_kept(text: str) -> None:
    terms = ANALYZER.terms(text)
    assert all(term and "\0" not in term and not any(c.isspace() for c in term) for term in terms)
    assert terms == ANALYZER.terms(unicodedata.normalize("NFC", text))
    assert set(ANALYZER.query_terms(text)) == set(terms)


@given(MIXED, MIXED, MIXED)
@example("11,000", "1,000", ",000")
@example("x", "RFC-21", "19")
def test_a_text_that_holds_a_phrase_has_what_it_requires(before: str, phrase: str, after: str) -> None:
    text = before + phrase + after
    if holds(text, phrase):
        assert set(ANALYZER.required(phrase)) <= set(ANALYZER.terms(text))


@given(MIXED, st.data())
def test_a_part_of_a_text_requires_only_what_the_text_has(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    phrase = text[start : data.draw(st.integers(start, len(text)))]
    if holds(text, phrase):
        assert set(ANALYZER.required(phrase)) <= set(ANALYZER.terms(text))


def test_kiwi_adds_morphemes() -> None:
    pytest.importorskip("kiwipiepy")
    kiwi = load_analyzer("kiwi")
    assert "/돕" in set(kiwi.terms("이웃을 도왔다")) & set(kiwi.terms("이웃을 돕는 사람"))
    assert kiwi.name == "kiwi"
    assert kiwi.identity.startswith("kiwi/1 ")
    assert kiwi.required("도왔다") == ANALYZER.required("도왔다")
    assert set(ANALYZER.terms("이웃을")) <= set(kiwi.terms("이웃을"))


@given(st.text("abzXY019-_,. '\t\n/", max_size=40))
def test_texts_of_ascii_alone_have_the_terms_they_have_beside_others(text: str) -> None:
    assert Counter(ANALYZER.terms(text)) == Counter(ANALYZER.terms(f"{text} 가")) - Counter(["가"])
    assert ANALYZER.required(text) == [term for term in ANALYZER.required(f"{text} 가") if term != "가"]
