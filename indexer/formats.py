"""Which reader a file gets. A new kind of file is one line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from yusa.indexer.jsonl import read_jsonl, read_lines, starts_with_object
from yusa.indexer.opened import Opened
from yusa.indexer.parquet import read_parquet
from yusa.indexer.plain import read_markdown, read_text
from yusa.indexer.results import Rejected, Row
from yusa.indexer.table import read_csv, read_tsv


class Reader(NamedTuple):
    """`whole`: a file is one document, so its id is known even where it cannot be read."""

    read: Callable[[Opened], Iterator[Row | Rejected]]
    whole: bool = False


READERS = {
    "jsonl": Reader(read_jsonl),
    "csv": Reader(read_csv),
    "tsv": Reader(read_tsv),
    "parquet": Reader(read_parquet),
    "text": Reader(read_text, whole=True),
    "markdown": Reader(read_markdown, whole=True),
    "lines": Reader(read_lines),
}
_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "text",
    ".text": "text",
    ".md": "markdown",
    ".markdown": "markdown",
}
SUFFIXES = " ".join(_SUFFIXES)


def format_of(path: Path) -> str | None:
    """The format a file's name tells, None for a kind that is not read."""
    return _SUFFIXES.get(path.suffix.lower())


def read_stream(opened: Opened) -> Iterator[Row | Rejected]:
    """A stream without a name: JSON lines if it begins with an object, else one document per line."""
    if starts_with_object(opened.look()):
        return read_jsonl(opened)
    return read_lines(opened)
