"""The keyword analyzer with Korean morphemes beside syllables, for the extra `kiwi`."""

from __future__ import annotations

from functools import cache
from typing import Final

from yusa.errors import MissingDependencyError
from yusa.text.analyzer import StandardAnalyzer

# Nouns, roots, verbs, adjectives; what carries meaning in the Sejong tag set that Kiwi uses.
_CONTENT: Final = ("NN", "NR", "XR", "VV", "VA", "MAG")
_MARK: Final = "/"


class KiwiAnalyzer(StandardAnalyzer):
    """What `StandardAnalyzer` gives and the content morphemes that Kiwi finds, so that 도우니 meets 돕다.

    Morphemes are marked, so that they are never taken for words or syllables of the text. What a phrase requires is
    what `StandardAnalyzer` says, since the morphemes of a part need not be those of the whole.
    """

    name = "kiwi"

    def __init__(self) -> None:
        super().__init__()
        try:
            import kiwipiepy
        except ImportError as error:
            raise MissingDependencyError(
                "the keyword analyzer 'kiwi' needs the package kiwipiepy: pip install 'yusa[kiwi]'"
            ) from error
        self.identity = f"kiwi/1 {kiwipiepy.__version__}"
        self._kiwi = kiwipiepy.Kiwi(num_workers=1)

    def terms(self, text: str) -> list[str]:
        return super().terms(text) + [
            f"{_MARK}{token.form}" for token in self._kiwi.tokenize(text) if token.tag.startswith(_CONTENT)
        ]


@cache
def load() -> KiwiAnalyzer:
    """The analyzer, made once.

    Raises:
        MissingDependencyError: kiwipiepy is not installed.
    """
    return KiwiAnalyzer()
