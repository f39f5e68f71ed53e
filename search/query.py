r"""What a person types into a search box: words, "phrases", -exclusions and prefixes*.

    "서울 지하철" 요금 -광고 RFC-21*

- `"…"` or `“…”`: every hit's passage or title holds the phrase.
- `-word`, `-"a phrase"`: no hit's document holds it.
- `RFC-21*`: terms that begin so count like words of the query.

What cannot be meant so is taken as it stands: a single quote, a hyphen within a word, a minus before a number or before
a space, a star alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from yusa.errors import InputError, UsageError
from yusa.text.normal import normalize

# Every alternative begins where a word does, so that a long text without spaces is not read from each character on.
MOST_OPERATORS: Final = 64

_PART = re.compile(
    r"""
      (?<!\S)(?P<minus>-)?(?:"(?P<straight>[^"]*)"|“(?P<curly>[^“”]*)”)
    | (?<!\S)-(?P<excluded>[^\W\d][^\s"“”]*)
    | (?<!\S)(?P<prefix>\w[^\s"“”*]*)\*(?!\S)
    """,
    re.VERBOSE,
)

_EMPTY: Final = "is empty; write what to look for"


@dataclass(frozen=True, slots=True)
class Query:
    """A query as it is searched.

    Attributes:
        text: what is encoded and whose terms are looked for: without operators and without what is excluded.
        phrases: every hit's passage or title holds them.
        excluded: no hit's document holds them.
        prefixes: terms that begin with one of them count as terms of the query.
    """

    text: str
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


def parse_query(text: str, *, literal: bool = False) -> Query:
    """The query that a text means, in normal form.

    Args:
        literal: quotes, minus and star have no meaning.

    Raises:
        UsageError: the text is empty, is nothing but exclusions, or cannot be read.
    """
    try:
        text = normalize(text)
    except InputError as error:
        raise UsageError(f"cannot be read: {error}") from None
    if not text.strip():
        raise UsageError(_EMPTY)
    if literal:
        return Query(text)
    phrases: list[str] = []
    excluded: list[str] = []
    prefixes: list[str] = []
    kept: list[str] = []
    end = 0
    for match in _PART.finditer(text):
        kept.append(text[end : match.start()])
        end = match.end()
        phrase = (match["straight"] or match["curly"] or "").strip()
        if match["excluded"] or (match["minus"] and phrase):
            excluded.append(match["excluded"] or phrase)
        elif match["prefix"]:
            prefixes.append(match["prefix"])
            kept.append(match["prefix"])
        elif phrase:
            phrases.append(phrase)
            kept.append(phrase)
    kept.append(text[end:])
    words = "".join(kept).strip()
    if not words and not excluded:
        raise UsageError(_EMPTY)
    if not words:
        raise UsageError("only says what to leave out; write what to look for, too")
    operators = [tuple(dict.fromkeys(found)) for found in (phrases, excluded, prefixes)]
    if sum(map(len, operators)) > MOST_OPERATORS:
        raise UsageError(
            f"has more than {MOST_OPERATORS} phrases, exclusions and prefixes; write fewer, or use `literal`"
        )
    return Query(words, *operators)
