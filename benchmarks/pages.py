"""Long pages: a page found by its best passage, beside the passages searched on their own and mapped to their pages.

`python -m benchmarks.pages` joins passages of a labelled set to pages of 2,000 to 20,000 characters. A page answers a
question if one of its passages does. Measured are nDCG@10 of pages indexed as documents ("pages") and of the passages'
own ranking, each page at the place of its first passage ("passages"), on held-out questions. Also measured: other ways
to score a page from its passages. `--keep DIR` keeps the indexes for the next run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import yusa
from benchmarks.quality import held_out, interval, ndcg, opened, read_queries, unpacked
from benchmarks.report import data_directory, write
from yusa.search.hit import Hit

SETS = ("ko-tydiqa-goldp",)
DEPTH = 200

SCORINGS: dict[str, Callable[[Sequence[float]], float]] = {
    "max": max,
    "mean of best 2": lambda scores: sum(scores[:2]) / 2,
    "best + half of second": lambda scores: scores[0] + (scores[1] / 2 if len(scores) > 1 else 0.0),
    "sum with decay 1/2^i": lambda scores: sum(score / 2**place for place, score in enumerate(scores)),
}


def pages_of(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Neighbouring passages joined to pages whose sizes are drawn evenly from 2,000 to 20,000 characters."""
    generator = np.random.default_rng(0)
    pages: dict[str, list[dict[str, Any]]] = {}
    current: list[dict[str, Any]] = []
    size, wanted = 0, int(generator.integers(2_000, 20_001))
    for row in rows:
        length = len(row["text"]) + 2
        if current and size + length > wanted:
            pages[f"page-{len(pages)}"] = current
            current, size, wanted = [], 0, int(generator.integers(2_000, 20_001))
        current.append(row)
        size += length
    pages[f"page-{len(pages)}"] = current
    return pages


def text_of(page: Sequence[dict[str, Any]]) -> str:
    parts = (f"{row['title']}\n{row['text']}" if row.get("title") else row["text"] for row in page)
    return "\n\n".join(parts)


def by_scoring(found: Sequence[Sequence[Hit]], score: Callable[[Sequence[float]], float]) -> list[list[str]]:
    """Pages ranked by a score of their passages among the first 200, the best first in each page."""
    ranked = []
    for hits in found:
        scores: dict[str, list[float]] = {}
        for hit in hits:
            scores.setdefault(hit.id, []).append(hit.score)
        ranked.append(sorted(scores, key=lambda id: -score(scores[id])))
    return ranked


def measure(dataset: Path, folder: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in unpacked(dataset, folder).read_text(encoding="utf-8").splitlines()]
    pages = pages_of(rows)
    page_of = {row["_id"]: id for id, page in pages.items() for row in page}
    qrels = {
        query: {page_of[document]: 1 for document, gain in gains.items() if gain > 0 and document in page_of}
        for query, gains in held_out(dataset).items()
    }
    texts = read_queries(dataset / "queries.jsonl")
    ids = [id for id in qrels if qrels[id]]
    questions = [texts[id] for id in ids]
    path = folder / f"{dataset.name}-pages"

    def scored(ranked: Sequence[Sequence[str]]) -> Any:
        return np.array([ndcg(list(found), qrels[id]) for id, found in zip(ids, ranked, strict=True)])

    with yusa.open(path) if path.exists() else yusa.create(path) as index:
        index.add([{"id": id, "text": text_of(page)} for id, page in pages.items()], source="pages")
        whole = scored(
            [[hit.id for hit in page] for page in index.search_many(questions, literal=True, snippets=False)]
        )
        found = index.search_many(questions, top_k=DEPTH, passages=True, literal=True, snippets=False)
    scorings = {name: round(float(scored(by_scoring(found, score)).mean()), 4) for name, score in SCORINGS.items()}
    with opened(dataset, folder, "multilingual-e5-small") as index:
        single = index.search_many(questions, top_k=DEPTH, literal=True, snippets=False)
    mapped = scored([list(dict.fromkeys(page_of[hit.id] for hit in page)) for page in single])
    return {
        "dataset": dataset.name,
        "pages": len(pages),
        "characters": [
            min(len(text_of(page)) for page in pages.values()),
            max(len(text_of(page)) for page in pages.values()),
        ],
        "queries": len(ids),
        "ndcg@10": {"pages": round(float(whole.mean()), 4), "passages": round(float(mapped.mean()), 4)},
        "difference": round(float((whole - mapped).mean()), 4),
        "interval": interval(whole - mapped),
        "scorings": scorings,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="where indexes are kept for the next run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        runs = []
        for name in SETS:
            runs.append(measure(data_directory() / name, folder))
            print(json.dumps(runs[-1], ensure_ascii=False), flush=True)
    print(write("pages", {"runs": runs}))


if __name__ == "__main__":
    main()
