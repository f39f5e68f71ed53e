"""Which encoding a file is in. A strict order, not statistics: what is said to be UTF-8 is UTF-8.

Byte order mark, then UTF-16 where there are NUL bytes, then UTF-8, then CP949 (which holds EUC-KR) if Korean comes out.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

HEAD_BYTES = 1 << 18
"""How much of a file is looked at."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Detected:
    """`encoding` is None for what is not text; `sure` is False where UTF-8 is only the best guess."""

    encoding: str | None
    sure: bool = True


def detect(head: bytes) -> Detected:
    """The encoding of a file that begins with `head`, which may end in the middle of a character."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return Detected(name)
    if 0 in head and (wide := _utf16(head)):
        return Detected(wide)
    if head.count(0) * 1000 > len(head):
        return Detected(None)
    if _decodes(head, "utf-8"):
        return Detected("utf-8")
    # A damaged UTF-8 file is still UTF-8: its bad rows are rejected, the others go in.
    text = head.decode("utf-8", "surrogateescape")
    bad = sum("\udc80" <= c <= "\udcff" for c in text)
    good = sum(c > "\x7f" for c in text) - bad
    korean = good <= 4 * bad and _decodes(head, "cp949") and _korean(head.decode("cp949", "ignore"))
    return Detected("cp949") if korean else Detected("utf-8", sure=False)


def _utf16(head: bytes) -> str | None:
    """UTF-16 without byte order mark. For a head with NUL bytes only: CP949 Hangul reads as UTF-16 Hangul too."""
    for name in ("utf-16-le", "utf-16-be"):
        if _decodes(head, name) and _plausible(head[: len(head) // 2 * 2].decode(name, "ignore")):
            return name
    return None


def _decodes(head: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)("strict").decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _plausible(text: str) -> bool:
    """Whether nearly all of the characters are ones that Korean and English texts are made of."""
    usual = sum(_hangul(c) or " " <= c <= "\u024f" or c in "\t\r\n" or "\u2010" <= c <= "\u3020" for c in text)
    return usual >= 0.95 * len(text) > 0


def _korean(text: str) -> bool:
    """Whether what is not ASCII is mostly Hangul, and Hangul of the 2,350 syllables in use."""
    foreign = [c for c in text if c > "\x7f"]
    syllables = [c for c in foreign if _hangul(c)]
    usual = sum(len(c.encode("euc_kr", "ignore")) == 2 for c in syllables)
    return 2 * len(syllables) > len(foreign) and usual >= 0.9 * len(syllables)


def _hangul(c: str) -> bool:
    return "가" <= c <= "힣"
