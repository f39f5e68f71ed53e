"""The one row of `state`, and the segments it stands over, as plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from yusa.storage.checksums import STATE_COLUMNS, damaged, encoding_checksum, sound_encoding, state_checksum
from yusa.storage.database import driver_connection, rows
from yusa.storage.files import FileSum
from yusa.storage.records import Json
from yusa.storage.settings import Settings
from yusa.storage.wal import known_checkpoint

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from yusa.storage.database import AnyConnection

FORMAT_VERSION: Final = 3
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


_STATE = f"""
SELECT {", ".join(f"state.{field.name}" for field in fields(State) if not field.name.startswith("live"))},
    live, live_sum, state.checksum
FROM state JOIN encoding ON encoding.id = state.encoding_id
"""


def read_state(connection: AnyConnection) -> State:
    """The state as a transaction sees it.

    Raises:
        IndexFormatError: there is none, or it is not what was written.
    """
    found = rows(connection, _STATE)
    if len(found) != 1:
        raise damaged(connection, "its state")
    *values, checksum = found[0]
    state = State(*values)
    if not all(
        isinstance(value, str if field.name == "index_id" else int | None)
        for field, value in zip(fields(State), values, strict=True)
    ) or checksum != state_checksum(*(getattr(state, name) for name in STATE_COLUMNS)):
        raise damaged(connection, "its state")
    return state


def write_state(connection: Connection, state: State, kind: str, counts: Mapping[str, int]) -> None:
    """Store the state a transaction leads to, with its row in the log, whose length is bounded.

    What is live is counted by `count_live` alone.
    """
    values = {name: getattr(state, name) for name in STATE_COLUMNS}
    values["checkpointed"] = max(state.checkpointed, known_checkpoint(connection))
    raw = driver_connection(connection)
    raw.execute(
        f"UPDATE state SET {', '.join(f'{name} = ?' for name in values)}, checksum = ?",
        (*values.values(), state_checksum(*values.values())),
    )
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    raw.execute(
        "INSERT INTO log (sequence, time, kind, counts) VALUES (?, ?, ?, ?)",
        (state.sequence, time, kind, json.dumps(counts)),
    )
    raw.execute("DELETE FROM log WHERE sequence <= ?", (state.sequence - LOG_ROWS,))


def count_live(connection: Connection, encoding_id: int, *, count: int, total: int) -> None:
    """Note that vectors came, or with negative numbers went: how many, and the sum of their ids."""
    driver_connection(connection).execute(
        "UPDATE encoding SET live = live + ?, live_sum = live_sum + ? WHERE id = ?", (count, total, encoding_id)
    )


def read_settings(connection: AnyConnection, encoding_id: int) -> Settings:
    """What an encoding was made with.

    Raises:
        IndexFormatError: it is not what was written.
    """
    question = "SELECT id, settings, probe_vectors, checksum FROM encoding WHERE id = ?"
    found = rows(connection, question, (encoding_id,))
    if len(found) != 1 or not sound_encoding(*found[0]):
        raise damaged(connection, f"encoding {encoding_id}")
    _, settings, probe_vectors, _ = found[0]
    return Settings.from_row(settings, probe_vectors)


def read_tuned(connection: AnyConnection) -> dict[str, Json]:
    """The choice that tuning stored for the current encoding, `{}` if none."""
    stored = rows(connection, "SELECT choice FROM tuning JOIN state USING (encoding_id)")
    choice: dict[str, Json] = json.loads(stored[0][0]) if stored else {}
    return choice


def insert_settings(connection: Connection, encoding_id: int, settings: Settings) -> None:
    """Store what a new encoding is made with."""
    row = settings.to_row()
    driver_connection(connection).execute(
        "INSERT INTO encoding (id, settings, probe_vectors, reached, checksum) VALUES (?, ?, ?, 0, ?)",
        (encoding_id, row["settings"], row["probe_vectors"], encoding_checksum(encoding_id, **row)),
    )


_SEGMENTS: Final = """
SELECT id, first_id, last_id, count, (
    SELECT count(*) FROM deletion
    WHERE vector_id BETWEEN first_id AND last_id AND deletion.encoding_id = segment.encoding_id
)
FROM segment WHERE encoding_id = ? ORDER BY first_id
"""


def read_segments(connection: AnyConnection, encoding_id: int) -> list[Segment]:
    """The current segments of an encoding, by their ranges."""
    files: dict[int, dict[str, FileSum]] = {}
    question = "SELECT segment_id, suffix, bytes, sha256 FROM segment_file"
    for number, suffix, size, checksum in rows(connection, question):
        files.setdefault(number, {})[suffix] = FileSum(size, checksum)
    return [
        Segment(number, first, last, count, dead, files.get(number, {}))
        for number, first, last, count, dead in rows(connection, _SEGMENTS, (encoding_id,))
    ]


def reach(segments: list[Segment]) -> int:
    """The highest vector id that segments stand for; what is beyond is the tail."""
    return segments[-1].last_id if segments else -1
