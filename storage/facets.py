"""Facets: how many documents have which value of a field."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from yusa.storage.attributes import BOOLEAN, NUMBER, join_number
from yusa.storage.checksums import DOCUMENTS
from yusa.storage.parts import Ids

FacetValue = str | int | float | bool

_ROWS: Final = 10_000


def facet_counts(connection: sqlite3.Connection, field: str, keys: Ids | None) -> list[tuple[FacetValue, int]]:
    """Values with the number of documents that have them, most frequent first, then by kind and value.

    A value of an array counts once for its document. The document's own fields `yusa.source`, `yusa.title` and
    `yusa.id` count as well.

    Args:
        keys: ascending; only these documents.
    """
    counted: Counter[tuple[int, FacetValue]] = Counter()
    own = _OWN.get(field)
    if own is not None:
        rows = connection.execute(own)
        counted.update((0, row[1]) for row in _among(rows, keys) if row[1] is not None)
    else:
        rows = connection.execute(_VALUES, (field,))
        counted.update((kind, _value(kind, number, text)) for _, kind, number, text in _among(rows, keys))
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return [(value, count) for (_, value), count in ordered]


_OWN: Final = {
    "yusa.id": "SELECT key, id FROM document",
    "yusa.title": "SELECT key, title FROM document",
    "yusa.source": f"SELECT key, source.name FROM {DOCUMENTS}",
}
_VALUES: Final = """
SELECT DISTINCT document, kind, number, text FROM attribute JOIN field ON field.id = attribute.field_id
WHERE field.name = ?
"""


def _among(rows: sqlite3.Cursor, keys: Ids | None) -> Iterator[Any]:
    if keys is None:
        yield from rows
        return
    while block := rows.fetchmany(_ROWS):
        chosen = np.isin(np.array([row[0] for row in block], dtype=np.int64), keys)
        yield from (row for row, take in zip(block, chosen.tolist(), strict=True) if take)


def _value(kind: int, number: float | None, text: str | None) -> FacetValue:
    if number is None:
        return text or ""
    if kind == BOOLEAN:
        return bool(number)
    value = join_number(number, text)
    return int(value) if kind == NUMBER and value == int(value) else value
