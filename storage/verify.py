"""Checking that an index is whole: its rows, its files, and that they agree."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from yusa.errors import IndexFormatError
from yusa.storage import tables as t
from yusa.storage.attributes import attribute_rows
from yusa.storage.blocks import analyzed, segment_block, tail_blocks
from yusa.storage.checksums import DOCUMENT_COLUMNS, DOCUMENTS, PASSAGE_COLUMNS, sound_document, sound_passage
from yusa.storage.database import driver_connection, rows
from yusa.storage.files import DamagedFileError, Verified
from yusa.storage.parts import Flags, Ids, Part
from yusa.storage.postings import Block, TermSource, merged, same_postings
from yusa.storage.settings import Settings
from yusa.storage.snapshot import check_sample, deleted_between, load_segment
from yusa.storage.state import Segment, State, reach, read_segments, read_settings, read_state
from yusa.storage.vectors import unpack

_ROWS = 5000
_SHOWN = 100
_SAMPLE = 64


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a verification found.

    Attributes:
        problems: damage to what the index holds; a backup is needed.
        repairable: derived files that are not used and that the next write rebuilds; answers are right all the same.
    """

    deep: bool
    documents: int
    passages: int
    segments: int
    problems: tuple[str, ...]
    repairable: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems and not self.repairable


def verify(
    directory: Path,
    connection: Connection,
    verified: Verified,
    source: TermSource,
    *,
    deep: bool,
) -> VerifyReport:
    """Check the commit that a read transaction sees, with all its encodings."""
    problems: list[str] = []
    repairable: list[str] = []
    try:
        state = read_state(connection)
    except IndexFormatError as error:
        return VerifyReport(deep, documents=0, passages=0, segments=0, problems=(str(error),), repairable=())

    def check(found: Iterable[str], into: list[str]) -> None:
        try:
            into.extend(found)
        except (DBAPIError, sqlite3.Error) as error:
            # The error of a search advises a verification, which must not end in the same error.
            problems.append(f"database: {getattr(error, 'orig', error)}")
        except IndexFormatError as error:
            problems.append(str(error))

    check(_counter_problems(connection, state), problems)
    if deep:
        check(_database_problems(connection), problems)
        check(_document_problems(connection), problems)
    for number in state.encodings:
        check(_encoding_problems(connection, state, number, deep=deep), problems)
    # Files of the others are read, and rebuilt where they are not whole, only when a reindex or a rollback goes on.
    check(_derived_problems(directory, connection, state, verified, source, deep=deep), repairable)
    own = t.passage.c.encoding_id == state.encoding_id
    counts = {"documents": 0, "passages": 0, "segments": 0}
    questions = {
        "documents": select(func.count(t.document.c.key)),
        "passages": select(func.count(t.passage.c.vector_id)).where(own),
        "segments": select(func.count(t.segment.c.id)).where(t.segment.c.encoding_id == state.encoding_id),
    }

    def count() -> Iterator[str]:
        counts.update({name: int(connection.execute(question).scalar_one()) for name, question in questions.items()})
        yield from ()

    check(count(), problems)
    return VerifyReport(
        deep=deep,
        **counts,
        problems=tuple(dict.fromkeys(problems))[:_SHOWN],
        repairable=tuple(repairable[:_SHOWN]),
    )


def _encoding_problems(connection: Connection, state: State, number: int, *, deep: bool) -> Iterator[str]:
    settings = read_settings(connection, number)
    yield from _segment_count_problems(connection, state, number, read_segments(connection, number))
    if deep:
        yield from _passage_problems(connection, number, settings)


def _derived_problems(
    directory: Path,
    connection: Connection,
    state: State,
    verified: Verified,
    source: TermSource,
    *,
    deep: bool,
) -> Iterator[str]:
    number = state.encoding_id
    settings = read_settings(connection, number)
    segments = read_segments(connection, number)
    for segment in segments:
        if segment.count:
            yield from _segment_problems(directory, connection, segment, settings, verified, deep=deep)
            yield from _postings_problems(directory, connection, number, segment, verified, source, deep=deep)
    yield from _tail_problems(connection, state, reach(segments) + 1, source, deep=deep)


def _counter_problems(connection: Connection, state: State) -> Iterator[str]:
    highest_key = connection.execute(select(func.max(t.document.c.key))).scalar_one() or 0
    highest_vector = connection.execute(select(func.max(t.passage.c.vector_id))).scalar_one()
    if highest_key >= state.next_key:
        yield f"document key {highest_key} is not below the next key {state.next_key}"
    if highest_vector is not None and highest_vector >= state.next_vector_id:
        yield f"vector id {highest_vector} is not below the next id {state.next_vector_id}"


def _segment_count_problems(
    connection: Connection, state: State, encoding_id: int, segments: list[Segment]
) -> Iterator[str]:
    if reach(segments) >= state.next_vector_id:
        yield f"the segments reach to {reach(segments)}, beyond the last vector id {state.next_vector_id - 1}"
    counted = select(func.count(), func.coalesce(func.sum(t.passage.c.vector_id), 0))
    kept = select(t.encoding.c.live, t.encoding.c.live_sum).where(t.encoding.c.id == encoding_id)
    there = connection.execute(counted.where(t.passage.c.encoding_id == encoding_id)).one()
    if tuple(connection.execute(kept).one()) != tuple(there):
        yield f"the {there[0]} passages of encoding {encoding_id} are not the ones that were written"
    for left, right in pairwise(segments):
        if left.last_id >= right.first_id:
            yield f"segments {left.id} and {right.id} overlap"
    for segment in segments:
        live = connection.execute(
            select(func.count())
            .select_from(t.passage)
            .where(
                t.passage.c.vector_id.between(segment.first_id, segment.last_id),
                t.passage.c.encoding_id == encoding_id,
            )
        ).scalar_one()
        if live != segment.live:
            yield f"segment {segment.id} stands for {segment.live} vectors, the database has {live}"


def _database_problems(connection: Connection) -> Iterator[str]:
    for (message,) in connection.exec_driver_sql("PRAGMA integrity_check(100)"):
        if message != "ok":
            yield f"database: {message}"
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"database: row {row} of {table} refers to a row of {parent} that is not there"


def _passage_problems(connection: Connection, encoding_id: int, settings: Settings) -> Iterator[str]:
    question = f"""
        SELECT id, length(text), {PASSAGE_COLUMNS} FROM passage JOIN document ON document.key = passage.document
        WHERE encoding_id = ?
    """
    cursor = driver_connection(connection).execute(question, (encoding_id,))
    while block := cursor.fetchmany(_ROWS):
        sized: dict[int, bytes] = {}
        for id, length, *row in block:
            vector_id, _, _, _, start, end, vector, _ = row
            if not sound_passage(row):
                yield f"passage {vector_id} of document {id!r} is not what was written"
            if not 0 <= start <= end <= length:
                yield f"passage {vector_id} of document {id!r} spans {start}-{end} of {length} characters"
            if len(vector) == settings.vector_bytes:
                sized[vector_id] = vector
            else:
                yield f"vector {vector_id} has {len(vector)} bytes instead of {settings.vector_bytes}"
        for vector_id, values in zip(sized, unpack(list(sized.values()), settings), strict=True):
            if not np.isfinite(values).all():
                yield f"vector {vector_id} holds a value that is not finite"
    gaps = (
        select(t.passage.c.document)
        .where(t.passage.c.encoding_id == encoding_id)
        .group_by(t.passage.c.document, t.passage.c.encoding_id)
        .having(
            (func.count(t.passage.c.ordinal.distinct()) != func.count())
            | (func.max(t.passage.c.ordinal) != func.count() - 1)
        )
    )
    for (key,) in connection.execute(gaps):
        yield f"the passages of document {key} are not numbered from 0 on"


def _document_problems(connection: Connection) -> Iterator[str]:
    """Whether documents are what was written, and the attributes those of the metadata.

    Both are read in the order of documents, side by side.
    """
    statement = (
        select(
            t.attribute.c.document,
            t.field.c.name,
            t.attribute.c.kind,
            t.attribute.c.text,
            t.attribute.c.number,
        )
        .join(t.field, t.field.c.id == t.attribute.c.field_id)
        .where(t.field.c.name.not_like("yusa.%"), t.field.c.name != "yusa")
        .order_by(t.attribute.c.document, t.attribute.c.ordinal)
    )
    last = 0
    documents = f"SELECT {DOCUMENT_COLUMNS} FROM {DOCUMENTS} WHERE document.key > ? ORDER BY document.key LIMIT ?"
    while found := rows(connection, documents, (last, _ROWS)):
        stored: dict[int, list[tuple[object, ...]]] = {}
        for document, *value in connection.execute(
            statement.where(t.attribute.c.document > last, t.attribute.c.document <= found[-1][0])
        ):
            stored.setdefault(document, []).append(tuple(value))
        for row in found:
            key, id, *_, metadata, _, _ = row
            if not sound_document(row):
                yield f"document {id!r} is not what was written"
            elif stored.get(key, []) != [tuple(one) for one in attribute_rows(json.loads(metadata))]:
                yield f"the filterable values of document {id!r} are not those of its metadata"
        last = found[-1][0]


def _segment_problems(
    directory: Path, connection: Connection, segment: Segment, settings: Settings, verified: Verified, *, deep: bool
) -> Iterator[str]:
    try:
        part = load_segment(directory, segment, settings, verified, again=deep)
        part = part.without(deleted_between(connection, segment.first_id, segment.last_id))
        if deep:
            _check_all(connection, part)
        else:
            check_sample(connection, part)
    except FileNotFoundError as error:
        yield f"segment {segment.id}: a file is missing ({error.filename or error})"
    except (DamagedFileError, DBAPIError, sqlite3.Error) as error:
        yield f"segment {segment.id}: {error}"


def _postings_problems(
    directory: Path,
    connection: Connection,
    encoding_id: int,
    segment: Segment,
    verified: Verified,
    source: TermSource,
    *,
    deep: bool,
) -> Iterator[str]:
    try:
        block = segment_block(directory, segment, source, verified, again=deep)
    except FileNotFoundError as error:
        yield f"segment {segment.id}: a file is missing ({error.filename or error})"
    except DamagedFileError as error:
        yield f"segment {segment.id}: {error}"
    else:
        dead = deleted_between(connection, segment.first_id, segment.last_id)
        yield from _differing(
            connection, encoding_id, f"segment {segment.id}", [(block, None)], dead, source, deep=deep
        )


def _tail_problems(
    connection: Connection, state: State, first: int, source: TermSource, *, deep: bool
) -> Iterator[str]:
    last = state.next_vector_id - 1
    if first <= last:
        blocks = tail_blocks(connection, state.encoding_id, source, first, last)
        dead = deleted_between(connection, first, last)
        yield from _differing(connection, state.encoding_id, "the tail", blocks, dead, source, deep=deep)


def _differing(
    connection: Connection,
    encoding_id: int,
    where: str,
    blocks: list[tuple[Block, Flags | None]],
    dead: Ids,
    source: TermSource,
    *,
    deep: bool,
) -> Iterator[str]:
    """Compare postings with the terms of the texts: of a sample, or of all live passages."""
    for block, flags in blocks:
        live = ~np.isin(block.ids, dead)
        ids = block.ids[live if flags is None else live & flags]
        step = 1 if deep else max(1, len(ids) // _SAMPLE)
        ids = ids[::step]
        for start in range(0, len(ids), _ROWS):
            chosen = ids[start : start + _ROWS]
            expected = analyzed(connection, encoding_id, source, chosen.tolist())
            if not same_postings(merged([(block, np.isin(block.ids, chosen))]), expected):
                yield f"{where}: the keyword postings are not those of the texts"
                return


def _check_all(connection: Connection, part: Part) -> None:
    """Compare every live vector of a part with the database.

    Raises:
        DamagedFileError: one differs.
    """
    ids = part.ids if part.live is None else part.ids[part.live]
    statement = select(t.passage.c.vector_id, t.passage.c.document, t.passage.c.vector).order_by(t.passage.c.vector_id)
    for start in range(0, len(ids), _ROWS):
        block = ids[start : start + _ROWS]
        between = t.passage.c.vector_id.between(int(block[0]), int(block[-1]))
        stored = {row.vector_id: (row.document, row.vector) for row in connection.execute(statement.where(between))}
        positions, _ = part.positions(block)
        for position, vector_id in zip(positions.tolist(), block.tolist(), strict=True):
            if stored.get(vector_id) != (int(part.owners[position]), part.rows[position].tobytes()):
                raise DamagedFileError(f"holds another vector {vector_id} than the database")
