"""Metadata as rows that can be indexed: what a filter compares, and what metadata may hold.

A field's name is the path of keys to it joined by dots, NFC: `{"author": {"name": "Kim"}}` has the field
`author.name`, and so has `{"author.name": "Kim"}`. An array gives one row for each element, an array of objects one for
each of their values. Null, an empty array and an empty object give none; an empty string is a value. Strings are kept
whole, so that a filter is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
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


class Attribute(NamedTuple):
    """One value of one field.

    Attributes:
        text: the string (TEXT); what `number` lacks of an exact integer, see `split_number` (NUMBER); else None.
        number: the nearest float64 (NUMBER); 1.0 or 0.0 (BOOLEAN); None (TEXT).
    """

    field: str
    kind: int
    text: str | None
    number: float | None


def attribute_rows(metadata: Mapping[str, Json]) -> list[Attribute]:
    """The rows of a document's metadata, each once, in the order of the metadata.

    Raises:
        UsageError: metadata that is not JSON, is nested deeper than `MAX_DEPTH`, uses a reserved key, or holds
            what no database can keep exactly (NUL, half a surrogate pair, a number beyond float64).
    """
    if not isinstance(metadata, Mapping):
        raise UsageError(f"metadata must be an object, not {type(metadata).__name__}")
    return list(dict.fromkeys(_rows("", dict(metadata), 1)))


def check_metadata(metadata: Mapping[str, Json]) -> None:
    """Refuse metadata that `attribute_rows` would refuse, with the same UsageError."""
    attribute_rows(metadata)


def split_number(value: float) -> tuple[float, str | None]:
    """A number as its nearest float64 and the rest, so that (float, rest) sorts as the numbers do.

    The rest is None where the float is exact: for every float, and for integers up to 2**53. Otherwise it is text in
    which integers with the same nearest float sort by their value; a None among those counts as `exact_rest(float)`.

    Raises:
        UsageError: the number is infinite, not a number, or beyond float64.
    """
    try:
        nearest = float(value)
    except OverflowError:
        nearest = math.inf
    if not math.isfinite(nearest):
        raise UsageError("a number beyond 1.8e308 cannot be compared; write it as a string")
    if isinstance(value, float) or int(nearest) == value:
        return nearest, None
    return nearest, _rest(nearest, value - int(nearest))


def exact_rest(nearest: float) -> str:
    """What a missing rest counts as beside `nearest`, a float beyond 2**53."""
    return _rest(nearest, 0)


def _rest(nearest: float, difference: int) -> str:
    # The difference is at most half the gap between neighbouring floats, so the sum is positive and the width enough.
    gap = int(math.ulp(nearest))
    return f"{gap + difference:0{len(f'{2 * gap:x}')}x}"


def check_text(text: str) -> str:
    """The text in NFC.

    Raises:
        UsageError: it holds NUL or half a surrogate pair, which databases cannot keep or compare.
    """
    if text.isascii():
        if "\0" in text:
            raise UsageError("a string holds a NUL character; remove it")
        return text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"a string holds half a surrogate pair at character {error.start}; repair it") from None
    if "\0" in text:
        raise UsageError("a string holds a NUL character; remove it")
    return normalize("NFC", text)


def _rows(field: str, value: Json, depth: int) -> Iterator[Attribute]:
    if isinstance(value, str):
        yield Attribute(field, TEXT, _named(field, value), None)
    elif isinstance(value, bool):
        yield Attribute(field, BOOLEAN, None, float(value))
    elif isinstance(value, int | float):
        try:
            nearest, rest = split_number(value)
        except UsageError as error:
            raise UsageError(f"metadata field {field!r}: {error}") from None
        yield Attribute(field, NUMBER, rest, nearest)
    elif isinstance(value, dict | list | tuple):
        if depth > MAX_DEPTH:
            raise UsageError(f"metadata field {field[:80]!r} is nested deeper than {MAX_DEPTH} levels; flatten it")
        if isinstance(value, dict):
            for key, part in value.items():
                yield from _rows(_child(field, key), part, depth + 1)
        else:
            for part in value:
                yield from _rows(field, part, depth + 1)
    elif value is not None:
        raise UsageError(
            f"metadata field {field!r} is a {type(value).__name__}, which JSON does not have; write it as a string"
        )


def _child(field: str, key: Json) -> str:
    if not isinstance(key, str):
        raise UsageError(f"metadata key {key!r} is a {type(key).__name__}; keys must be strings")
    key = _named(field, key)
    if field:
        return f"{field}.{key}"
    if key == RESERVED or key.startswith(f"{RESERVED}."):
        raise UsageError(
            f"metadata key {key!r} is reserved: {RESERVED!r} and keys that begin with '{RESERVED}.'; rename it"
        )
    return key


def _named(field: str, text: str) -> str:
    try:
        return check_text(text)
    except UsageError as error:
        raise UsageError(f"metadata field {field!r}: {error}") from None
