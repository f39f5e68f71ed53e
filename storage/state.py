"""The one row of `state`, and the segments it stands over, as plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy import delete as delete_from

from yusa.storage import tables as t
from yusa.storage.checksums import STATE_COLUMNS, damaged, encoding_checksum, sound_encoding, state_checksum
from yusa.storage.files import FileSum
from yusa.storage.settings import Settings
from yusa.storage.wal import known_checkpoint

LOG_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class State:
    """Where an index stands, as of one commit.

    Attributes:
        encoding_id: the encoding that searches are answered from.
        deletions_from: `deletion` is complete for every change after this sequence.
        building_id: the encoding that a reindex is making beside it.
        previous_id: the encoding that a rollback leads back to; while it is under way, the same as `building_id`.
        checkpointed: every change up to this sequence is in index.db itself.
        live, live_sum: how many vectors of the current encoding there are, and the sum of their ids.
    """

    format_version: int
    index_id: str
    encoding_id: int
    sequence: int
    deletions_from: int
    next_key: int
    next_vector_id: int
    next_segment: int
    building_id: int | None
    previous_id: int | None
    checkpointed: int
    live: int
    live_sum: int

    @property
    def encodings(self) -> list[int]:
        """Every encoding whose passages are kept."""
        named = (self.encoding_id, self.building_id, self.previous_id)
        return [id for id in dict.fromkeys(named) if id is not None]


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of vector ids, `first_id` to `last_id` inclusive, of which `count` were live when it was written.

    A segment of no vectors has no files. `dead` of its vectors were deleted since.
    """

    id: int
    first_id: int
    last_id: int
    count: int
    dead: int
    files: Mapping[str, FileSum]

    @property
    def live(self) -> int:
        return self.count - self.dead


_STATE = select(
    t.state.c.format_version,
    t.state.c.index_id,
    t.state.c.encoding_id,
    t.state.c.sequence,
    t.state.c.deletions_from,
    t.state.c.next_key,
    t.state.c.next_vector_id,
    t.state.c.next_segment,
    t.state.c.building_id,
    t.state.c.previous_id,
    t.state.c.checkpointed,
    t.encoding.c.live,
    t.encoding.c.live_sum,
    t.state.c.checksum,
).join_from(t.state, t.encoding, t.encoding.c.id == t.state.c.encoding_id)


def read_state(connection: Connection) -> State:
    """The state as a transaction sees it.

    Raises:
        IndexFormatError: there is none, or it is not what was written.
    """
    rows = [row._asdict() for row in connection.execute(_STATE)]
    if len(rows) != 1 or not all(
        isinstance(value, str if name == "index_id" else int | None) for name, value in rows[0].items()
    ):
        raise damaged(connection, "its state")
    row = rows[0]
    if row.pop("checksum") != state_checksum(*(row[name] for name in STATE_COLUMNS)):
        raise damaged(connection, "its state")
    return State(**row)


def write_state(connection: Connection, state: State, kind: str, counts: Mapping[str, int]) -> None:
    """Store the state a transaction leads to, with its row in the log, whose length is bounded.

    What is live is counted by `count_live` alone.
    """
    values = {name: getattr(state, name) for name in STATE_COLUMNS}
    values["checkpointed"] = max(state.checkpointed, known_checkpoint(connection))
    connection.execute(update(t.state).values(**values, checksum=state_checksum(*values.values())))
    connection.execute(
        insert(t.log).values(
            sequence=state.sequence,
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            kind=kind,
            counts=json.dumps(counts),
        )
    )
    connection.execute(delete_from(t.log).where(t.log.c.sequence <= state.sequence - LOG_ROWS))


def count_live(connection: Connection, encoding_id: int, *, count: int, total: int) -> None:
    """Note that vectors came, or with negative numbers went: how many, and the sum of their ids."""
    connection.execute(
        update(t.encoding)
        .where(t.encoding.c.id == encoding_id)
        .values(live=t.encoding.c.live + count, live_sum=t.encoding.c.live_sum + total)
    )


def read_settings(connection: Connection, encoding_id: int) -> Settings:
    """What an encoding was made with.

    Raises:
        IndexFormatError: it is not what was written.
    """
    rows = connection.execute(select(t.encoding).where(t.encoding.c.id == encoding_id)).all()
    if len(rows) != 1 or not sound_encoding(rows[0]):
        raise damaged(connection, f"encoding {encoding_id}")
    return Settings.from_row(rows[0].settings, rows[0].probe_vectors)


def insert_settings(connection: Connection, encoding_id: int, settings: Settings) -> None:
    """Store what a new encoding is made with."""
    row = settings.to_row()
    checksum = encoding_checksum(encoding_id, **row)
    connection.execute(insert(t.encoding).values(id=encoding_id, reached=0, checksum=checksum, **row))


def read_segments(connection: Connection, encoding_id: int) -> list[Segment]:
    """The current segments of an encoding, by their ranges."""
    dead = (
        select(func.count())
        .select_from(t.deletion)
        .where(
            t.deletion.c.vector_id.between(t.segment.c.first_id, t.segment.c.last_id),
            t.deletion.c.encoding_id == encoding_id,
        )
        .scalar_subquery()
    )
    rows = connection.execute(
        select(t.segment.c.id, t.segment.c.first_id, t.segment.c.last_id, t.segment.c.count, dead)
        .where(t.segment.c.encoding_id == encoding_id)
        .order_by(t.segment.c.first_id)
    ).all()
    files: dict[int, dict[str, FileSum]] = {}
    for number, suffix, size, checksum in connection.execute(
        select(t.segment_file.c.segment_id, t.segment_file.c.suffix, t.segment_file.c.bytes, t.segment_file.c.sha256)
    ):
        files.setdefault(number, {})[suffix] = FileSum(size, checksum)
    return [Segment(*row, files=files.get(row.id, {})) for row in rows]


def reach(segments: list[Segment]) -> int:
    """The highest vector id that segments stand for; what is beyond is the tail."""
    return segments[-1].last_id if segments else -1
