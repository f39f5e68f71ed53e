"""Terms: what keyword matching compares. The start of the keyword analyzer."""

from __future__ import annotations

import re
import unicodedata
from operator import add

_WORD = re.compile(r"\w+")


def bigrams(text: str) -> list[str]:
    """The character bigrams of every word, case folded, in order, with repetitions; a one-character word gives itself.

    Bigrams need no dictionary and meet Korean particles half-way: 학교에서 and 학교가 share 학교.
    """
    terms: list[str] = []
    text = text.lower() if text.isascii() else unicodedata.normalize("NFC", text.casefold())
    for word in _WORD.findall(text):
        if len(word) == 1:
            terms.append(word)
        else:
            terms.extend(map(add, word, word[1:]))
    return terms
