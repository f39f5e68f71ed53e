"""The one normal form in which yusa stores, encodes and compares text; every offset refers to it."""

from __future__ import annotations

import re
import unicodedata

from yusa.errors import InputError

_BREAKS = re.compile(r"\r\n?|[\x0b\x0c\x85]")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")


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
        text = text.lstrip("\ufeff")
    text = _CONTROLS.sub("", _BREAKS.sub("\n", text))
    # Last, because a removed control character may have kept two characters from composing.
    return unicodedata.normalize("NFC", text)


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise InputError(
            f"the text holds half of a surrogate pair (U+{code:04X} at character {error.start}), which is not text: "
            "write the character itself, or both halves"
        ) from None
