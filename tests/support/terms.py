"""A keyword analyzer for tests that need none of Korean: the words of a text, case folded."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")


class Words:
    """Terms are words."""

    name = "standard"

    def __init__(self, identity: str = "words/1") -> None:
        self.identity = identity

    def terms(self, text: str) -> list[str]:
        return _WORD.findall(text.casefold())


def words(name: str) -> Words:
    """What a store is opened with."""
    return Words()
