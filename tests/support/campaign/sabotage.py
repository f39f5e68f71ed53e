"""Ways to break the product on purpose, each of which a campaign has to report."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from sqlalchemy import Engine

from campaign import child
from campaign.commits import watch_commits
from yusa.storage import Entry, database, engine, parts, publish
from yusa.storage.files import Sink
from yusa.storage.parts import Ids
from yusa.storage.writer import Writer


def early() -> None:
    """A commit is acknowledged before it is made."""
    child.watch_commits = partial(watch_commits, early=True)  # type: ignore[attr-defined]


def swapped() -> None:
    """The vectors of a batch are stored in another order than its passages."""
    packed = Writer._packed

    def reversed_rows(self: Writer, entries: Sequence[Entry]) -> list[bytes]:
        return packed(self, entries)[::-1]

    Writer._packed = reversed_rows  # type: ignore[method-assign]


def mixed() -> None:
    """A segment names the owners of its vectors in the wrong order."""
    written = parts.write_ids

    def wrong(ids: Ids, sink: Sink) -> None:
        written(ids if (np.diff(ids) == 1).all() else ids[::-1], sink)

    publish.write_ids = wrong  # type: ignore[attr-defined]


def apart() -> None:
    """Every statement of a writer commits by itself."""

    def autocommitting(directory: Path, *, create: bool = False) -> Engine:
        return engine._engine(
            database.database_uri(directory, "rwc" if create else "rw"), engine._WRITER_PRAGMAS, "SELECT 1"
        )

    engine.writer_engine = autocommitting
