"""Metadata as rows that can be indexed: what a filter compares, and what metadata may hold.

A field's name is the path of keys to it joined by dots, NFC: `{"author": {"name": "Kim"}}` has the field
`author.name`, and so has `{"author.name": "Kim"}`. An array gives one row for each element, an array of objects one for
each of their values. Null, an empty array and an empty object give none; an empty string is a value. Strings are kept
whole, so that a filter is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from typing import Final, NamedTuple
from unicodedata import normalize

from yusa.errors import UsageError
from yusa.storage.records import Json

MAX_DEPTH: Final = 32
"""Levels of objects and arrays that metadata may have; the metadata itself is the first."""

RESERVED: Final = "yusa"
"""The key, and the start of the fields, that yusa keeps for itself."""


TEXT: Final = 0
NUMBER: Final = 1
BOOLEAN: Final = 2
"""Kinds: the types of values. Values of different kinds are never equal."""


_EXACT: Final = 2**53
"""From here on a float64 no longer holds every integer."""


class Attribute(NamedTuple):
    """One value of one field.

    Attributes:
        text: the string (TEXT); the rest of a number beyond 2**53, see `split_number` (NUMBER); else None.
        number: the nearest float64 (NUMBER); 1.0 or 0.0 (BOOLEAN); None (TEXT).
    """

    field: str
    kind: int
    text: str | None
    number: float | None


# Half the time of calling the class.
_make: Final = partial(tuple.__new__, Attribute)


def attribute_rows(metadata: Mapping[str, Json]) -> list[Attribute]:
    """The rows of a document's metadata, each once, in the order of the metadata.

    Raises:
        UsageError: metadata that is not JSON, is nested deeper than `MAX_DEPTH`, uses a reserved key, or holds
            what no database can keep exactly (NUL, half a surrogate pair, a number beyond float64).
    """
    if not isinstance(metadata, Mapping):
        raise UsageError(f"metadata: must be an object, not a {type(metadata).__name__}")
    rows: list[Attribute] = []
    for key, value in metadata.items():
        field = _top_field(key) if isinstance(key, str) else _child("", key)
        kind = type(value)
        # Most metadata is flat text and everyday numbers, which need no walk: ingest is a fifth faster.
        if kind is str:
            rows.append(_make((field, TEXT, _text(field, value), None)))
        elif (kind is int or kind is float) and -_EXACT < value < _EXACT:
            rows.append(_make((field, NUMBER, None, float(value))))
        else:
            rows.extend(_rows(field, value, 2))
    return list(dict.fromkeys(rows))


def check_metadata(metadata: Mapping[str, Json]) -> None:
    """Refuse metadata that `attribute_rows` would refuse, with the same UsageError."""
    attribute_rows(metadata)


def kind_of(value: object) -> int:
    """TEXT, NUMBER or BOOLEAN.

    Raises:
        UsageError: the value is none of them.
    """
    if isinstance(value, str):
        return TEXT
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int | float):
        return NUMBER
    raise UsageError(f"a {type(value).__name__} cannot be compared; use a string, a number or a boolean")


def split_number(value: float) -> tuple[float, str | None]:
    """A number as its nearest float64 and the rest, so that (float, rest) sorts exactly as the numbers do.

    The rest is None below 2**53, where every integer is a float. From there on it is text, which sorts integers
    that have the same nearest float by their value.

    Raises:
        UsageError: the number is infinite, not a number, or beyond float64.
    """
    try:
        nearest = float(value)
    except OverflowError:
        nearest = math.inf
    if not math.isfinite(nearest):
        raise UsageError("a number beyond 1.8e308 cannot be compared; write it as a string")
    if abs(nearest) < _EXACT:
        return nearest, None
    # The difference is at most half the gap between neighbouring floats, so the sum is positive and the width enough.
    gap = int(math.ulp(nearest))
    rest = gap + int(value) - int(nearest)
    return nearest, f"{rest:0{len(f'{2 * gap:x}')}x}"


def join_number(nearest: float, rest: str | None) -> float:
    """The inverse of `split_number`."""
    return nearest if rest is None else int(nearest) + int(rest, 16) - int(math.ulp(nearest))


def check_text(text: str) -> str:
    """The text in NFC.

    Raises:
        UsageError: it holds NUL or half a surrogate pair, which databases cannot keep or compare.
    """
    if "\0" in text:
        raise UsageError("a string holds a NUL character; remove it")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"a string holds half a surrogate pair at character {error.start}; repair it") from None
    return normalize("NFC", text)


def _rows(field: str, value: Json, depth: int) -> Iterator[Attribute]:
    if isinstance(value, str):
        yield Attribute(field, TEXT, _text(field, value), None)
    elif isinstance(value, bool):
        yield Attribute(field, BOOLEAN, None, float(value))
    elif isinstance(value, int | float):
        try:
            nearest, rest = split_number(value)
        except UsageError as error:
            raise _refusal(field, str(error)) from None
        yield Attribute(field, NUMBER, rest, nearest)
    elif isinstance(value, dict | list | tuple):
        if depth > MAX_DEPTH:
            raise _refusal(field, f"nested deeper than {MAX_DEPTH} levels; flatten it")
        if isinstance(value, dict):
            for key, part in value.items():
                yield from _rows(_child(field, key), part, depth + 1)
        else:
            for part in value:
                yield from _rows(field, part, depth + 1)
    elif value is not None:
        raise _refusal(field, f"a {type(value).__name__} is not JSON; write it as a string")


@lru_cache(maxsize=4096)
def _top_field(key: str) -> str:
    return _child("", key)


def _child(field: str, key: Json) -> str:
    if not isinstance(key, str):
        raise _refusal(field, f"the key {key!r} is a {type(key).__name__}; keys must be strings")
    name = _text(field, key)
    if field:
        return f"{field}.{name}"
    if name == RESERVED or name.startswith(f"{RESERVED}."):
        raise _refusal(name, f"{RESERVED!r} and names that begin with '{RESERVED}.' are reserved; rename it")
    return name


def _text(field: str, text: str) -> str:
    try:
        return check_text(text)
    except UsageError as error:
        raise _refusal(field, str(error)) from None


def _refusal(field: str, reason: str) -> UsageError:
    where = f"metadata field {field[:80]!r}" if field else "metadata"
    return UsageError(f"{where}: {reason}")
