"""The one normal form in which yusa stores, encodes and compares text; every offset refers to it."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from yusa.errors import InputError

_BREAKS = re.compile(r"\r\n?|[\x0b\x0c\x85]")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_STEP: Final = 32


def normalize(text: str) -> str:
    """The text in NFC, its lines ended by LF, without control characters.

    CRLF, CR, vertical tab, form feed and NEL become LF; every other control character except tab and LF is removed
    (they show nothing, and PostgreSQL refuses NUL); byte order marks in front are removed. Applied once, before
    storing; applying it again changes nothing.

    Raises:
        InputError: the text holds a lone surrogate, which no file and no database can keep.
    """
    if not text.isascii():
        _refuse_surrogates(text)
    text = _CONTROLS.sub("", _BREAKS.sub("\n", text))
    # Last, because a removed control character may have kept two characters from composing, or a mark from the front.
    return nfc(text.lstrip("\ufeff"))


def nfc(text: str) -> str:
    """NFC, in time linear in the text whatever it is.

    `unicodedata` alone takes seconds for 80,000 combining marks after one another and minutes for a million.
    """
    return unicodedata.normalize("NFC", text if text.isascii() else _ordered(text))


def _ordered(text: str) -> str:
    """The text with its long runs of combining marks in canonical order, which changes nothing of its NFC.

    `unicodedata` sorts a run by insertion, whose time is quadratic only where the run is not sorted already. A run of
    2 * _STEP marks has one at a multiple of _STEP; shorter ones do no harm.
    """
    marks = {c for c in set(text[::_STEP]) if _is_mark(c)}
    if not marks:
        return text
    pieces: list[str] = []
    done = 0
    for at in range(0, len(text), _STEP):
        if at < done or text[at] not in marks:
            continue
        start, end = at, at + 1
        while start > done and _is_mark(text[start - 1]):
            start -= 1
        while end < len(text) and _is_mark(text[end]):
            end += 1
        pieces.append(text[done:start])
        decomposed = "".join(unicodedata.normalize("NFD", c) for c in text[start:end])
        pieces.append("".join(sorted(decomposed, key=unicodedata.combining)))
        done = end
    pieces.append(text[done:])
    return "".join(pieces)


def _is_mark(c: str) -> bool:
    """Whether a character is made of combining marks only, which three of Tibetan are without being one."""
    return unicodedata.combining(unicodedata.normalize("NFD", c)[0]) != 0


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise InputError(
            f"the text holds half of a surrogate pair (U+{code:04X} at character {error.start}), which is not text: "
            "write the character itself, or both halves"
        ) from None
