"""Any tree can be written and read again and means what the oracle says; any text at all is a tree or a FilterError."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest
from filter_database import assert_as_oracle
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine
from where_text import unparse

from yusa.errors import FilterError
from yusa.search.where import MAX_LENGTH, parse
from yusa.storage.filters import And, Between, Compare, Comparison, Filter, In, IsNull, Like, Not, Or
from yusa.storage.records import Document
from yusa.storage.tables import metadata

# fmt: off
PIECES = [
    "a", "분류", " ", "=", "<=", "'x'", '"my field"', "(", ")", ",", "1", "-2.5e3", "and ", "or ", "not ", "in ", "is null",
    "like '%'", "between 1 and 2", "\0", "\u2028", "\ufeff",
]
LONG = [
    *PIECES, "(a=1 or ", "a=1 and ", "not(", "a in (1,", "''", '""', ".a", "1e", "-+", "\u0301\u0323", "\ud800",
]
# fmt: on
ITEMS = [
    Document(f"d{n}", "text", title, data)
    for n, (title, data) in enumerate(
        [
            (None, {}),
            ("", {"a": 1, "분류": "", "my field": [True, "", 0]}),
            ("0", {"a": {"b": ["0", 0.0, False]}, "NOT": None, "2": 10**25, "a-b": -(10**25)}),
        ]
    )
]
_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8).map(
    partial(unicodedata.normalize, "NFC")
)
_number = st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False)
_any = _text | _number | st.booleans()
_names = st.sampled_from(["a", "a.b", "분류", "yusa.id", "id", "my field", "NOT", "x.Null", "a-b", "2", ""]) | _text
_equal: list[Comparison] = ["=", "!="]
_ordered: list[Comparison] = ["<", "<=", ">", ">="]
_trees: st.SearchStrategy[Filter] = st.recursive(
    st.one_of(
        st.builds(Compare, _names, st.sampled_from(_equal), _any),
        st.builds(Compare, _names, st.sampled_from(_ordered), _text | _number),
        st.builds(In, _names, st.lists(_any, min_size=1, max_size=4).map(tuple), st.booleans()),
        st.builds(Between, _names, _text, _text, st.booleans()),
        st.builds(Between, _names, _number, _number, st.booleans()),
        st.builds(Like, _names, _text.map(lambda text: text.replace("\\", "\\\\")), st.booleans()),
        st.builds(IsNull, _names, st.booleans()),
    ),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=10,
)


_field_names = _names.filter(lambda name: not name.startswith("yusa"))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    yield engine
    engine.dispose()


@given(_trees)
@example(Compare("a", "=", 1e16))
@example(Compare("a", "=", -1.5e-7))
def test_a_tree_survives_writing_and_reading(tree: Filter) -> None:
    assert repr(parse(unparse(tree))) == repr(tree)


@given(_trees)
def test_what_is_read_means_what_the_oracle_says_of_it(engine: Engine, tree: Filter) -> None:
    assert_as_oracle(engine, ITEMS, [parse(unparse(tree)), tree])


@st.composite
def related(draw: st.DrawFn) -> tuple[list[Document], list[Filter]]:
    """Documents and conditions of the same few arbitrary names and values, so that some of them meet."""
    names = draw(st.lists(_field_names, min_size=1, max_size=3))
    values = draw(st.lists(_any, min_size=1, max_size=5))
    name, value = st.sampled_from(names), st.sampled_from(values)
    text = st.sampled_from([one for one in values if isinstance(one, str)] or ["x"])
    number = st.sampled_from([one for one in values if not isinstance(one, str | bool)] or [1])
    data = st.dictionaries(name, value | st.lists(value, max_size=3) | st.dictionaries(name, value, max_size=2))
    documents = draw(st.lists(data, max_size=6))
    condition = st.one_of(
        st.builds(Compare, name, st.sampled_from(_equal), value),
        st.builds(Compare, name, st.sampled_from(_ordered), text | number),
        st.builds(In, name, st.lists(value, min_size=1, max_size=4).map(tuple), st.booleans()),
        st.builds(Between, name, text, text, st.booleans()),
        st.builds(Between, name, number, number, st.booleans()),
        st.builds(Like, name, text.map(_pattern), st.booleans()),
        st.builds(IsNull, name, st.booleans()),
    )
    trees = draw(st.lists(condition | st.builds(Not, condition), min_size=1, max_size=4))
    return [Document(f"d{n}", "text", None, one) for n, one in enumerate(documents)], trees


def _pattern(text: str) -> str:
    """The text itself, its second character any, what follows whatever it is."""
    escaped = [f"\\{c}" if c in "%_\\" else c for c in text]
    return "".join(["_" if n == 1 else c for n, c in enumerate(escaped)][:4]) + "%"


@given(related())
def test_filters_over_any_names_and_values(engine: Engine, drawn: tuple[list[Document], list[Filter]]) -> None:
    items, trees = drawn
    assert_as_oracle(engine, items, trees)
    assert_as_oracle(engine, items, [parse(unparse(tree)) for tree in trees])


@given(
    st.text(st.sampled_from("ab'\"().,=<>!-+0159 eEandornoti가\\%&\0"))
    | st.text(st.characters(), max_size=60)
    | st.lists(st.sampled_from(PIECES) | st.text(st.characters(), max_size=3), max_size=20).map("".join)
)
def test_no_text_raises_anything_but_a_filter_error(expression: str) -> None:
    with suppress(FilterError):
        tree = parse(expression)
        assert repr(parse(unparse(tree))) == repr(tree)


@pytest.mark.parametrize("piece", LONG)
@pytest.mark.parametrize("before", ["", "a = ", "a in (", "'", '"', "a like '"])
def test_nothing_takes_long_to_be_refused(before: str, piece: str) -> None:
    expression = (before + piece * (MAX_LENGTH // len(piece)))[:MAX_LENGTH]
    start = time.process_time()
    with suppress(FilterError):
        parse(expression)
    with pytest.raises(FilterError) as caught:
        parse(expression + "x" * MAX_LENGTH)
    assert len(str(caught.value)) < 500
    # Whatever is not linear takes minutes here.
    assert time.process_time() - start < 20
