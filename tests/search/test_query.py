"""What the operators of a query mean, and what is taken as it stands."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yusa.errors import UsageError
from yusa.search.query import Query, parse_query


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("비 오는 날", Query("비 오는 날")),
        ('"서울 지하철" 요금', Query("서울 지하철 요금", phrases=("서울 지하철",))),
        ("“서울 지하철” 요금", Query("서울 지하철 요금", phrases=("서울 지하철",))),
        ('"서울 지하철"에서', Query("서울 지하철에서", phrases=("서울 지하철",))),
        ('"only a phrase"', Query("only a phrase", phrases=("only a phrase",))),
        ('"one" "two"', Query("one two", phrases=("one", "two"))),
        ("요금 -광고", Query("요금", excluded=("광고",))),
        ("-광고 요금", Query("요금", excluded=("광고",))),
        ('요금 -"좋은 광고" 지하철', Query("요금  지하철", excluded=("좋은 광고",))),
        ("요금 -“좋은 광고”", Query("요금", excluded=("좋은 광고",))),
        ("요금 -RFC-2119", Query("요금", excluded=("RFC-2119",))),
        ("RFC-21*", Query("RFC-21", prefixes=("RFC-21",))),
        ("문서 RFC-21* 요약", Query("문서 RFC-21 요약", prefixes=("RFC-21",))),
        ('"a b" -c d* e', Query("a b  d e", phrases=("a b",), excluded=("c",), prefixes=("d",))),
    ],
)
def test_operators(text: str, query: Query) -> None:
    assert parse_query(text) == query


@pytest.mark.parametrize(
    "text",
    [
        'a 5" pipe',
        '"',
        'a "b c',
        "a “b c",
        "don't",
        "RFC-2119",
        "K-9 unit",
        "a - b",
        "-",
        "--force",
        "-5",
        "-5 degrees",
        "-3.14",
        "*",
        "a * b",
        "2*3",
        "a*b",
        "**bold**",
        "C++",
        "(a)",
    ],
)
def test_what_cannot_be_meant_stands_as_it_is(text: str) -> None:
    assert parse_query(text) == Query(text)


@pytest.mark.parametrize("text", ['"서울 지하철" 요금', "-광고 요금", "-광고", "RFC-21*", "“a”", '""'])
def test_taken_literally_nothing_has_a_meaning(text: str) -> None:
    assert parse_query(text, literal=True) == Query(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n\t", "is empty"),
        ("-광고", "only says what to leave out"),
        ('-a -"b c"', "only says what to leave out"),
        ('""', "is empty"),
        ('"  "', "is empty"),
        ('-""', "is empty"),
        ("a\ud800", "cannot be read"),
    ],
)
def test_what_asks_for_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        parse_query(text)


def test_a_query_is_in_normal_form() -> None:
    query = parse_query(unicodedata.normalize("NFD", '"학교 종" -광고 초등*'))
    assert query == Query("학교 종  초등", phrases=("학교 종",), excluded=("광고",), prefixes=("초등",))


@pytest.mark.parametrize(
    "text",
    ["a" * 200_000, "a." * 100_000, "“a " * 70_000, '" ' * 100_000, "-a" * 100_000, "*a" * 100_000, "- " * 99_999],
)
def test_a_long_query_is_read_in_one_pass(text: str) -> None:
    # Read again from every character, one of these would take many minutes.
    assert parse_query(f"{text} b").text.endswith("b")


@given(st.text(st.sampled_from('ab가나59 \n-*"“”.'), max_size=30))
def test_no_text_is_read_wrongly(text: str) -> None:
    try:
        query = parse_query(text)
    except UsageError:
        return
    assert query.text == query.text.strip() != ""
    squeezed = re.sub(r"\s+", "", text)
    for part in (*query.phrases, *query.excluded, *query.prefixes):
        assert part == part.strip() != ""
        assert re.sub(r"\s+", "", part) in squeezed
    for part in (*query.phrases, *query.prefixes):
        assert part in query.text
    # What was said once means the same again.
    if not query.phrases and not query.excluded and not query.prefixes and '"' not in text and "“" not in text:
        assert parse_query(query.text) == query


def test_operators_count_once_and_are_bounded() -> None:
    assert parse_query("x " + "-가 " * 5000).excluded == ("가",)
    with pytest.raises(UsageError, match="more than 64"):
        parse_query("x " + " ".join(f"-가{number}" for number in range(65)))
    assert parse_query("x " + " ".join(f"-가{number}" for number in range(65)), literal=True).excluded == ()
