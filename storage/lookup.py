"""What stands under ids and sources; the same questions from a view and from the writer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yusa.storage.checksums import DOCUMENTS
from yusa.storage.database import chunks, marks, rows
from yusa.storage.records import Known

if TYPE_CHECKING:
    from yusa.storage.database import AnyConnection


@dataclass(frozen=True, slots=True)
class Held:
    """What stands under an id, and its key."""

    key: int
    known: Known


def held(connection: AnyConnection, ids: Iterable[str]) -> dict[str, Held]:
    """What the index holds under ids, in their order; ids it does not hold are left out."""
    wanted = [id for id in dict.fromkeys(ids) if storable(id)]
    found: dict[str, Held] = {}
    for chunk in chunks(wanted):
        columns = "document.id, key, source.name, content_hash, encoding_hash"
        question = f"SELECT {columns} FROM {DOCUMENTS} WHERE document.id IN ({marks(chunk)})"
        for id, key, source, content_hash, encoding_hash in rows(connection, question, chunk):
            found[id] = Held(key, Known(source, content_hash, encoding_hash))
    return {id: found[id] for id in wanted if id in found}


def storable(id: str) -> bool:
    """Whether a database can hold an id; half a surrogate pair cannot even be asked for."""
    try:
        id.encode()
    except UnicodeEncodeError:
        return False
    return True


def source_ids(
    connection: AnyConnection, source: str, *, after: int = -1, count: int | None = None
) -> list[tuple[int, str]]:
    """The next keys and ids of a source's documents, in the order of keys beyond `after`, all or `count` of them."""
    question = f"SELECT key, document.id FROM {DOCUMENTS} WHERE source.name = ? AND key > ? ORDER BY key LIMIT ?"
    found: list[tuple[int, str]] = rows(connection, question, (source, after, -1 if count is None else count))
    return found
