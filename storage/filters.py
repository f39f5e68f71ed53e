"""The tree a `where` expression becomes. `search.where` parses it, `storage.filter_sql` compiles it.

Meaning, the same in every database and in the tests' oracle: a field has zero or more values (an array has one per
element, a missing field or null has none). A comparison holds if some value of the right type satisfies it; `!=`, `not in`,
`not between` and `not like` hold if the field has a value and no value satisfies the positive form; `Not` is the plain
complement. Text and numbers never equal each other: `'1'` is not `1`, while `1` equals `1.0`. Booleans equal only booleans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Value = str | int | float | bool
Comparison = Literal["=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Compare:
    field: str
    op: Comparison
    value: Value


@dataclass(frozen=True, slots=True)
class In:
    field: str
    values: tuple[Value, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Between:
    field: str
    low: Value
    high: Value
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Like:
    """`%` any run, `_` one character, `\\` escapes; case of ASCII letters is ignored."""

    field: str
    pattern: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class IsNull:
    field: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: Filter


Filter = Compare | In | Between | Like | IsNull | And | Or | Not
