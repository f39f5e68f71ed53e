"""A database that holds documents, and what a compiled filter lets pass of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from filtering import matches
from sqlalchemy import Connection, Engine, insert

from yusa.storage.attributes import attribute_rows
from yusa.storage.filter_sql import compile_filter
from yusa.storage.filters import Filter
from yusa.storage.records import Document
from yusa.storage.tables import attribute, document, field, source

SOURCES = ("files", "웹", "Files")


def fill(connection: Connection, items: Sequence[Document]) -> None:
    """Put documents into an empty database; the caller's transaction is rolled back."""
    connection.execute(insert(source), [{"id": n, "name": name} for n, name in enumerate(SOURCES, 1)])
    fields: dict[str, int] = {}
    documents, rows = [], []
    for key, item in enumerate(items, 1):
        documents.append(
            {
                "key": key,
                "id": item.id,
                "source_id": 1 + key % len(SOURCES),
                "sequence": 1,
                "content_hash": b"",
                "encoding_hash": b"",
                "title": item.title,
                "metadata": json.dumps(item.metadata),
                "text": item.text,
            }
        )
        for ordinal, row in enumerate(attribute_rows(item.metadata)):
            number = fields.setdefault(row.field, len(fields) + 1)
            rows.append({"document": key, "ordinal": ordinal, "field_id": number, **row._asdict()})
    for table, values in ((field, [{"id": n, "name": name} for name, n in fields.items()]), (document, documents)):
        if values:
            connection.execute(insert(table), values)
    if rows:
        columns = set(attribute.c.keys())
        connection.execute(insert(attribute), [{k: v for k, v in row.items() if k in columns} for row in rows])


def passing(connection: Connection, tree: Filter) -> list[int]:
    """The keys that the compiled filter gives."""
    return sorted(connection.execute(compile_filter(tree)).scalars())


def expected(items: Iterable[Document], tree: Filter) -> list[int]:
    """The keys that the oracle gives."""
    return [key for key, item in enumerate(items, 1) if matches(tree, item, SOURCES[key % len(SOURCES)])]


def assert_as_oracle(engine: Engine, items: Sequence[Document], trees: Iterable[Filter]) -> None:
    """Both give the same."""
    with engine.connect() as connection:
        fill(connection, items)
        for tree in trees:
            assert passing(connection, tree) == expected(items, tree), tree
