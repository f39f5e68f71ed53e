"""No value of Python makes a source fail: it is a document, or a rejected row."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from odd_texts import BROKEN, JSON, NAMES, check

from yusa.indexer import Rejected, Row, documents_source
from yusa.storage.records import Document

PYTHON = st.recursive(
    JSON | BROKEN | st.binary(max_size=4) | st.integers() | st.floats() | st.complex_numbers() | st.just(object()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.sets(st.integers(), max_size=2)
        | st.dictionaries(NAMES | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=6,
)


def _nested(depth: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = "inside"
    for _ in range(depth):
        value = wrap(value)
    return value


@given(given_=st.dictionaries(st.sampled_from(["id", "_id", "text", "title", "metadata"]) | NAMES, PYTHON) | PYTHON)
@example(given_={"id": "a", "text": "x", "n": math.nan})
@example(given_={"id": True, "text": "x"})
@example(given_={"text": "x", 1: 2})
def test_no_python_values_make_a_source_fail(given_: Any) -> None:
    items = [item for item in documents_source([given_], "python") if isinstance(item, Row | Rejected)]
    assert len(items) == 1
    check(items)


@given(st.builds(Document, PYTHON, PYTHON, PYTHON, PYTHON))
def test_no_document_made_by_hand_makes_a_source_fail(document: Document) -> None:
    items = [item for item in documents_source([document], "python") if isinstance(item, Row | Rejected)]
    assert len(items) == 1
    check(items)


@pytest.mark.parametrize(
    "row",
    [
        {"id": 10**5000, "text": "x"},
        {"id": "a", "text": "x", "title": 10**5000},
        {"id": "a", "text": 10**5000},
        {"id": "a", "text": "x", "n": 10**5000},
        {"id": "a", "text": "x", "deep": _nested(100_000, lambda value: [value])},
        {"id": "a", "text": "x", "deep": _nested(100_000, lambda value: {"a": value})},
        {"id": "a", "text": _nested(100_000, lambda value: [value])},
        _nested(100_000, lambda value: [value]),
    ],
    ids=["id", "title", "text", "number", "lists", "objects", "text of lists", "no row"],
)
def test_what_python_itself_cannot_write_out_is_rejected(row: Any) -> None:
    [item] = documents_source([row], "python")
    assert isinstance(item, Rejected)
    check([item])
