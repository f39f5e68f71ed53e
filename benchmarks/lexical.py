"""Keyword analyzers side by side: BM25's nDCG@10 over whole documents, and documents analyzed a second.

`python -m benchmarks.lexical` prints the table of four sets, the questions that the analyzer was chosen on and those it
was not (see benchmarks/quality.py). Kiwi takes part where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality import SETS, Qrels, held_out, ndcg, read_queries, unpacked
from benchmarks.report import data_directory, write
from yusa.storage.blocks import keyword_text
from yusa.storage.bm25 import Keywords, LiveBlock
from yusa.storage.postings import build
from yusa.text.analyzer import load_analyzer
from yusa.text.terms import bigrams

Terms = Callable[[str], list[str]]


class Source:
    """Any function from a text to its terms as what postings are built from."""

    identity = "benchmark"

    def __init__(self, terms: Terms) -> None:
        self.terms = terms


def analyzers() -> dict[str, Terms]:
    found: dict[str, Terms] = {
        "words between spaces": lambda text: text.lower().split(),
        "character bigrams": bigrams,
        "standard": load_analyzer("standard").terms,
    }
    if importlib.util.find_spec("kiwipiepy"):
        found["kiwi"] = load_analyzer("kiwi").terms
    return found


def mean_ndcg(keywords: Keywords, ids: list[str], questions: dict[str, str], qrels: Qrels, terms: Terms) -> float:
    values = []
    for query, gains in qrels.items():
        _, found = keywords.best(keywords.scores(Counter(terms(questions[query]))), 10, None)
        values.append(ndcg([ids[i] for i in found.tolist() if i >= 0], gains))
    return round(float(np.mean(values)), 4)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in SETS:
            dataset = data_directory() / name
            lines = unpacked(dataset, Path(folder)).read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines]
            texts = [keyword_text(row.get("title"), row["text"]) for row in rows]
            ids = [row["_id"] for row in rows]
            questions = read_queries(dataset / "queries.jsonl")
            for analyzer, terms in analyzers().items():
                begun = time.perf_counter()
                keywords = Keywords(1, [LiveBlock(build(range(len(texts)), texts, Source(terms)))])
                taken = time.perf_counter() - begun
                runs.append(
                    {
                        "dataset": name,
                        "analyzer": analyzer,
                        "tuning": mean_ndcg(keywords, ids, questions, held_out(dataset, tuning=True), terms),
                        "held_out": mean_ndcg(keywords, ids, questions, held_out(dataset), terms),
                        "documents_per_second": round(len(texts) / taken),
                    }
                )
                print(json.dumps(runs[-1], ensure_ascii=False), flush=True)
    print(write("lexical", {"runs": runs}))


if __name__ == "__main__":
    main()
