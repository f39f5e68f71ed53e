"""The keyword analyzer: which terms of a text keyword search compares.

Korean is written in words that carry particles and that people space as they like, so a word is no unit to compare.
Every run of Hangul gives its syllables and its pairs of neighbouring syllables: 학교에서 and 초등학교 share 학교.
Latin words and numbers are units, lower-cased, and English ones are stemmed (Porter2). Chinese
characters give themselves and, so that 대한민국 finds 大韓民國, the syllables of their Korean readings and their pairs.
ARCHITECTURE.md has the measurements that chose this.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import chain, pairwise
from operator import add
from typing import Final, Protocol

from yusa.errors import UsageError

_HANGUL = "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3"
LATIN: Final = "a-z0-9\u00df-\u00f6\u00f8-\u024f"
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003134f"
# The kinds of runs, told apart by their group. What is in no group separates.
_RUN = re.compile(
    rf"(?P<hangul>[{_HANGUL}]+)|(?P<latin>[{LATIN}]+)|(?P<han>[{_HAN}]+)|(?P<other>[^\W_{LATIN}{_HANGUL}{_HAN}]+)"
)
# The same in texts of ASCII alone, where only a hyphen joins, for which a walk over the runs is not needed.
_WORD = re.compile(r"[a-z0-9]+")
_HYPHENATED = re.compile(r"(?<![a-z0-9])(?=([a-z0-9]+)-([a-z0-9]+))")
_NUMBER = re.compile(r"(?<![0-9,.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")
_PIECE = re.compile(r"[0-9]+|[^0-9]+")
_LONGEST_STEMMED: Final = 40


class Analyzer(Protocol):
    """Terms of texts and queries. Every term is a non-empty string without NUL and white space.

    Attributes:
        name: what an index keeps it by.
        identity: changes whenever the terms of any text would.
    """

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    def terms(self, text: str) -> list[str]:
        """The terms of a stored text, with repetitions."""

    def query_terms(self, text: str) -> dict[str, float]:
        """The terms of a query with their weights."""

    def required(self, phrase: str) -> list[str]:
        """Terms that every text has for certain in which `text.phrases.holds` finds the phrase; there may be none."""


def folded(text: str) -> str:
    """The text as it is compared: case folded, in NFC."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.casefold())


def load_analyzer(name: str) -> Analyzer:
    """The analyzer of a name: "standard", or "kiwi", which needs the extra `kiwi`.

    Raises:
        UsageError: there is none of this name.
        MissingDependencyError: what it needs is not installed.
    """
    if name == "standard":
        return _standard()
    if name == "kiwi":
        from yusa.text.kiwi import load

        return load()
    raise UsageError(f"there is no keyword analyzer {name!r}; there are 'standard' and 'kiwi'")


class StandardAnalyzer:
    """Syllables and pairs of them for Hangul, words for Latin script and numbers, pairs of characters for others."""

    name: str = "standard"
    identity: str = "standard/1"

    def __init__(self) -> None:
        self._latin_terms = _latin_terms()

    def terms(self, text: str) -> list[str]:
        text = folded(text)
        found = [number.replace(",", "") for number in _NUMBER.findall(text)] if "," in text else []
        return self._run_terms(text, found, whole=True)

    def query_terms(self, text: str) -> dict[str, float]:
        return {term: float(count) for term, count in Counter(self.terms(text)).items()}

    def required(self, phrase: str) -> list[str]:
        # `holds` finds no part of a Latin word, and all other terms come from neighbouring characters but for the words
        # of other scripts.
        return sorted(set(self._run_terms(folded(phrase), [], whole=False)))

    def _run_terms(self, text: str, found: list[str], *, whole: bool) -> list[str]:
        if text.isascii():
            found += chain.from_iterable(map(self._latin_terms, _WORD.findall(text)))
            if "-" in text:
                pairs = _HYPHENATED.findall(text)
                found += [left + right for left, right in pairs if not (left.isdigit() and right.isdigit())]
            return found
        end, before, latin_before = -1, "", False
        for match in _RUN.finditer(text):
            run, kind = match[0], match.lastgroup
            start, stop = match.span()
            if kind == "latin":
                head = tail = run
                found += self._latin_terms(run)
            elif kind == "hangul":
                head, tail = run[0], run[-1]
                found += run
                found += map(add, run, run[1:])
            else:
                head, tail = run[0], run[-1]
                found += map(add, run, run[1:])
                if kind == "han":
                    found += run
                    found += _readings(run)
                elif whole:
                    found.append(run)
            # 제12조 gives 제12 and 12조, RFC-2119 and e-mail give rfc2119 and email.
            if start == end:
                if latin_before or kind == "latin":
                    found.append(before + head)
            elif (
                start == end + 1
                and (latin_before and kind == "latin" and text[end] == "-")
                and not (before.isdigit() and head.isdigit())
            ):
                found.append(before + head)
            end, before, latin_before = stop, tail, kind == "latin"
        return found


def _readings(run: str) -> Iterator[str]:
    table = _hanja()
    syllables = [table.get(character, ()) for character in run]
    for readings in syllables:
        yield from readings
    for left, right in pairwise(syllables):
        yield from (first + second for first in left for second in right)


@cache
def _hanja() -> dict[str, tuple[str, ...]]:
    from importlib.resources import files

    table: dict[str, tuple[str, ...]] = {}
    for line in files("yusa.text").joinpath("hanja.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            reading, _, characters = line.partition("\t")
            for character in characters:
                table[character] = (*table.get(character, ()), reading)
    return table


@cache
def _standard() -> StandardAnalyzer:
    return StandardAnalyzer()


def _latin_terms() -> Callable[[str], tuple[str, ...]]:
    # The class itself: `snowballstemmer.stemmer` gives another library's stemmer where that one is installed.
    from snowballstemmer.english_stemmer import EnglishStemmer

    stem = EnglishStemmer().stemWord

    @lru_cache(maxsize=1 << 17)
    def terms(word: str) -> tuple[str, ...]:
        if word.isascii() and word.isalpha() and len(word) <= _LONGEST_STEMMED:
            return (str(stem(word)),)
        return (word,) if word.isalpha() or word.isdigit() else (word, *_PIECE.findall(word))

    return terms
