"""What reading and indexing give back, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yusa.storage.records import Document


@dataclass(frozen=True, slots=True)
class Row:
    """A document that was read, and where it stood: `line` counts from 1, rows of a Parquet file too."""

    document: Document
    file: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row, or a whole file, that cannot go in; everything else does.

    `id` is None where it could not be read. `raw` is the beginning of the row as it stood, for the rejects file.
    """

    file: str
    line: int | None
    id: str | None
    reason: str
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file of a kind yusa does not read; not an error."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; a snapshot.

    Attributes:
        documents: rows looked at so far, unchanged and rejected ones too.
        done: of these the committed, unchanged and rejected ones; reading runs ahead of encoding.
        tokens: of the passages encoded so far.
        encoded: passages encoded so far.
        bytes_total: 0 where it is not known (standard input, Python objects).
    """

    documents: int
    passages: int
    tokens: int
    encoded: int
    bytes_read: int
    bytes_total: int
    seconds: float
    done: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did, in documents; in a dry run, what it would do.

    Attributes:
        passages: of the documents added and updated.
        tokens: of the passages that were encoded.
        encoded: passages that were encoded; the others' vectors were there already.
        rejections: the first 100; `rejects_file` has all.
        prune_refused: why a source was not pruned, one sentence each.
        notes: what a user should know of the files read, such as an encoding that is not UTF-8.
        sequence: of the index after the run.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    skipped: int = 0
    pruned: int = 0
    passages: int = 0
    tokens: int = 0
    encoded: int = 0
    seconds: float = 0.0
    rejections: tuple[Rejected, ...] = ()
    rejects_file: Path | None = None
    prune_refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sequence: int = 0
    interrupted: bool = False
