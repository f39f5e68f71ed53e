"""A batch as rows, with the keys and vector ids it will have."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Table, select

from yusa.errors import StorageError, UsageError
from yusa.storage.attributes import attribute_rows
from yusa.storage.checksums import document_checksum, passage_checksum
from yusa.storage.records import Document, Entry, Passage
from yusa.storage.state import State

_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


class Names(dict[str, int]):
    """Numbers of names that rows refer to (sources, fields); a new name gets the next number when it is asked for.

    `new` has the rows of the names that the database does not have yet.
    """

    def __init__(self, known: Mapping[str, int]) -> None:
        super().__init__(known)
        self.new: list[dict[str, str | int]] = []
        self._next = max(known.values(), default=0) + 1

    def __missing__(self, name: str) -> int:
        self[name] = number = self._next
        self._next += 1
        self.new.append({"id": number, "name": name})
        return number


def known_names(connection: Connection, table: Table) -> dict[str, int]:
    """The names that a table of names holds."""
    return {row.name: row.id for row in connection.execute(select(table.c.name, table.c.id))}


class Rows:
    """The rows of one batch, in the order of the tables' columns."""

    def __init__(self, state: State, *, sources: Names, fields: Names) -> None:
        self._before = state
        self._sequence = state.sequence + 1
        self._key = state.next_key
        self._vector_id = state.next_vector_id
        self._sources = sources
        self._fields = fields
        self.documents: list[tuple[Any, ...]] = []
        self.passages: list[tuple[Any, ...]] = []
        self.attributes: list[tuple[Any, ...]] = []

    @property
    def state(self) -> State:
        """The state that committing these rows leads to."""
        return replace(self._before, sequence=self._sequence, next_key=self._key, next_vector_id=self._vector_id)

    def add(self, entry: Entry, vectors: Iterator[bytes]) -> None:
        """Append an entry, whose vectors are the next of `vectors`.

        Raises:
            StorageError: its metadata cannot be kept; the message names its id.
        """
        document = entry.document
        key, self._key = self._key, self._key + 1
        if document.metadata:
            self.attributes += [
                (key, ordinal, self._fields[field], kind, number, text)
                for ordinal, (field, kind, text, number) in enumerate(_attributes(document))
            ]
        metadata = _to_json(dict(document.metadata))
        hashes = (entry.content_hash, entry.encoding_hash)
        said = (document.title, metadata, document.text)
        checksum = document_checksum(key, document.id, entry.source, self._sequence, hashes, *said)
        self.documents.append((key, document.id, self._sources[entry.source], self._sequence, *hashes, *said, checksum))
        encoding = self._before.encoding_id
        self.passages += passage_rows(self._vector_id, key, encoding, entry.passages, vectors)
        self._vector_id += len(entry.passages)


def passage_rows(
    vector_id: int, document: int, encoding_id: int, passages: Sequence[Passage], vectors: Iterator[bytes]
) -> list[tuple[Any, ...]]:
    """The rows of a document's passages, whose vectors are the next of `vectors`; their ids count from `vector_id`."""
    rows = []
    for number, passage in enumerate(passages, vector_id):
        row = (number, document, encoding_id, passage.ordinal, passage.start, passage.end, next(vectors))
        rows.append((*row, passage_checksum(*row)))
    return rows


def _attributes(document: Document) -> list[Any]:
    try:
        return attribute_rows(document.metadata)
    except UsageError as error:
        raise StorageError(f"document {document.id!r} was not stored: {error}") from error
