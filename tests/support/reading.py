"""A reader that believes nothing: `python reading.py DIRECTORY SEED`, where DIRECTORY holds what `Shared` names.

Documents are made so that every part of one says which version of which document it is. A reader asks by every way
there is and checks that what comes back belongs together, and that it never sees less than it has seen before.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from stubs import StubEncoder

import yusa
from yusa.search.hit import Hit
from yusa.storage import View
from yusa.storage.filters import Compare
from yusa.text.analyzer import load_analyzer

DIMENSION = 16
DOCUMENTS = 60
GROUPS = 5
# Each is one term of the standard analyzer, which would take letters and digits apart.
WORDS = [f"kb{first}{second}f" for first in "dgjmq" for second in "adhkmq"]


class Shared:
    """What readers and the writer share: the index, the file that ends it all, the last commit acknowledged."""

    def __init__(self, directory: Path) -> None:
        self.index = directory / "index"
        self.stop = directory / "stop"
        path = directory / "acknowledged"
        if not path.exists():
            path.write_bytes(bytes(8))
        self.acknowledged = np.memmap(path, dtype=np.int64, shape=(1,))


def make_document(number: int, step: int) -> dict[str, Any]:
    """Version `step` of a document, which has two passages."""
    random = np.random.default_rng([number, step])
    words = random.choice(WORDS, size=8).tolist()
    text = f"d{number} step{step} {' '.join(words[:3])}. {' '.join(words[3:])}."
    return {"id": f"d{number}", "text": text, "step": step, "name": f"d{number}", "group": f"g{number % GROUPS}"}


def create(path: Path) -> yusa.Index:
    return yusa.create(path, encoder=StubEncoder(DIMENSION), passage_tokens=8, overlap=0)


class Reader:
    """One who reads again and again, by its own connection or one that threads share."""

    def __init__(self, shared: Shared, index: yusa.Index, seed: int) -> None:
        self._shared = shared
        self._index = index
        self._encoder = StubEncoder(DIMENSION)
        self._analyzer = load_analyzer("standard")
        self._random = np.random.default_rng(seed)
        self._sequence = 0
        self._steps: dict[str, int] = {}
        self.rounds = 0

    def read(self) -> None:
        """Read until the end."""
        while not self._shared.stop.exists():
            acknowledged = int(self._shared.acknowledged[0])
            with self._index._store.read() as view:
                assert view.sequence >= max(self._sequence, acknowledged), (view.sequence, self._sequence, acknowledged)
                self._sequence = view.sequence
                self._view(view)
            self._searches()
            self.rounds += 1

    def _view(self, view: View) -> None:
        """Within one commit everything agrees, to the document."""
        word, group = self._any(WORDS), f"g{self._random.integers(GROUPS)}"
        allowed = view.allowed(Compare("group", "=", group))
        query = self._encoder.encode_queries([word])
        term = {self._analyzer.terms(word)[0]: 1.0}
        _, dense = view.search(query, 8)
        _, filtered = view.search(query, 8, allowed)
        _, lexical = view.lexical([term], 8)
        _, both = view.lexical([term], 8, allowed)
        assert (filtered[0] >= 0).sum() == min(8, len(allowed.vector_ids))
        for holds, among, found in (
            (None, None, dense), (None, group, filtered), (word, None, lexical), (word, group, both),
        ):  # fmt: skip
            self._passages(view, found[0][found[0] >= 0].tolist(), holds, among)
        owners = {row.document for row in view.passages(allowed.vector_ids.tolist()).values()}
        counts = dict(view.facets("group"))
        assert sum(counts.values()) == view.document_count()
        assert counts.get(group, 0) == len(owners)
        assert dict(view.facets("group", allowed)) == ({group: len(owners)} if owners else {})
        assert view.live() == 2 * view.document_count()

    def _passages(self, view: View, vector_ids: list[int], word: str | None, group: str | None) -> None:
        passages = view.passages(vector_ids)
        assert len(passages) == len(vector_ids)
        documents = view.documents(row.document for row in passages.values())
        texts = []
        for vector_id in vector_ids:
            row = passages[vector_id]
            document = documents[row.document].document
            self._document(document.id, document.text, document.metadata)
            texts.append(document.text[row.start : row.end])
            assert word is None or word in _words(texts[-1])
            assert group in (None, document.metadata["group"])
        if texts:
            np.testing.assert_array_equal(view.vectors(vector_ids), self._encoder.encode_documents(texts))

    def _searches(self) -> None:
        """What a user gets: hits that are what they say."""
        word, group = self._any(WORDS), f"g{self._random.integers(GROUPS)}"
        query = self._encoder.encode_queries([word])[0].astype(np.float64)
        for mode in ("dense", "lexical", "hybrid"):
            where = f"group = '{group}'" if self._random.integers(2) else None
            for hit in self._index.search(word, top_k=5, mode=mode, where=where):
                self._hit(hit)
                assert where is None or hit.metadata["group"] == group
                assert mode != "lexical" or word in _words(hit.text)
                vector = self._encoder.encode_documents([hit.text])[0].astype(np.float64)
                if "dense" in hit.scores:
                    np.testing.assert_allclose(hit.scores["dense"], vector @ query, atol=1e-6)
        facets = self._index.facets("group", word, mode="lexical")
        assert {value for value, _ in facets} <= {f"g{number}" for number in range(GROUPS)}

    def _hit(self, hit: Hit) -> None:
        number, step = hit.metadata["name"], hit.metadata["step"]
        assert hit.id == number
        assert isinstance(step, int)
        text = make_document(int(hit.id[1:]), step)["text"]
        self._document(hit.id, text, hit.metadata)
        assert text[hit.passage.start : hit.passage.end] == hit.text

    def _document(self, id: str, text: str, metadata: Mapping[str, Any]) -> None:
        """All of it is one version, and none older than what was seen before."""
        step = metadata["step"]
        made = make_document(int(id[1:]), step)
        assert (made["text"], made["name"], made["group"]) == (text, metadata["name"], metadata["group"])
        assert step >= self._steps.get(id, 0), f"{id} went back from step {self._steps[id]} to {step}"
        self._steps[id] = step

    def _any(self, values: list[str]) -> str:
        return values[int(self._random.integers(len(values)))]


def _words(text: str) -> list[str]:
    return text.replace(".", "").split()


def main(directory: Path, seed: int) -> None:
    shared = Shared(directory)
    with yusa.open(shared.index, encoder=StubEncoder(DIMENSION)) as index:
        reader = Reader(shared, index, seed)
        print("open", flush=True)  # noqa: T201  # the test waits for it
        reader.read()
    print(reader.rounds, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
