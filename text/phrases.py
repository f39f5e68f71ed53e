"""Whether a text holds a phrase."""

from __future__ import annotations

import re
from functools import lru_cache

from yusa.text.analyzer import LATIN, folded

_SPACE = re.compile(r"\s+")


def holds(text: str, phrase: str) -> bool:
    """Whether the phrase stands in the text, whatever its case and the white space between its words.

    A Latin letter or digit at an edge of the phrase must stand at the edge of a word, so that "cat" is not in "concat"
    and "12" not in "2012"; Hangul need not, as particles follow and compounds precede: "학교" is in "초등학교에서".
    A phrase of nothing but white space is in every text.
    """
    return _pattern(phrase).search(_SPACE.sub(" ", folded(text))) is not None


@lru_cache(maxsize=256)
def _pattern(phrase: str) -> re.Pattern[str]:
    words = _SPACE.sub(" ", folded(phrase)).strip()
    latin = re.compile(rf"[{LATIN}]")
    before = rf"(?<![{LATIN}])" if latin.match(words[:1]) else ""
    after = rf"(?![{LATIN}])" if latin.match(words[-1:]) else ""
    return re.compile(before + re.escape(words) + after)
