"""Metadata as attribute rows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yusa.errors import UsageError
from yusa.storage.attributes import (
    BOOLEAN,
    MAX_DEPTH,
    NUMBER,
    TEXT,
    Attribute,
    attribute_rows,
    check_metadata,
    split_number,
)


def _nested(levels: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {"leaf": 1}
    for _ in range(levels - 1):
        metadata = {"a": metadata}
    return metadata


def test_kinds_of_values() -> None:
    assert attribute_rows({"lang": "ko", "year": 2020, "score": 0.5, "ok": True, "off": False}) == [
        Attribute("lang", TEXT, "ko", None),
        Attribute("year", NUMBER, None, 2020.0),
        Attribute("score", NUMBER, None, 0.5),
        Attribute("ok", BOOLEAN, None, 1.0),
        Attribute("off", BOOLEAN, None, 0.0),
    ]


def test_nested_objects_and_arrays_become_dotted_fields() -> None:
    rows = attribute_rows({"author": {"name": "김", "works": [{"title": "가"}, {"title": "나"}]}, "tags": ["a", ["b"]]})
    assert [(row.field, row.text) for row in rows] == [
        ("author.name", "김"),
        ("author.works.title", "가"),
        ("author.works.title", "나"),
        ("tags", "a"),
        ("tags", "b"),
    ]


def test_a_dot_in_a_key_is_the_same_as_nesting() -> None:
    assert attribute_rows({"a.b": 1}) == attribute_rows({"a": {"b": 1}})


def test_null_and_empty_give_nothing_but_an_empty_string_is_a_value() -> None:
    assert attribute_rows({"a": None, "b": [], "c": {}, "d": [None, []]}) == []
    assert attribute_rows({"e": ""}) == [Attribute("e", TEXT, "", None)]


def test_a_repeated_value_is_one_row_while_1_and_true_are_two() -> None:
    assert len(attribute_rows({"a": ["x", "x", 1, 1.0, True]})) == 3


def test_strings_and_keys_are_nfc_and_never_clipped() -> None:
    assert attribute_rows({"\u1100\u1161": "e\u0301"}) == [Attribute("가", TEXT, "é", None)]
    assert attribute_rows({"long": "x" * 100_000})[0].text == "x" * 100_000


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ([1], "must be an object, not a list"),
        ({"a": {1: 2}}, "field 'a': the key 1 is a int; keys must be strings"),
        ({"a": {"b": float("nan")}}, "field 'a.b': a number beyond"),
        ({"a": [float("-inf")]}, "field 'a': a number beyond"),
        ({"a": 10**400}, "field 'a': a number beyond 1.8e308 cannot be compared; write it as a string"),
        ({"a": b"x"}, "field 'a': a bytes is not JSON"),
        ({"a": "x\0"}, "field 'a': a string holds a NUL character"),
        ({"a": "가\ud800"}, "field 'a': a string holds half a surrogate pair at character 1"),
        ({"a\0": 1}, "metadata: a string holds a NUL"),
        ({"yusa": {"labels": 1}}, "field 'yusa': 'yusa' and names that begin with 'yusa.' are reserved"),
        ({"yusa.path": 1}, "field 'yusa.path': .* reserved"),
        (_nested(MAX_DEPTH + 1), f"nested deeper than {MAX_DEPTH} levels"),
    ],
)
def test_metadata_that_cannot_be_kept_is_refused_by_name(metadata: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        check_metadata(metadata)


def test_what_is_near_the_limits_passes() -> None:
    check_metadata(_nested(MAX_DEPTH))
    check_metadata({"yusable": 1, "my": {"yusa": 2}, "a": 1.7e308, "b": -(10**300), "": "empty key"})


def test_metadata_that_holds_itself_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["self"] = [circle]
    with pytest.raises(UsageError, match="nested deeper"):
        check_metadata(circle)


_HUGE = [2**53 - 1, 2**53, 2**53 + 1, 2**53 + 2, 2.0**53, 2**63 - 1, 2**63, 2**64 + 1, 10**300, 10**300 + 1, 1e300]


def _key(value: float) -> tuple[float, str]:
    nearest, rest = split_number(value)
    return nearest, rest or ""


@given(
    st.lists(
        st.integers(-(10**320) // 10**13, 10**307) | st.floats(allow_nan=False, allow_infinity=False)
        | st.sampled_from(_HUGE).flatmap(lambda v: st.integers(-3000, 3000).map(lambda d: int(v) + d)),
        min_size=2,
    )
)  # fmt: skip
def test_split_numbers_sort_and_equal_as_the_numbers_do(values: list[float]) -> None:
    for low, high in pairwise(sorted(values)):
        assert (_key(low) < _key(high)) == (low < high)
        assert (_key(low) == _key(high)) == (low == high)
