"""The last step of a query: the rows, snippets and marks of the hits that are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from yusa.search.candidates import Candidate
from yusa.search.highlight import Analyze, Encode, matches, nearest_snippets, snippet
from yusa.search.hit import Hit, Neighbour, PassageRef
from yusa.storage.records import DocumentRow, PassageRow
from yusa.text.analyzer import Analyzer
from yusa.text.terms import bigrams

if TYPE_CHECKING:
    from yusa.storage.filters import Filter
    from yusa.storage.view import View

_PARTICLES: Final = frozenset("은는이가을를의에도")


@dataclass(frozen=True, slots=True)
class Shown:
    """What the pages show, read in one view.

    Attributes:
        documents: by key.
        neighbours: by the vector id of the passage they belong to.
    """

    documents: Mapping[int, DocumentRow]
    neighbours: Mapping[int, Sequence[PassageRow]]

    @classmethod
    def read(cls, view: View, pages: Iterable[Sequence[Candidate]], tree: Filter | None, *, context: int = 0) -> Shown:
        """Everything of the candidates of some pages, which passed `tree`; `context` passages before and after each."""
        found = [candidate for page in pages for candidate in page]
        documents = view.documents(
            {candidate.passage.document for candidate in found} | {key for one in found for key in one.hidden}
        )
        if tree is not None:
            view.require_passing(tree, documents.values())
        neighbours = {}
        for passage in (candidate.passage for candidate in found) if context else ():
            near = range(passage.ordinal - context, passage.ordinal + context + 1)
            neighbours[passage.vector_id] = [
                other
                for other in view.passages_of(passage.document)
                if other.ordinal in near and other.ordinal != passage.ordinal
            ]
        return cls(documents, neighbours)

    def text(self, passage: PassageRow) -> str:
        """A passage's text."""
        return self.documents[passage.document].document.text[passage.start : passage.end]

    def texts(self, page: Sequence[Candidate]) -> list[str]:
        """What a reranker judges: each passage's text under its document's title."""
        titles = [self.documents[one.passage.document].document.title for one in page]
        texts = [self.text(one.passage) for one in page]
        return [f"{title}\n{text}" if title else text for title, text in zip(titles, texts, strict=True)]


def hits_of(
    page: Sequence[Candidate],
    shown: Shown,
    query: str,
    vector: NDArray[np.float32] | None,
    analyzer: Analyzer,
    word_terms: Analyze,
    encode: Encode | None,
    *,
    offset: int,
) -> list[Hit]:
    """The hits of one page.

    Args:
        vector: float32 (dimension,), the query's, where there is one.
        word_terms: the analyzer's terms of a word, from `remembered_words`.
        encode: finds the sentence to show of a hit that shares no word with the query; without it the first is shown.
    """
    terms = frozenset(marked_terms(query, analyzer))
    shares = frozenset(bigrams(query))
    texts = [shown.text(one.passage) for one in page]
    snippets = [snippet(shares, text) for text in texts]
    silent = [number for number, span in enumerate(snippets) if span is None]
    without = np.zeros(0, dtype=np.float32)
    found = nearest_snippets(
        without if vector is None else vector, [texts[n] for n in silent], None if vector is None else encode
    )
    for number, span in zip(silent, found, strict=True):
        snippets[number] = span
    return [
        _hit(offset + number, one, text, span or (0, 0), matches(terms, text, word_terms), shown)
        for number, (one, text, span) in enumerate(zip(page, texts, snippets, strict=True), 1)
    ]


def bare_hits(page: Sequence[Candidate], shown: Shown, *, offset: int) -> list[Hit]:
    """The hits of one page without snippets and marked words."""
    return [
        _hit(offset + number, one, shown.text(one.passage), (0, 0), (), shown) for number, one in enumerate(page, 1)
    ]


def _hit(
    rank: int,
    candidate: Candidate,
    text: str,
    span: tuple[int, int],
    marks: tuple[tuple[int, int], ...],
    shown: Shown,
) -> Hit:
    passage = candidate.passage
    row = shown.documents[passage.document]
    return Hit(
        rank=rank,
        id=row.document.id,
        score=candidate.score,
        title=row.document.title,
        text=text,
        highlights=marks,
        metadata=row.document.metadata,
        passage=PassageRef(passage.ordinal, passage.start, passage.end),
        scores=candidate.scores,
        source=row.source,
        snippet=span,
        ranks=candidate.ranks,
        context=tuple(
            Neighbour(other.ordinal, other.start, other.end, row.document.text[other.start : other.end])
            for other in shown.neighbours.get(passage.vector_id, ())
        ),
        collapsed=tuple(
            shown.documents[key].document.id for key in dict.fromkeys(candidate.hidden) if key != passage.document
        ),
    )


def marked_terms(query: str, analyzer: Analyzer) -> Iterator[str]:
    """The query's terms worth marking: no syllables of longer words, and not what joins a word to its particle.

    Of 초콜릿을 the pair 릿을 is left out, or it would be marked in 태블릿을.
    """
    words = set(query.split())
    joints = {word[-2:] for word in words if len(word) > 2 and word[-1] in _PARTICLES}
    for term in analyzer.query_terms(query):
        if (len(term) > 1 and term not in joints) or not "가" <= term[0] <= "힣" or term in words:
            yield term
