"""Facets: how many documents have which value of a field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection, CursorResult, select

from yusa.storage import tables as t
from yusa.storage.attributes import BOOLEAN, NUMBER, join_number
from yusa.storage.parts import Ids

FacetValue = str | int | float | bool

_ROWS: Final = 10_000


def facet_counts(connection: Connection, field: str, keys: Ids | None) -> list[tuple[FacetValue, int]]:
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
        statement = (
            select(t.attribute.c.document, t.attribute.c.kind, t.attribute.c.number, t.attribute.c.text)
            .join(t.field, t.field.c.id == t.attribute.c.field_id)
            .where(t.field.c.name == field)
            .distinct()
        )
        counted.update(
            (kind, _value(kind, number, text)) for _, kind, number, text in _among(connection.execute(statement), keys)
        )
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return [(value, count) for (_, value), count in ordered]


_OWN = {
    "yusa.id": select(t.document.c.key, t.document.c.id),
    "yusa.title": select(t.document.c.key, t.document.c.title),
    "yusa.source": select(t.document.c.key, t.source.c.name).join(t.source, t.source.c.id == t.document.c.source_id),
}


def _among(rows: CursorResult[*tuple[Any, ...]], keys: Ids | None) -> Iterator[Any]:
    if keys is None:
        yield from rows
        return
    for block in rows.partitions(_ROWS):
        chosen = np.isin(np.array([row[0] for row in block], dtype=np.int64), keys)
        yield from (row for row, take in zip(block, chosen.tolist(), strict=True) if take)


def _value(kind: int, number: float | None, text: str | None) -> FacetValue:
    if number is None:
        return text or ""
    if kind == BOOLEAN:
        return bool(number)
    value = join_number(number, text)
    return int(value) if kind == NUMBER and value == int(value) else value
