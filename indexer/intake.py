"""Which rows have to be indexed, decided before anything is tokenized: new, changed, unchanged, rejected."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Protocol

from yusa.indexer.results import Rejected, Row, Skipped
from yusa.indexer.rows import content_hash_and_size, encoding_hash
from yusa.indexer.seen import Seen, Sighting, content_key
from yusa.indexer.source import Source
from yusa.storage.records import Document, Known
from yusa.text.normal import nfc

CHUNK_ITEMS = 512
CHUNK_CHARACTERS = 2_000_000
_KEPT = 100


class Catalogue(Protocol):
    """What deciding needs of an index."""

    def known(self, ids: Sequence[str]) -> dict[str, Known]: ...

    def ids_of(self, source: str) -> Iterator[str]: ...


@dataclass(frozen=True, slots=True)
class Hashed:
    """A row with its hashes and its size in characters, computed by the thread that reads."""

    row: Row
    content: bytes
    encoding: bytes
    characters: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive items of the source of this number."""

    source: int
    items: tuple[Hashed | Rejected | Skipped, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that has to be indexed."""

    document: Document
    source: str
    content: bytes
    encoding: bytes
    characters: int
    replaces: bool


def chunks(sources: Sequence[Source]) -> Iterator[Chunk]:
    """Everything the sources hold, hashed, in order."""
    for number, source in enumerate(sources):
        items: list[Hashed | Rejected | Skipped] = []
        characters = 0
        for item in source:
            if isinstance(item, Row):
                content, size = content_hash_and_size(item.document)
                items.append(Hashed(item, content, encoding_hash(item.document), size))
                characters += size
            else:
                items.append(item)
            if len(items) == CHUNK_ITEMS or characters > CHUNK_CHARACTERS:
                yield Chunk(number, tuple(items))
                items, characters = [], 0
        yield Chunk(number, tuple(items))


class Intake:
    """Counts every item and keeps what has to be indexed. One per run, used by one thread."""

    def __init__(self, sources: Sequence[Source], rejects: Path | None) -> None:
        # Sources that share a name are one source.
        self._names = [source.name for source in sources]
        self._numbers = [self._names.index(name) for name in self._names]
        self._seen = Seen()
        self._rejected_ids: dict[str, Seen] = {name: Seen() for name in self._names}
        self.without_id: dict[str, int] = dict.fromkeys(self._names, 0)
        self.documents = self.unchanged = self.rejected = self.skipped = 0
        self.rejections: list[Rejected] = []
        self.rejects_file: Path | None = None
        self._rejects = rejects
        self._file: IO[str] | None = None

    def sort(self, chunk: Chunk, catalogue: Catalogue) -> list[Candidate]:
        """The documents of a chunk that are new or changed."""
        number, name = self._numbers[chunk.source], self._names[chunk.source]
        rows = [item for item in chunk.items if isinstance(item, Hashed)]
        ids = [item.row.document.id for item in rows]
        first = dict(zip(ids, self._seen.first(ids), strict=True))
        known = catalogue.known([id for id in first if first[id] is None])
        new: dict[str, Sighting] = {}
        candidates: list[Candidate] = []
        for item in chunk.items:
            if isinstance(item, Skipped):
                self.skipped += 1
            elif isinstance(item, Rejected):
                self.documents += 1
                self._reject(item, name)
            else:
                self.documents += 1
                id = item.row.document.id
                sighting = Sighting(content_key(item.content), number)
                held = known.get(id)
                if earlier := first[id] or new.get(id):
                    self._again(item, earlier, sighting, name)
                elif held and held.source != name:
                    self._reject(_foreign(item.row, held.source), name)
                else:
                    new[id] = sighting
                    if held and held.content_hash == item.content:
                        self.unchanged += 1
                    else:
                        candidates.append(
                            Candidate(
                                item.row.document, name, item.content, item.encoding, item.characters, held is not None
                            )
                        )
        self._seen.add(list(new), list(new.values()))
        return candidates

    def present(self, ids: list[str], source: str) -> list[bool]:
        """For ids of a source whether this run met them, rejected ones too."""
        number = self._names.index(source)
        accepted = self._seen.first(ids)
        rejected = self._rejected_ids[source].first(ids)
        return [
            (a is not None and a.source == number) or r is not None for a, r in zip(accepted, rejected, strict=True)
        ]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _again(self, item: Hashed, earlier: Sighting, sighting: Sighting, name: str) -> None:
        row = item.row
        if earlier == sighting:
            self.unchanged += 1
        elif earlier.source != sighting.source:
            self._reject(_foreign(row, self._names[earlier.source]), name)
        else:
            reason = "the id stands twice with different content; the first one counts"
            self._reject(Rejected(row.file, row.line, row.document.id, reason, _raw(row.document)), name)

    def _reject(self, rejected: Rejected, source: str) -> None:
        self.rejected += 1
        if rejected.id is None:
            self.without_id[source] += 1
        else:
            # A file's name and a cell come as they stand; what the index holds is NFC.
            id = nfc(rejected.id)
            seen = self._rejected_ids[source]
            if seen.first([id]) == [None]:
                seen.add([id], [Sighting(0, 0)])
        if len(self.rejections) < _KEPT:
            self.rejections.append(rejected)
        if self._rejects is not None:
            if self._file is None:
                self._rejects.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._rejects.open("w", encoding="utf-8", errors="backslashreplace")
                self.rejects_file = self._rejects
            self._file.write(json.dumps(asdict(rejected), ensure_ascii=False) + "\n")


def _foreign(row: Row, owner: str) -> Rejected:
    reason = (
        f"the id belongs to the source {owner}: delete it there first, give it another id, "
        "or index both from one common folder"
    )
    return Rejected(row.file, row.line, row.document.id, reason, _raw(row.document))


def _raw(document: Document) -> str:
    return document.text[:200]
