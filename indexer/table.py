"""CSV and TSV with a header."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from functools import partial
from itertools import chain

from yusa.indexer.opened import MAX_ROW_BYTES, SHOWN, FileError, Opened
from yusa.indexer.results import Rejected, Row
from yusa.indexer.rows import MAX_TEXT, Fields, RowError, row_document

SAMPLE_ROWS = 1000
"""Rows that decide which columns are numbers."""
_SAMPLE_CHARACTERS = 4_000_000
# No leading zeros (postal codes, telephone numbers), and no more digits than a float keeps.
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?", re.ASCII)
_Cells = list[str]


def read_table(opened: Opened, delimiter: str) -> Iterator[Row | Rejected]:
    """One document per row. Quoting as in RFC 4180; a row with more or fewer cells than the header is rejected.

    CSV has no types: a column is numbers if every cell of it in the first 1,000 rows is a plain number, and then
    `year >= 2020` works; all other cells are strings. An empty cell is no field.

    Raises:
        FileError: no header, or one without a text column or the id column that was named, or one with a name twice.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_TEXT + 1))
    lines = _Lines(opened)
    rows = _rows(opened, lines, delimiter)
    header = _header(next(rows, None), opened.fields)
    sample = _sample(rows)
    numbers = _number_columns(header, [cells for _, cells in sample if not isinstance(cells, Rejected)], opened.fields)
    for number, cells in chain(sample, rows):
        if isinstance(cells, Rejected):
            yield cells
            continue
        try:
            if len(cells) != len(header):
                raise RowError(
                    f"{len(cells)} cells where the header has {len(header)}", _id(header, cells, opened.fields)
                )
            row = {
                name: _number(cell) if i in numbers else cell
                for i, (name, cell) in enumerate(zip(header, cells, strict=True))
                if cell
            }
            text = opened.fields.text or "text"
            yield Row(row_document({text: "", **row}, opened.fields), opened.label, number)
        except RowError as error:
            yield Rejected(opened.label, number, error.id, str(error), delimiter.join(cells)[:SHOWN])


read_csv = partial(read_table, delimiter=",")
read_tsv = partial(read_table, delimiter="\t")


def _sample(rows: Iterator[tuple[int, _Cells | Rejected]]) -> list[tuple[int, _Cells | Rejected]]:
    sample = []
    characters = 0
    for row in rows:
        sample.append(row)
        characters += 0 if isinstance(row[1], Rejected) else sum(map(len, row[1]))
        if len(sample) == SAMPLE_ROWS or characters > _SAMPLE_CHARACTERS:
            break
    return sample


def _header(first: tuple[int, _Cells | Rejected] | None, fields: Fields) -> _Cells:
    if first is None:
        return []
    cells = first[1]
    if isinstance(cells, Rejected):
        raise FileError(f"the header cannot be read: {cells.reason}")
    header = [cell.strip() or f"column_{i}" for i, cell in enumerate(cells, 1)]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise FileError(f"the header has the column {twice[0]!r} twice")
    for name, option in ((fields.text or "text", "--text-field the text"), (fields.id, "--id-field the id")):
        if name is not None and name not in header:
            names = ", ".join(header)[:200]
            raise FileError(f"no column {name!r} in the header ({names}): the first row names the columns, {option}")
    return header


def _rows(opened: Opened, lines: _Lines, delimiter: str) -> Iterator[tuple[int, _Cells | Rejected]]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, ValueError) as error:
            where = "" if lines.number == lines.first else f" (lines {lines.first} to {lines.number})"
            yield lines.first, Rejected(opened.label, lines.first, None, f"{_reason(error)}{where}", lines.shown)
            continue
        if cells:
            yield lines.first, cells


def _reason(error: Exception) -> str:
    reason = str(error)
    if reason.startswith("field larger"):
        return f"too large: a cell has more than {MAX_TEXT:,} characters, or a quote is never closed"
    if reason == "unexpected end of data":
        return "a quote is never closed"
    return f"not CSV: {reason}" if isinstance(error, csv.Error) else reason


class _Lines:
    """The decoded lines of a file for csv.reader, which goes on behind an error as a generator could not."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._lines = opened.lines()
        self.number = 0
        self.begin()

    def begin(self) -> None:
        """A new row begins at the next line."""
        self.first = self.number + 1
        self.shown = ""
        self._bytes = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number = line.number
        self._bytes += len(line.data)
        if len(self.shown) < SHOWN:
            self.shown = (self.shown + line.data[:SHOWN].decode("utf-8", "replace"))[:SHOWN]
        if line.too_long or self._bytes > MAX_ROW_BYTES:
            raise ValueError(f"too large: the row has more than {MAX_ROW_BYTES >> 20} MiB, or a quote is never closed")
        return self._opened.decode(line)


def _number_columns(header: _Cells, rows: list[_Cells], fields: Fields) -> set[int]:
    strings = {fields.id or "id", fields.id or "_id", fields.text or "text", fields.title or "title"}
    numbers = set()
    for i, name in enumerate(header):
        cells = [row[i] for row in rows if len(row) == len(header) and row[i]]
        if name not in strings and cells and all(_is_number(cell) for cell in cells):
            numbers.add(i)
    return numbers


def _is_number(cell: str) -> bool:
    return len(cell) <= 16 and _NUMBER.fullmatch(cell) is not None and sum(c.isdigit() for c in cell) <= 15


def _number(cell: str) -> str | int | float:
    if not _is_number(cell):
        return cell
    return float(cell) if "." in cell else int(cell)


def _id(header: _Cells, cells: _Cells, fields: Fields) -> str | None:
    """The id of a ragged row, where it stands before what is missing or too much."""
    for name in [fields.id] if fields.id else ["id", "_id"]:
        if name in header and header.index(name) < len(cells):
            return cells[header.index(name)] or None
    return None
