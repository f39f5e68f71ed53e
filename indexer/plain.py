"""Plain text and Markdown: a file is one document."""

from __future__ import annotations

import re
from collections.abc import Iterator

from yusa.indexer.opened import FileError, Opened
from yusa.indexer.results import Rejected, Row
from yusa.indexer.rows import MAX_TEXT, RowError, make_document

_MAX_BYTES = 4 * MAX_TEXT
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*")
_FENCE = re.compile(r" {0,3}(?:```|~~~)")
_TITLE = re.compile(r"title:[ \t]*(.+?)[ \t]*", re.IGNORECASE)
_TITLE_LINES = 200


def read_text(opened: Opened) -> Iterator[Row | Rejected]:
    """The whole file, without a title."""
    yield _document(opened, None, _read(opened))


def read_markdown(opened: Opened) -> Iterator[Row | Rejected]:
    """The whole file as it stands; the title is the front matter's, or else the first heading."""
    text = _read(opened)
    yield _document(opened, markdown_title(text), text)


def markdown_title(text: str) -> str | None:
    """The `title:` of the YAML front matter, or the first heading outside of code."""
    lines = iter(text.split("\n", _TITLE_LINES)[:_TITLE_LINES])
    code = False
    for number, line in enumerate(lines):
        if number == 0 and line.rstrip() == "---":
            if title := _front_matter_title(lines):
                return title
        elif _FENCE.match(line):
            code = not code
        elif not code and (match := _HEADING.fullmatch(line.rstrip("\r"))):
            return match[1]
    return None


def _front_matter_title(lines: Iterator[str]) -> str | None:
    for line in lines:
        if line.rstrip() in ("---", "..."):
            break
        if match := _TITLE.fullmatch(line.rstrip("\r")):
            return match[1].strip("\"'")
    return None


def _read(opened: Opened) -> str:
    opened.decide_encoding()
    data = opened.stream.read(_MAX_BYTES + 1)
    opened.advance(len(data))
    if len(data) > _MAX_BYTES:
        raise FileError(f"too large: a text may have {MAX_TEXT:,} characters; split it")
    return opened.decode_all(data)


def _document(opened: Opened, title: str | None, text: str) -> Row | Rejected:
    try:
        return Row(make_document(opened.id, text, title, {}), opened.label)
    except RowError as error:
        return Rejected(opened.label, None, error.id or opened.id, str(error))
