"""Filters against a plain-Python oracle, on SQLite."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

import pytest
from filter_database import assert_as_oracle, expected, fill, passing
from filtering import DOCUMENTS, TREES
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine

from yusa.errors import FilterError
from yusa.storage.filter_sql import compile_filter
from yusa.storage.filters import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_PATTERN,
    MAX_VALUES,
    And,
    Between,
    Compare,
    Filter,
    In,
    IsNull,
    Like,
    Not,
    Or,
)
from yusa.storage.records import Document, Json
from yusa.storage.tables import metadata


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    yield engine
    engine.dispose()


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, st.lists(TREES, min_size=1, max_size=5))
def test_compiled_filters_agree_with_the_oracle(engine: Engine, items: list[Document], trees: list[Filter]) -> None:
    assert_as_oracle(engine, items, trees)


def _item(number: int, data: Mapping[str, Json], title: str | None = None) -> Document:
    return Document(f"d{number}", "text", title, data)


ITEMS = [
    _item(1, {"n": 1, "tags": ["a", "b"], "author": {"name": "Kim"}, "ok": True}, "Title"),
    _item(2, {"n": 1.0, "tags": ["b"], "author": None, "ok": 1}, "title"),
    _item(3, {"n": "1", "tags": [], "ok": "true"}, "제목"),
    _item(4, {"n": 2**64 + 1, "day": "2020-01-02"}),
    _item(5, {"n": 2**64 + 2, "day": "2020-10-01"}),
]


@pytest.mark.parametrize(
    ("tree", "keys"),
    [
        (Compare("n", "=", 1), [1, 2]),
        (Compare("n", "=", "1"), [3]),
        (Compare("n", "=", True), []),
        (Compare("ok", "=", True), [1]),
        (Compare("n", "!=", 1), [3, 4, 5]),
        (Not(Compare("tags", "=", "a")), [2, 3, 4, 5]),
        (Compare("tags", "!=", "a"), [2]),
        (IsNull("author"), [2, 3, 4, 5]),
        (IsNull("author", negated=True), [1]),
        (IsNull("tags"), [3, 4, 5]),
        (Compare("n", "=", 2**64 + 1), [4]),
        (Compare("n", ">", 2**64 + 1), [5]),
        (Compare("n", ">=", 2**64), [4, 5]),
        (Between("n", 2**64, 2**64 + 1), [4]),
        (In("n", (2**64 + 2, "1", 1, True)), [1, 2, 3, 5]),
        (Like("yusa.title", "TITLE"), [1, 2]),
        (Compare("yusa.title", "<", "a"), [1]),
        (IsNull("yusa.title"), [4, 5]),
        (Not(Compare("yusa.title", "=", "Title")), [2, 3, 4, 5]),
        (Compare("yusa.title", "!=", "Title"), [2, 3]),
        (Between("day", "2020-01-01", "2020-09-30"), [4]),
        (Compare("yusa.id", "=", "d3"), [3]),
        (Compare("yusa.id", "=", 3), []),
        (IsNull("yusa.id"), []),
        (Compare("yusa.source", "=", "웹"), [1, 4]),
        (In("yusa.source", ("files", "x")), [3]),
        (IsNull("yusa.source"), []),
        (Compare("n') OR 1=1 --", "=", "' OR ''='"), []),
        (And(()), [1, 2, 3, 4, 5]),
        (Or(()), []),
        (In("n", ()), []),
        (In("n", (), negated=True), [1, 2, 3, 4, 5]),
    ],
)
def test_the_meaning_of_each_condition(engine: Engine, tree: Filter, keys: list[int]) -> None:
    assert expected(ITEMS, tree) == keys
    assert_as_oracle(engine, ITEMS, [tree])


def test_lists_of_ten_thousand_values_and_wide_trees_work(engine: Engine) -> None:
    items = [_item(n, {"n": n, "t": f"t{n}", "huge": 2**60 + n}) for n in range(60)]
    many = range(5, MAX_VALUES)
    parts = tuple(Compare("n", "=", n) for n in range(40, 40 + MAX_CONDITIONS))
    trees: list[Filter] = [
        In("n", tuple(many)),
        In("t", tuple(f"t{n}" for n in many)),
        In("huge", tuple(2**60 + n for n in many)),
        In("yusa.id", tuple(f"d{n}" for n in many), negated=True),
        Or(parts),
        And(tuple(Compare("n", "!=", n) for n in range(MAX_CONDITIONS))),
        And((*parts[:10], Or(()))),
    ]
    assert_as_oracle(engine, items, trees)


def test_trees_of_the_greatest_depth_work(engine: Engine) -> None:
    items = [_item(n, {"n": n}) for n in range(120)]
    tree: Filter = Compare("n", "=", 5)
    for level in range(MAX_DEPTH):
        step = Compare("n", "!=", level)
        tree = (Not(tree), And((step, tree)), Or((Compare("n", "=", level), tree)))[level % 3]
    assert_as_oracle(engine, items, [tree])


_DEEP: Filter = IsNull("a")
for _ in range(10_000):
    _DEEP = Not(_DEEP)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (_DEEP, f"nested deeper than {MAX_DEPTH} levels"),
        (Or((IsNull("a"),) * (MAX_CONDITIONS + 1)), f"1,001 conditions, at most {MAX_CONDITIONS:,}"),
        (In("a", (1,) * (MAX_VALUES + 1)), f"20,001 values, at most {MAX_VALUES:,}"),
        (Compare("a", "<", True), "condition on 'a': booleans have no order"),
        (Between("a", False, True), "booleans have no order"),
        (Between("a", 1, "2"), "bounds must be of one type"),
        (Compare("a", "=", float("nan")), "number beyond"),
        (In("a", (10**400,)), "number beyond"),
        (Compare("a", "=", "\0"), "NUL"),
        (Compare("\ud800", "=", 1), "surrogate"),
        (Compare("a", "=", None), "a NoneType cannot be compared"),  # type: ignore[arg-type]
        (Like("a", "x\\"), "ends in a single backslash"),
        (Like("a", "%" * (MAX_PATTERN + 1)), "1,001 characters is too long"),
    ],
)
def test_trees_without_a_meaning_are_refused(tree: Filter, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        compile_filter(tree)


def test_the_longest_pattern_and_a_doubled_backslash_work(engine: Engine) -> None:
    item = _item(1, {"a": "각" * MAX_PATTERN, "b": "x\\"})
    assert_as_oracle(engine, [item], [Like("a", "각" * MAX_PATTERN), Like("b", "x\\\\")])


@pytest.mark.parametrize(
    ("tree", "search"),
    [
        (Compare("n", "=", 1), "(field_id=? AND kind=? AND number=?)"),
        (Compare("n", ">=", 2**60 + 1), "(field_id=? AND kind=? AND number>?)"),
        (Between("n", 1, 2), "(field_id=? AND kind=? AND number>? AND number<?)"),
        (Compare("t", "<", "x"), "(field_id=? AND kind=? AND number=? AND text<?)"),
        (In("n", (1, 2**60)), "(field_id=? AND kind=? AND number=?)"),
        (In("n", (1, "a", True)), "(field_id=? AND kind=? AND number=? AND text=?)"),
        (Compare("n", "!=", 1), "(field_id=?)"),
        (And((Compare("n", "=", 1), Compare("t", "!=", "x"))), "(field_id=? AND kind=? AND number=? AND text=?)"),
        (Or((Compare("n", "=", 1), Compare("t", "=", "x"))), "(field_id=? AND kind=? AND number=? AND text=?)"),
        (Compare("yusa.id", "=", "x"), "(id=?)"),
        (Compare("yusa.source", "=", "x"), "(source_id=?)"),
    ],
)
def test_every_condition_is_a_search_in_an_index(engine: Engine, tree: Filter, search: str) -> None:
    compiled = compile_filter(tree).compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")]
    assert any(step.startswith("SEARCH") and search in step for step in plan), plan
    assert not [step for step in plan if step.startswith(("SCAN attribute", "SCAN document"))], plan


@pytest.mark.slow
def test_filters_are_fast_at_100_000_documents(engine: Engine) -> None:
    items = [
        Document(f"d{n}", "x" * 500, None, {"n": n, "year": 1990 + n % 40, "tags": [f"t{n % 50}", f"t{n % 7}"]})
        for n in range(100_000)
    ]
    cases: list[tuple[Filter, float, Callable[[int], bool]]] = [
        (Compare("n", "=", 5), 0.05, lambda n: n == 5),
        (And((Compare("year", ">=", 2010), Compare("n", "<", 1000))), 0.2, lambda n: n % 40 >= 20 and n < 1000),
        (Or((Compare("n", "=", 5), Compare("tags", "=", "t3"))), 0.5, lambda n: n == 5 or 3 in (n % 50, n % 7)),
        (Not(Compare("year", ">=", 2010)), 1.0, lambda n: n % 40 < 20),
        (In("n", tuple(range(10_000))), 1.0, lambda n: n < 10_000),
    ]
    with engine.connect() as connection:
        fill(connection, items)
        for tree, seconds, passes in cases:
            assert passing(connection, tree) == [n + 1 for n in range(100_000) if passes(n)], tree
            start = time.perf_counter()
            passing(connection, tree)
            assert time.perf_counter() - start < seconds, tree
