r"""The tree a `where` expression becomes. `search.where` parses it, `storage.filter_sql` compiles it.

Meaning, the same in every database and in the tests' oracle:

- A field has zero or more values: an array has one per element, a missing field, null, `[]` and `{}` have none (an
  empty string is a value). Names are those of `storage.attributes`: `author.name` is `name` within `author`. The fields
  `yusa.id`, `yusa.title` and `yusa.source` are the document's own; metadata cannot hold a field of that prefix.
- A value is text, a number or a boolean, and is compared with its own type only: `'1'` is not `1`, `true` is not `1`,
  while `1` equals `1.0`. A comparison holds if some value satisfies it.
- `!=`, `not in`, `not between` and `not like` hold if the field has a value and no value satisfies the positive form.
- `Not` is the plain complement, so it also holds where the field has no value.
- `IsNull` holds if the field and everything within it has no value.
- Text is compared in NFC by code point, case counting, dates too: write them as ISO 8601, which sorts by time.
- Numbers are compared by their exact values: integers of any size up to 1.8e308, all others as float64.
- Booleans have no order: `=`, `!=` and `In` only. The bounds of a `Between`, which belong to it, are of one type.
- `Like`: `%` any run of characters, `_` one code point, `\` takes the next character literally; the case of ASCII
  letters is ignored, that of all others counts. It holds for text only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from yusa.errors import FilterError, UsageError
from yusa.storage.attributes import BOOLEAN, check_text, kind_of, split_number

Value = str | int | float | bool
Comparison = Literal["=", "!=", "<", "<=", ">", ">="]

MAX_DEPTH: Final = 100
"""Levels of `And`, `Or` and `Not` in a tree."""
MAX_CONDITIONS: Final = 1_000
MAX_VALUES: Final = 20_000
"""Values in all conditions of a tree together. SQLite binds 32,766, and each condition takes some of its own."""
MAX_PATTERN: Final = 1_000
"""Characters of a `Like` pattern: SQLite may compare each of them with each character of a text."""


@dataclass(frozen=True, slots=True)
class Compare:
    """Some value of the field compares so; for `!=` see above."""

    field: str
    op: Comparison
    value: Value


@dataclass(frozen=True, slots=True)
class In:
    """Some value of the field is one of `values`, which may be of several types."""

    field: str
    values: tuple[Value, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Between:
    """Some value of the field lies between the bounds."""

    field: str
    low: Value
    high: Value
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Like:
    """Some text of the field matches the whole pattern."""

    field: str
    pattern: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class IsNull:
    """The field has no value."""

    field: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class And:
    """Holds if every part does; with no parts, always."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Holds if some part does; with no parts, never."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Holds if the part does not."""

    part: Filter


Condition = Compare | In | Between | Like | IsNull
Filter = Condition | And | Or | Not


def check_filter(tree: Filter) -> None:
    """Refuse a tree that has no meaning or is too large.

    Raises:
        FilterError: more than `MAX_DEPTH` levels, `MAX_CONDITIONS` conditions or `MAX_VALUES` values; a value that is
            not text, a finite number or a boolean; an order asked of booleans or across types; a bad pattern.
    """
    conditions = values = 0
    waiting: list[tuple[Filter, int]] = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise FilterError(f"the filter is nested deeper than {MAX_DEPTH} levels; write it flatter")
        if isinstance(node, And | Or):
            waiting += ((part, depth + 1) for part in node.parts)
        elif isinstance(node, Not):
            waiting.append((node.part, depth + 1))
        else:
            conditions += 1
            values += len(condition_values(node))
            try:
                _check_condition(node)
            except UsageError as error:
                raise FilterError(f"the condition on {node.field[:80]!r}: {error}") from None
    if conditions > MAX_CONDITIONS:
        raise FilterError(f"the filter has {conditions:,} conditions, at most {MAX_CONDITIONS:,} work; use `in (...)`")
    if values > MAX_VALUES:
        raise FilterError(f"the filter has {values:,} values, at most {MAX_VALUES:,} work; search in several parts")


def condition_values(condition: Condition) -> tuple[Value, ...]:
    """What the field is compared with."""
    match condition:
        case Compare(value=value):
            return (value,)
        case In(values=values):
            return values
        case Between(low=low, high=high):
            return (low, high)
        case Like(pattern=pattern):
            return (pattern,)
        case IsNull():
            return ()


def check_pattern(pattern: str) -> None:
    """Refuse a `Like` pattern, by UsageError, that is longer than `MAX_PATTERN` or ends in a single backslash."""
    if len(pattern) > MAX_PATTERN:
        raise UsageError(f"a pattern of {len(pattern):,} characters is too long, at most {MAX_PATTERN:,} work")
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise UsageError(r"the pattern ends in a single backslash; write `\\` for the character itself")


def _check_condition(condition: Condition) -> None:
    check_text(condition.field)
    kinds = set()
    for value in condition_values(condition):
        kinds.add(kind_of(value))
        if isinstance(value, str):
            check_text(value)
        else:
            split_number(value)
    if isinstance(condition, Between) or (isinstance(condition, Compare) and condition.op not in ("=", "!=")):
        if BOOLEAN in kinds:
            raise UsageError("booleans have no order; use `=`")
        if len(kinds) > 1:
            raise UsageError("the two bounds must be of one type")
    if isinstance(condition, Like):
        check_pattern(condition.pattern)
