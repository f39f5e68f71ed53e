"""The meaning of filters, written down a second time with nothing of the product in it, and filters of every kind."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from unicodedata import normalize

from hypothesis import strategies as st

from yusa.storage.filters import And, Between, Compare, Comparison, Filter, In, IsNull, Like, Not, Or, Value
from yusa.storage.records import Document, Json

_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def matches(tree: Filter, item: Document, source_name: str) -> bool:
    """Whether a document of a source passes."""
    match tree:
        case And(parts):
            return all(matches(part, item, source_name) for part in parts)
        case Or(parts):
            return any(matches(part, item, source_name) for part in parts)
        case Not(part):
            return not matches(part, item, source_name)
        case IsNull(name, negated):
            return negated == bool(list(_values(name, item, source_name, within=True)))
    values = list(_values(tree.field, item, source_name))
    negated = tree.op == "!=" if isinstance(tree, Compare) else tree.negated
    holds = any(_holds(tree, value) for value in values)
    return bool(values) and not holds if negated else holds


def _values(name: str, item: Document, source_name: str, *, within: bool = False) -> Iterator[Value]:
    own: dict[str, str | None] = {"yusa.id": item.id, "yusa.title": item.title, "yusa.source": source_name}
    if name in own:
        yield from [text for text in [own[name]] if text is not None]
        return
    for path, value in _leaves("", item.metadata):
        if path == normalize("NFC", name) or (within and path.startswith(normalize("NFC", name) + ".")):
            yield value


def _leaves(path: str, value: Json) -> Iterator[tuple[str, Value]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(f"{path}.{key}" if path else key, part)
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(path, part)
    elif value is not None:
        yield normalize("NFC", path), normalize("NFC", value) if isinstance(value, str) else value


def _holds(condition: Compare | In | Between | Like, value: Value) -> bool:
    match condition:
        case Compare(op=op, value=other):
            return _same(value, other) and _COMPARE["=" if op == "!=" else op](value, _nfc(other))
        case In(values=values):
            return any(_same(value, other) and value == _nfc(other) for other in values)
        case Between(low=low, high=high):
            return _same(value, low) and _nfc(low) <= value <= _nfc(high)  # type: ignore[operator]
        case Like(pattern=pattern):
            return isinstance(value, str) and _like(pattern).fullmatch(_lower(value)) is not None


def _nfc(value: Value) -> Value:
    return normalize("NFC", value) if isinstance(value, str) else value


def _same(one: Value, other: Value) -> bool:
    return all(isinstance(one, kind) == isinstance(other, kind) for kind in (str, bool))


def _lower(text: str) -> str:
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


def _like(pattern: str) -> re.Pattern[str]:
    def part(match: re.Match[str]) -> str:
        return {"%": ".*", "_": "."}.get(match[0], re.escape(match[0][-1]))

    return re.compile(re.sub(r"\\.|.", part, _lower(normalize("NFC", pattern)), flags=re.DOTALL), re.DOTALL)


# fmt: off
_TEXTS = [
    "", "a", "A", "ko", "KO", "가", "각", "\u1100\u1161", "é", "É", "a%b", "a_b", "a\\b", "1", "true", "z\U0001f600",
    "\uffff", "2020-01-02",
]
_NUMBERS: list[int | float] = [
    0, -0.0, 1, 1.0, -1, 0.5, 2020, 2**53, 2**53 + 1, 2.0**53, 2**63, 2**64 + 1, 2**64 + 2, 1e300,
]
# fmt: on
_FIELDS = ["a", "a.b", "ab", "분류", "my field", "a.b.c", "A", "id", 'q"q', "none"]
_OWN = ["yusa.id", "yusa.title", "yusa.source"]

_values_of = st.sampled_from([*_TEXTS, *_NUMBERS, True, False])
_json = st.recursive(
    st.none() | _values_of,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["b", "c", "b.c"]), inner, max_size=2),
    max_leaves=4,
)
DOCUMENTS = st.lists(
    st.tuples(st.none() | st.sampled_from(_TEXTS), st.dictionaries(st.sampled_from(_FIELDS[:-1]), _json, max_size=4)),
    max_size=8,
).map(
    lambda drawn: [
        Document(f"{_TEXTS[n % len(_TEXTS)]}{n}", "text", title and normalize("NFC", title), data)
        for n, (title, data) in enumerate(drawn)
    ]
)
_names = st.sampled_from([*_FIELDS, *_OWN])
_equal: list[Comparison] = ["=", "!="]
_ordered: list[Comparison] = ["<", "<=", ">", ">="]
_patterns = st.sampled_from(
    ["%", "_", "a%", "%A%", "k_", "가%", r"a\%b", r"a\_B", r"a\\b", "É", "", "z_", "%1%", "\u1100\u1161"]
)
_texts, _numbers = st.sampled_from(_TEXTS), st.sampled_from(_NUMBERS)
CONDITIONS = st.one_of(
    st.builds(Compare, _names, st.sampled_from(_equal), _values_of),
    st.builds(Compare, _names, st.sampled_from(_ordered), _texts | _numbers),
    st.builds(In, _names, st.lists(_values_of, max_size=4).map(tuple), st.booleans()),
    st.builds(Between, _names, _texts, _texts, st.booleans()),
    st.builds(Between, _names, _numbers, _numbers, st.booleans()),
    st.builds(Like, _names, _patterns, st.booleans()),
    st.builds(IsNull, _names, st.booleans()),
)
TREES: st.SearchStrategy[Filter] = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)
