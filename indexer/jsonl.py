"""JSON lines: one object per line. And plain lines, one document each, for standard input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from yusa.indexer.opened import MAX_ROW_BYTES, SHOWN, Line, Opened
from yusa.indexer.results import Rejected, Row
from yusa.indexer.rows import RowError, make_document, row_document
from yusa.storage.records import Document


class _TwiceError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _TwiceError(f"the field {twice!r} stands twice")
    return row


_decode = json.JSONDecoder(object_pairs_hook=_unique).decode


def read_jsonl(opened: Opened) -> Iterator[Row | Rejected]:
    """One document per line; empty lines are passed over."""
    for line in opened.lines():
        if line.data.isspace():
            continue
        try:
            yield Row(row_document(_object(opened, line), opened.fields), opened.label, line.number)
        except RowError as error:
            yield _rejected(opened, line, error)


def read_lines(opened: Opened) -> Iterator[Row | Rejected]:
    """One document per line, without id; empty lines are passed over."""
    for line in opened.lines():
        if line.data.isspace():
            continue
        try:
            yield Row(_plain(opened, line), opened.label, line.number)
        except RowError as error:
            yield _rejected(opened, line, error)


def starts_with_object(head: bytes) -> bool:
    """Whether a stream that begins so can only be meant as JSON objects, in whatever encoding."""
    return head.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"{")


def _object(opened: Opened, line: Line) -> dict[str, Any]:
    text = _decoded(opened, line)
    try:
        row = _decode(text)
    except _TwiceError as error:
        raise RowError(str(error)) from None
    except json.JSONDecodeError as error:
        raise RowError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise RowError("not JSON: nested too deep") from None
    except ValueError as error:  # a number of more than 4,300 digits
        raise RowError(f"not JSON: {error}") from None
    if not isinstance(row, dict):
        raise RowError('not a JSON object: a line is {"id": …, "text": …}')
    return row


def _plain(opened: Opened, line: Line) -> Document:
    return make_document(None, _decoded(opened, line).rstrip("\r\n"), None, {})


def _decoded(opened: Opened, line: Line) -> str:
    if line.too_long:
        raise RowError(f"too large: the row has more than {MAX_ROW_BYTES >> 20} MiB")
    try:
        return opened.decode(line)
    except ValueError as error:
        raise RowError(str(error)) from None


def _rejected(opened: Opened, line: Line, error: RowError) -> Rejected:
    raw = line.data[:SHOWN].decode("utf-8", "replace").rstrip()
    return Rejected(opened.label, line.number, error.id, str(error), raw)
