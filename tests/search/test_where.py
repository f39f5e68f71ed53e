"""The syntax of filters: trees, round trips, and messages with a caret."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from yusa.errors import FilterError, UsageError
from yusa.search.tokens import width
from yusa.search.where import MAX_LENGTH, parse
from yusa.storage.filters import (
    MAX_CONDITIONS,
    MAX_DEPTH,
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

A, B, C = (Compare(name, "=", 1) for name in "abc")


@pytest.mark.parametrize(
    ("expression", "tree"),
    [
        ("year >= 2020", Compare("year", ">=", 2020)),
        ("a == 1", A),
        ("a<>1", Compare("a", "!=", 1)),
        ("a=-2.5e-3", Compare("a", "=", -0.0025)),
        ("a = +7", Compare("a", "=", 7)),
        ("a = .5", Compare("a", "=", 0.5)),
        ("a = 5.", Compare("a", "=", 5.0)),
        ("a = 18446744073709551617", Compare("a", "=", 2**64 + 1)),
        ("a = TRUE or a != false", Or((Compare("a", "=", True), Compare("a", "!=", False)))),
        ("분류 = '과학'", Compare("분류", "=", "과학")),
        ("\u1107\u116e\u11ab\u1105\u1172 = '\u1100\u1161'", Compare("분류", "=", "가")),
        ("a = 'it''s'", Compare("a", "=", "it's")),
        ("a = ''", Compare("a", "=", "")),
        ("a = '\"x\"'", Compare("a", "=", '"x"')),
        ("day between '2020-01-01' and '2020-12-31'", Between("day", "2020-01-01", "2020-12-31")),
        ("a not between 1 and 2 and b = 1", And((Between("a", 1, 2, negated=True), B))),
        ("a in (1, 'x', true)", In("a", (1, "x", True))),
        ("a NOT IN (1)", In("a", (1,), negated=True)),
        ("a like 'x%'", Like("a", "x%")),
        ("a not like 'x%'", Like("a", "x%", negated=True)),
        ("a is null", IsNull("a")),
        ("a Is Not Null", IsNull("a", negated=True)),
        ("author.name = 1", Compare("author.name", "=", 1)),
        ("author.in = 1", Compare("author.in", "=", 1)),
        ("author.IN = 1", Compare("author.IN", "=", 1)),
        ('author."full name" = 1', Compare("author.full name", "=", 1)),
        ('"my field" = 1', Compare("my field", "=", 1)),
        ('"q""q" = 1', Compare('q"q', "=", 1)),
        ('"and" = 1', Compare("and", "=", 1)),
        ("id = 'x'", Compare("yusa.id", "=", "x")),
        ("title = 'x'", Compare("yusa.title", "=", "x")),
        ("source = 'x'", Compare("yusa.source", "=", "x")),
        ('"id" = 1 and "title" = 1', And((Compare("id", "=", 1), Compare("title", "=", 1)))),
        ("ID = 1 and id.x = 1", And((Compare("ID", "=", 1), Compare("id.x", "=", 1)))),
        ("yusa.labels = 'x'", Compare("yusa.labels", "=", "x")),
        ("a=1 or b=1 and c=1", Or((A, And((B, C))))),
        ("(a=1 or b=1) and c=1", And((Or((A, B)), C))),
        ("not a=1 and b=1", And((Not(A), B))),
        ("not (a=1 and b=1)", Not(And((A, B)))),
        ("not not a=1", Not(Not(A))),
        ("a=1 and b=1 and c=1", And((A, B, C))),
        ("a=1 and (b=1 and c=1)", And((A, And((B, C))))),
        ("((a=1))", A),
        ("\n a\t=\r\n1 ", A),
        ("a='x'and b=1", And((Compare("a", "=", "x"), B))),
    ],
)
def test_expressions(expression: str, tree: Filter) -> None:
    parsed = parse(expression)
    assert parsed == tree
    assert repr(parsed) == repr(tree)  # 1 and True are equal, but not the same value


@pytest.mark.parametrize(
    ("expression", "at", "message", "hint"),
    [
        ("lang = ko", 7, "expected a value, found `ko`", "single quotes: 'ko'"),
        ('분류 = "과학"', 5, 'expected a value, found `"과학"`', "single quotes around text: '과학'"),
        ('x = "it\'s"', 4, "expected a value", "around text: 'it''s'"),
        ("x = null", 4, "expected a value", "write `is null`"),
        ("x != NULL", 5, "found `NULL`", "write `is not null`"),
        ("(a=1 or b=2", 11, "expected `and`, `or` or `)`, found the end", "column 1 is not closed"),
        ("제목=1 and (a=1 b=2", 14, "found `b`", "the parenthesis at column 12 is not closed"),
        ("a=1)", 3, "expected `and`, `or` or the end, found `)`", "no parenthesis to close"),
        ("a = 1 b = 2", 6, "expected `and`, `or` or the end, found `b`", ""),
        ("a = 'it's'", 8, "expected `and`, `or` or the end, found `s`", "written twice: 'it''s'"),
        ("day > 2020-01-01", 6, "expected a value", "'2020-01-01'"),
        ("my-field = 1", 0, "expected a field name, found `my-field`", 'double quotes: "my-field"'),
        ("2020년 = 1", 0, "expected a field name", '"2020년"'),
        ("'lang' = 'ko'", 0, "expected a field name", 'double quotes: "lang"'),
        ("in = 3", 0, "expected a field name", 'double quotes: "in"'),
        ("3 = a", 0, "expected a field name", 'double quotes: "3"'),
        ("a..b = 1", 2, "expected a field name, found `.`", ""),
        ("a and b", 2, "expected a comparison such as `=`, `is null`, `in`", ""),
        ("lang", 4, "expected a comparison", ""),
        ("full name = 'x'", 5, "expected a comparison", '"my field"'),
        ("a =< 3", 3, "expected a value, found `<`", "write `<=`"),
        ("a => 3", 3, "expected a value, found `>`", "write `>=`"),
        ("a not = 3", 6, "expected `in`, `between` or `like`", ""),
        ("a is 5", 5, "expected `null` or `not null`", "compare values with `=`"),
        ("a is not 5", 9, "expected `null`, found `5`", "compare values with `=`"),
        ("a > true", 4, "booleans have no order", "use `=`"),
        ("a between true and false", 10, "booleans have no order", "use `=`"),
        ("a between 1 and 'x'", 16, "two bounds of `between` must both be", ""),
        ("a between 1, 2", 11, "expected `and` and the upper bound", ""),
        ("a like 5", 7, "`like` compares text", ""),
        ("a like 'x\\'", 7, "ends in a single backslash", ""),
        ("a in 'x'", 5, "expected `(`", "in ('ko', 'en')"),
        ("a in ()", 6, "expected a value, found `)`", ""),
        ("a in (1, 2", 10, "expected `,` or `)`, found the end", ""),
        ("a in (x)", 6, "expected a value", "'x'"),
        ("a in (1 x)", 8, "expected `,` or `)`", "'x'"),
        ("a in [1]", 5, "unexpected `[`", "in (1, 2)"),
        ("a = 'x", 4, "unexpected `'`", "not closed"),
        ('"a = 1', 0, 'unexpected `"`', "not closed"),
        ("a = ‘x’", 4, "unexpected `‘`", "straight single quotes"),
        ("제목 = '가' && b = 1", 9, "unexpected `&`", "write `and`"),
        ("a=1 || b=1", 4, "unexpected `|`", "write `or`"),
        ("!a", 0, "unexpected `!`", "write `not`"),
        ("a = 1;", 5, "unexpected `;`", ""),
        ("a = 1e999", 4, "number beyond 1.8e308", ""),
        ("a = " + "9" * 5000, 4, "number beyond 1.8e308", ""),
        ("", 0, "the filter is empty", "year >= 2020"),
        ("  ", 2, "the filter is empty", "year >= 2020"),
        ("\n a\u0301가\t= x", 8, "expected a value", ""),
    ],
)
def test_a_mistake_gets_a_caret_under_it(expression: str, at: int, message: str, hint: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(expression)
    first, line, caret, *rest = str(caught.value).split("\n")
    assert first.startswith("filter: ")
    assert message in first
    assert caret == " " * (2 + width(expression[:at])) + "^"
    assert "…" in line or line[2:].split() == unicodedata.normalize("NFC", expression).split()
    assert hint in "".join(rest)


def test_the_caret_counts_columns_of_a_terminal() -> None:
    assert width("가a\u0301ｱＡ") == 2 + 1 + 1 + 2
    with pytest.raises(FilterError) as caught:
        parse("한국어 = x")
    assert str(caught.value).split("\n")[1:3] == ["  한국어 = x", "           ^"]


def test_a_long_expression_is_shown_around_the_mistake() -> None:
    with pytest.raises(FilterError) as caught:
        parse("a = 1 or " * 50 + "분류 = 과학" + " or a = 1" * 50)
    line, caret = str(caught.value).split("\n")[1:3]
    assert width(line) < 110
    assert line[len(caret) - 3 :].startswith("과학")  # 분류 before it takes two columns more than characters
    assert line.startswith("  …")
    assert line.endswith("…")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("(" * 10_000, f"nested deeper than {MAX_DEPTH} levels"),
        ("not " * 10_000 + "a = 1", f"nested deeper than {MAX_DEPTH} levels"),
        ("(not " * 60 + "a = 1" + ")" * 60, f"nested deeper than {MAX_DEPTH} levels"),
        ("(a=1 or b=1 and " * 60 + "a=1" + ")" * 60, f"nested deeper than {MAX_DEPTH} levels"),
        (" or ".join(["a=1"] * (MAX_CONDITIONS + 1)), "1,001 conditions"),
        (f"a in ({','.join(['1'] * (MAX_VALUES + 1))})", "20,001 values"),
        ("a = '" + "x" * MAX_LENGTH + "'", f"at most {MAX_LENGTH:,}"),
        ("." * MAX_LENGTH, "expected a field name"),
        ("a = 'x\0'", "NUL"),
        ("a = '\ud800'", "surrogate"),
        (f"a like '{'x' * 10_001}'", "too long"),
    ],
)
def test_what_is_too_large_is_refused(expression: str, message: str) -> None:
    with pytest.raises(FilterError, match=message) as caught:
        parse(expression)
    assert isinstance(caught.value, UsageError)
    assert len(str(caught.value)) < 500


def test_the_greatest_depth_works_far_down_the_stack() -> None:
    def below(frames: int) -> Filter:
        return below(frames - 1) if frames else parse("(" * MAX_DEPTH + "a=1" + ")" * MAX_DEPTH)

    assert below(sys.getrecursionlimit() // 3) == A
