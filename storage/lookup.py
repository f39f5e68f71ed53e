"""What stands under ids and sources; the same questions from a view and from the writer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from yusa.storage import tables as t
from yusa.storage.database import chunks
from yusa.storage.records import Known


@dataclass(frozen=True, slots=True)
class Held:
    """What stands under an id, and its key."""

    key: int
    known: Known


def held(connection: Connection, ids: Iterable[str]) -> dict[str, Held]:
    """What the index holds under ids, in their order; ids it does not hold are left out."""
    wanted = [id for id in dict.fromkeys(ids) if storable(id)]
    found: dict[str, Held] = {}
    for chunk in chunks(wanted):
        statement = (
            select(
                t.document.c.id,
                t.document.c.key,
                t.source.c.name,
                t.document.c.content_hash,
                t.document.c.encoding_hash,
            )
            .join(t.source, t.source.c.id == t.document.c.source_id)
            .where(t.document.c.id.in_(chunk))
        )
        for id, key, source, content_hash, encoding_hash in connection.execute(statement):
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
    connection: Connection, source: str, *, after: int = -1, count: int | None = None
) -> list[tuple[int, str]]:
    """The next keys and ids of a source's documents, in the order of keys beyond `after`, all or `count` of them."""
    statement = (
        select(t.document.c.key, t.document.c.id)
        .join(t.source, t.source.c.id == t.document.c.source_id)
        .where(t.source.c.name == source, t.document.c.key > after)
        .order_by(t.document.c.key)
        .limit(count)
    )
    return [(key, id) for key, id in connection.execute(statement)]
