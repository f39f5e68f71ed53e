"""Where sentences end, in Korean and English, with exact offsets.

Own rules, because no library fits: pysbd (last release 2021) knows no Korean and reports wrong offsets after repeated
sentences (its issue 49), blingfire counts bytes and knows no Korean quotations, kss and kiwipiepy bring a morphological
analyser with its model. A wrong end costs little here: a passage holds many sentences, and the marked sentence of a hit
becomes longer or shorter.
"""

from __future__ import annotations

import re
import unicodedata

from yusa.text.span import Span, stripped

_CLOSERS = "\"'”’»)\\]}）］】〕〉》」』"
# A run of terminators with its closing quotes and brackets, or a line end with the white space after it.
_CANDIDATE = re.compile(rf"(?P<marks>[.!?…。！？؟।]+)(?P<closers>[{_CLOSERS}]*)|\n\s*")
_FULL_WIDTH = frozenset("。！？")
_STRUCTURE = re.compile(r"[ \t]*(?:#{1,6}\s|[-*+•·▪◦‣○●■□▶※>|]|\d{1,3}[.)]\s|[a-zA-Z가-힣][.)]\s|[①-⑳]|```|[=*~-]{3})")
_ATTRIBUTION = re.compile(
    r"(?:이라|라|하)?(?:고|며|면서|는)(?:\s|[^\w\s]|$)|(?:이라|라)(?:고|는|며|면|면서|던|든|도)\w{0,3}(?:\s|[^\w\s]|$)"
)
_NUMBER = re.compile(r"\(?\d{1,3}(?:\.\d{1,3})*")
_LIST_LETTER = re.compile(r"[a-zA-Z가나다라마바사아자차카타파하]")
_KOREAN_END = frozenset("다요죠까네음임함됨")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Never the end of a sentence.
_TITLES = _words(
    "mr mrs ms dr prof st mt gen col capt lt sgt rep sen gov pres rev hon vs v e.g i.e cf viz fig figs eq sec ch vol "
    "pp p ed eds al approx est ca resp jan feb mar apr jun jul aug sep sept oct nov dec"
)
# An end only if the next word is one that usually begins a sentence.
_ABBREVIATIONS = _words("etc inc ltd co corp bros jr sr dept univ ave blvd rd ph.d u.s.a")
_STARTERS = _words(
    "The A An This That These Those He She It They We I You His Her Its Their Our My Your In On At For From With When "
    "While After Before If As But And So However There Here What Who Why How Where Then One Some Many Most All Both "
    "Each No Not"
)
_NEXT_WORD = re.compile(r"\s*[\"'“‘«(\[]*([^\W\d_]+)?")
_LONGEST_WORD = 24
_LIST_MARK = 8
_WRAP_COLUMNS = range(50, 121)


def sentences(text: str) -> list[Span]:
    """The sentences in order, without outer white space; they cover every character that is not white space."""
    spans: list[Span] = []
    start = 0
    line = 0
    for match in _CANDIDATE.finditer(text):
        if match["marks"] is None:
            ends = _line_ends(text, line, match)
            line = text.rindex("\n", match.start(), match.end()) + 1
        else:
            ends = _korean_end(text, start, match) or _mark_ends(text, start, match)
        if ends and (span := stripped(text, start, match.end())):
            spans.append(span)
            start = match.end()
    if last := stripped(text, start, len(text)):
        spans.append(last)
    return spans


def _line_ends(text: str, line: int, match: re.Match[str]) -> bool:
    """Whether a line end is more than the wrapping of a paragraph."""
    following = match.end()
    if following == len(text) or text.count("\n", match.start(), following) > 1:
        return True
    next_line = match.start() + 1
    if _STRUCTURE.match(text, next_line) or _STRUCTURE.match(text, line):
        return _STRUCTURE.match(text, next_line) is not None or not text[following].islower()
    if text[following].islower():
        return False
    # Wrapped text fills its lines; titles, lists, verses and chat do not.
    return _columns(text, line, match.start()) not in _WRAP_COLUMNS


def _columns(text: str, start: int, end: int) -> int:
    if end - start > _WRAP_COLUMNS.stop:
        return end - start
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text[start:end])


def _korean_end(text: str, start: int, match: re.Match[str]) -> bool:
    """The short way for nearly every Korean sentence: no abbreviation ends in Hangul, list letters stand in front."""
    at, end = match.span()
    return (
        end == at + 1
        and end < len(text)
        and text[at] in ".?!"
        and "가" <= text[at - 1] <= "힣"
        and at - start > _LIST_MARK
        and text[end].isspace()
    )


def _mark_ends(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether a run of terminators ends the sentence that began at `start`."""
    marks, end = match["marks"], match.end()
    if end == len(text):
        return True
    if not text[end].isspace():
        if marks[-1] in _FULL_WIDTH:
            return _ATTRIBUTION.match(text, end) is None
        before = text[match.start() - 1 : match.start()]
        return marks == "." and not match["closers"] and before in _KOREAN_END and "가" <= text[end] <= "힣"
    following = _NEXT_WORD.match(text, end)
    word = following[1] if following and following[1] else ""
    if (match["closers"] or "…" in marks or ".." in marks) and word[:1].islower():
        return False
    if match["closers"] and _ATTRIBUTION.match(word):
        return False
    return marks != "." or _period_ends(text, start, match, word)


def _period_ends(text: str, start: int, match: re.Match[str], word: str) -> bool:
    """Whether a single period before white space is more than the mark of an abbreviation or a number."""
    period = match.start()
    if match["closers"] or text[period - 1 : period].isspace():
        return True
    head = text[max(start, period - _LONGEST_WORD) : period].split()
    token = head[-1].lstrip("\"'“‘«([") if head else ""
    after = text[period + 1 : period + 16].lstrip()
    return not (
        (token.isdigit() and after[:1].isdigit())  # 2024. 3. 15.
        or (token.lower() == "no" and after[:1].isdigit())
        or token.lower() in _TITLES
        or (_begins(text, start, period - len(token)) and (_NUMBER.fullmatch(token) or _LIST_LETTER.fullmatch(token)))
        or (_abbreviated(token) and word not in _STARTERS and not "가" <= word[:1] <= "힣")
    )


def _begins(text: str, start: int, at: int) -> bool:
    return at - start <= _LONGEST_WORD and not text[start:at].strip()


def _abbreviated(token: str) -> bool:
    """An initial (J.), letters with periods between them (U.S.), or a known abbreviation (etc.)."""
    letters = token[::2].isalpha() and token[::2].isascii() and not token[1::2].strip(".")
    return token.lower() in _ABBREVIATIONS or (letters and (len(token) > 1 or token.isupper()))
