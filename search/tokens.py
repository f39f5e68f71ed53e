"""The words of a `where` expression, and how a mistake in one is shown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

from yusa.errors import FilterError

KEYWORDS: Final = frozenset({"and", "or", "not", "in", "between", "like", "is", "null", "true", "false"})

_TOKEN = re.compile(
    r"""
      (?P<text> '(?:[^']|'')*+' )
    | (?P<quoted> "(?:[^"]|"")*+" )
    | (?P<number> [+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?(?![\w.:+-]) )
    | (?P<name> [^\W\d]\w*+(?![:+-]) )
    | (?P<odd> [+-]{0,2}\w[\w.:+-]*+ )  # 2020-01-01, my-field, 3rd: always a mistake, but one to name
    | (?P<mark> <=|>=|!=|<>|==|[=<>(),.] )
    """,
    re.VERBOSE,
)
_HINTS: Final = {
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`, or `!=` for unequal",
    "'": "this quote is not closed; a quote within text is written twice: 'it''s'",
    '"': "this quote is not closed",
    "‘": "text stands in straight single quotes: 'text'",
    "’": "text stands in straight single quotes: 'text'",
    "“": "text stands in straight single quotes: 'text'",
    "”": "text stands in straight single quotes: 'text'",
    "`": 'field names with odd characters stand in double quotes: "my field"',
    "[": "a list stands in parentheses: in (1, 2)",
}
_COLUMNS = 100


class Token(NamedTuple):
    """A word of an expression.

    Attributes:
        kind: "text", "quoted", "number", "name", "odd", "mark", "keyword" or "end".
        text: as written; keywords in lower case.
        at: where it begins in the expression.
    """

    kind: str
    text: str
    at: int


def tokens(expression: str) -> Iterator[Token]:
    """The words in order, an "end" last.

    Raises:
        FilterError: a character that belongs to no word, when it is reached.
    """
    at = 0
    for match in _TOKEN.finditer(expression):
        _refuse_other(expression, at, match.start())
        kind, text, at = str(match.lastgroup), match.group(), match.end()
        if kind == "name" and text.lower() in KEYWORDS:
            kind, text = "keyword", text.lower()
        yield Token(kind, text, match.start())
    _refuse_other(expression, at, len(expression))
    yield Token("end", "", len(expression))


def mistake(expression: str, at: int, message: str, hint: str = "") -> FilterError:
    """The error whose message shows the expression, or what is around the mistake, with a caret under it."""
    # Control and line characters would break the line that the caret stands under.
    line = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in expression)
    start, end = 0, len(line)
    if width(line) > _COLUMNS:
        start, end = max(0, at - _COLUMNS // 4), at + _COLUMNS // 4
    before = ("…" if start else "") + line[start:at]
    after = line[at:end] + ("…" if end < len(line) else "")
    text = f"filter: {message}\n  {before}{after}\n  {' ' * width(before)}^"
    return FilterError(f"{text}\n  hint: {hint}" if hint else text)


def width(text: str) -> int:
    """The columns that a terminal gives to a text: East Asian wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.category(c) in ("Mn", "Me", "Cf") else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def clipped(text: str) -> str:
    """The text, or the beginning of a long one, to be named in a message."""
    return text if len(text) <= 40 else f"{text[:39]}…"


def _refuse_other(expression: str, start: int, end: int) -> None:
    between = expression[start:end]
    other = between.lstrip()
    if other:
        at = start + len(between) - len(other)
        raise mistake(expression, at, f"unexpected `{other[0]}`", _HINTS.get(other[0], ""))
