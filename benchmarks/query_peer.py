"""txtai, asked over standard input by `benchmarks.query`, or once for a cold process: `query_peer.py INDEX QUERY`.
Imports nothing of yusa.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from txtai import Embeddings

HITS = 10


class Peer:
    """What it is asked to do, one method each."""

    def __init__(self) -> None:
        self._embeddings: Any = None

    def about(self) -> dict[str, Any]:
        import torch

        names = ("txtai", "sentence-transformers", "transformers", "torch", "faiss-cpu")
        return {**{name: version(name) for name in names}, "threads": torch.get_num_threads()}

    def build(self, texts: str, model: str, target: str) -> dict[str, Any]:
        """Index the texts, dense as by default and with their content, and save the index."""
        rows = json.loads(Path(texts).read_text("utf-8"))
        embeddings = Embeddings(path=model, content=True)
        embeddings.index((str(number), text, None) for number, text in enumerate(rows))
        embeddings.save(target)
        return {"count": embeddings.count()}

    def open(self, path: str) -> dict[str, Any]:
        self._embeddings = Embeddings()
        self._embeddings.load(path)
        return {"count": self._embeddings.count()}

    def search(self, queries: list[str]) -> dict[str, Any]:
        """Milliseconds of each query, and how many hits it had."""
        times, counts = [], []
        for query in queries:
            started = time.perf_counter()
            hits = self._embeddings.search(query, HITS)
            times.append((time.perf_counter() - started) * 1000)
            counts.append(len(hits))
        return {"milliseconds": times, "hits": counts}


def main() -> None:
    peer = Peer()
    if len(sys.argv) > 1:
        path, query = sys.argv[1:]
        peer.open(path)
        print(json.dumps(peer._embeddings.search(query, HITS)))
        return
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # Whatever a library prints must not stand among the answers
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(getattr(peer, request.pop("do"))(**request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
