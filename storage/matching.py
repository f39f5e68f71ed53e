"""Whether a stored document passes a filter, told by its own metadata instead of the index over all of them.

Rows of `attribute` have no checksums; documents have. So what a damaged index lets pass is found before it is shown.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from yusa.storage.attributes import BOOLEAN, NUMBER, TEXT, attribute_rows, check_text, join_number, kind_of
from yusa.storage.filters import And, Between, Compare, Filter, In, IsNull, Like, Not, Or, Value
from yusa.storage.records import DocumentRow

_TESTS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_UPPER: Final = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}

_OWN: Final = frozenset({"yusa.id", "yusa.title", "yusa.source"})

_Values = dict[str, list[tuple[int, Value]]]


def passes(tree: Filter, row: DocumentRow) -> bool:
    """Whether a document passes; the tree is one that was compiled."""
    values: _Values = {
        "yusa.id": [(TEXT, row.document.id)],
        "yusa.title": [] if row.document.title is None else [(TEXT, row.document.title)],
        "yusa.source": [(TEXT, row.source)],
    }
    for name, kind, text, number in attribute_rows(row.document.metadata):
        value: Value | None = text
        if kind == NUMBER:
            assert number is not None
            value = join_number(number, text)
        elif kind == BOOLEAN:
            value = bool(number)
        assert value is not None
        values.setdefault(name, []).append((kind, value))
    return _passes(tree, values)


def _passes(node: Filter, values: _Values) -> bool:
    match node:
        case And(parts):
            return all(_passes(part, values) for part in parts)
        case Or(parts):
            return any(_passes(part, values) for part in parts)
        case Not(part):
            return not _passes(part, values)
        case IsNull(name, negated):
            name = check_text(name)
            below = name not in _OWN and any(field.startswith(f"{name}.") for field in values if field not in _OWN)
            return negated == (below or bool(values.get(name)))
    held = values.get(check_text(node.field), [])
    negated = node.op == "!=" if isinstance(node, Compare) else node.negated
    some = any(_holds(node, kind, value) for kind, value in held)
    return bool(held) and not some if negated else some


def _holds(condition: Compare | In | Between | Like, kind: int, value: Value) -> bool:
    match condition:
        case Compare(op=op, value=other):
            return kind == kind_of(other) and _TESTS[op](value, _normal(other))
        case In(values=others):
            return any(kind == kind_of(other) and value == _normal(other) for other in others)
        case Between(low=low, high=high):
            return kind == kind_of(low) and bool(
                _TESTS["<="](_normal(low), value) and _TESTS["<="](value, _normal(high))
            )
        case Like(pattern=pattern):
            return kind == TEXT and _pattern(pattern).fullmatch(str(value).translate(_UPPER)) is not None


def _normal(value: Value) -> Value:
    return check_text(value) if isinstance(value, str) else value


@lru_cache(maxsize=64)
def _pattern(pattern: str) -> re.Pattern[str]:
    def part(match: re.Match[str]) -> str:
        return {"%": ".*", "_": "."}.get(match[0], re.escape(match[0][-1]))

    folded = check_text(pattern).translate(_UPPER)
    return re.compile(re.sub(r"\\.|.", part, folded, flags=re.DOTALL), re.DOTALL)
