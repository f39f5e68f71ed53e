"""Sources: what is read, under one canonical name."""

from __future__ import annotations

import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from yusa.indexer.opened import SHOWN
from yusa.indexer.results import Rejected, Row, Skipped
from yusa.indexer.rows import Fields, RowError, make_document, row_document
from yusa.storage.records import Document

Item = Row | Rejected | Skipped


class Source(ABC):
    """Documents that belong together under one canonical name; iterating it reads it.

    Attributes:
        name: canonical; an index keeps it with every document.
        repeatable: whether it can be iterated again.
        complete: the last iteration reached the end and could read every file.
        bytes_read: by the iteration under way.
        notes: what a user should know of the files read so far.
    """

    def __init__(self, name: str, *, repeatable: bool) -> None:
        self.name = name
        self.repeatable = repeatable
        self.complete = False
        self.bytes_read = 0
        self.notes: list[str] = []

    @abstractmethod
    def _items(self) -> Iterator[Item]: ...

    @property
    def bytes_total(self) -> int:
        """Bytes there are to read; 0 where that is not known."""
        return 0

    def leave_out(self, path: Path) -> None:  # noqa: B027  (most sources read no files)
        """Never to read a file that is written meanwhile.

        Raises:
            UsageError: the file is all there is to read.
        """

    def __iter__(self) -> Iterator[Item]:
        self.complete = False
        self.bytes_read = 0
        self.notes.clear()
        unreadable = False
        for item in self._items():
            unreadable |= isinstance(item, Unreadable)
            yield item
        self.complete = not unreadable

    def _advance(self, count: int) -> None:
        self.bytes_read += count


class Unreadable(Rejected):
    """A file or folder of which nothing is known, not even what was in it."""


class DocumentsSource(Source):
    """Documents, or mappings with the fields of a row, from Python."""

    def __init__(self, documents: Iterable[Document | Mapping[str, Any]], name: str, fields: Fields) -> None:
        super().__init__(name, repeatable=iter(documents) is not documents)
        self._documents = documents
        self._fields = fields

    def _items(self) -> Iterator[Item]:
        for number, given in enumerate(self._documents, 1):
            try:
                yield Row(self._document(given), self.name, number)
            except RowError as error:
                yield Rejected(self.name, number, error.id, str(error), _shown(given))
            except (ValueError, RecursionError) as error:  # such as a number of more digits than Python writes out
                yield Rejected(self.name, number, None, f"cannot be read: {error}", _shown(given))

    def _document(self, given: Document | Mapping[str, Any]) -> Document:
        if isinstance(given, Document):
            return make_document(given.id, given.text, given.title, given.metadata)
        if isinstance(given, Mapping):
            return row_document(given, self._fields)
        raise RowError(f"a {type(given).__name__} is neither a Document nor a mapping")


def _shown(given: object) -> str:
    try:
        return repr(given)[:SHOWN]
    except Exception as error:  # noqa: BLE001  # what objects of others do there is theirs
        return f"a {type(given).__name__} that cannot be shown ({type(error).__name__})"


class Spooled(Source):
    """A source that can be read once, kept in a temporary file so that it can be read again; to be closed."""

    def __init__(self, source: Source) -> None:
        super().__init__(source.name, repeatable=True)
        self._source = source
        self._kept: BinaryIO | None = None

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()

    def _items(self) -> Iterator[Item]:
        if self._kept is None:
            kept = self._kept = tempfile.TemporaryFile()  # noqa: SIM115  (`close` closes it)
            for item in self._source:
                kept.write(json.dumps([type(item).__name__, asdict(item)]).encode() + b"\n")
                yield item
        else:
            self._kept.seek(0)
            yield from map(_restored, self._kept)
        self.notes.extend(self._source.notes)


def _restored(line: bytes) -> Item:
    kind, values = json.loads(line)
    if kind == Row.__name__:
        return Row(**{**values, "document": Document(**values["document"])})
    return {made.__name__: made for made in (Rejected, Unreadable, Skipped)}[kind](**values)


def documents_source(
    documents: Iterable[Document | Mapping[str, Any]],
    name: str,
    *,
    id_field: str | None = None,
    text_field: str | None = None,
    title_field: str | None = None,
) -> Source:
    """A source of Documents, or of mappings with the fields of a row, under `name`."""
    return DocumentsSource(documents, name, Fields(id_field, text_field, title_field))
