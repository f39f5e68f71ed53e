"""A filter tree written as an expression."""

from __future__ import annotations

import re

from yusa.search.tokens import KEYWORDS
from yusa.storage.filters import And, Between, Compare, Filter, In, IsNull, Like, Not, Or, Value

_BARE = re.compile(r"[^\W\d]\w*")


def unparse(tree: Filter) -> str:  # noqa: PLR0911  one return for each kind of node
    """An expression that means this tree."""
    match tree:
        case Compare(field, op, value):
            return f"{_field(field)} {op} {_value(value)}"
        case In(field, values, negated):
            return f"{_field(field)} {_not(negated)}in ({', '.join(map(_value, values))})"
        case Between(field, low, high, negated):
            return f"{_field(field)} {_not(negated)}between {_value(low)} and {_value(high)}"
        case Like(field, pattern, negated):
            return f"{_field(field)} {_not(negated)}like {_value(pattern)}"
        case IsNull(field, negated):
            return f"{_field(field)} is {_not(negated)}null"
        case Not(part):
            return f"not {_part(part)}"
        case And(parts):
            return " and ".join(map(_part, parts))
        case Or(parts):
            return " or ".join(map(_part, parts))


def _part(tree: Filter) -> str:
    return f"({unparse(tree)})" if isinstance(tree, And | Or) else unparse(tree)


def _not(negated: bool) -> str:
    return "not " if negated else ""


def _field(name: str) -> str:
    if name in ("yusa.id", "yusa.title", "yusa.source"):
        return name.removeprefix("yusa.")
    plain = all(_BARE.fullmatch(part) and part.lower() not in KEYWORDS for part in name.split("."))
    if plain and name not in ("id", "title", "source"):
        return name
    return '"' + name.replace('"', '""') + '"'


def _value(value: Value) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower()
