"""Search quality on labelled sets in BEIR's layout: nDCG@10 of every mode with the default encoder.

`python -m benchmarks.quality` prints the table of four sets, held-out questions only. What was tuned (the analyzer, the
fusion and its weight) was tuned on TyDi's train questions and on those questions of the other sets the SHA-256 of whose
id begins with an even byte; reported are TyDi's dev questions and the other halves. `--keep DIR` keeps the indexes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import yusa
from benchmarks.report import data_directory, write
from yusa.encoder.base import Pooling
from yusa.index import Index
from yusa.search import significance
from yusa.search.searcher import MODES, Mode

Qrels = dict[str, dict[str, int]]
SETS = ("ko-tydiqa-goldp", "ko-klue-mrc-lead", "ko-parakqc", "en-cranfield")
AT_ONCE = 64


def ndcg(ranked: list[str], gains: dict[str, int], cut: int = 10) -> float:
    """nDCG@cut with linear gains and a log2 discount, as trec_eval's `ndcg_cut` (Järvelin and Kekäläinen, 2002)."""
    found = sum(gains.get(id, 0) / math.log2(rank + 2) for rank, id in enumerate(ranked[:cut]))
    best = sum(gain / math.log2(rank + 2) for rank, gain in enumerate(sorted(gains.values(), reverse=True)[:cut]))
    return found / best if best else 0.0


def read_qrels(path: Path) -> Qrels:
    qrels: Qrels = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        query, document, gain = line.split("\t")
        qrels.setdefault(query, {})[document] = int(gain)
    return qrels


def read_queries(path: Path) -> dict[str, str]:
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {row["_id"]: row["text"] for row in rows}


def held_out(dataset: Path, *, tuning: bool = False) -> Qrels:
    """The questions of a set that nothing was tuned on, or with `tuning` the others."""
    if (dataset / "qrels.dev.tsv").exists():
        return read_qrels(dataset / ("qrels.train.tsv" if tuning else "qrels.dev.tsv"))
    qrels = read_qrels(dataset / "qrels.tsv")
    return {id: gains for id, gains in qrels.items() if (hashlib.sha256(id.encode()).digest()[0] % 2 == 0) is tuning}


def unpacked(dataset: Path, folder: Path) -> Path:
    """The corpus as plain JSONL."""
    plain, packed = dataset / "corpus.jsonl", dataset / "corpus.jsonl.gz"
    if plain.exists():
        return plain
    target = folder / f"{dataset.name}.jsonl"
    target.write_bytes(gzip.decompress(packed.read_bytes()))
    return target


def opened(dataset: Path, folder: Path, encoder: str, pooling: Pooling | None = None) -> Index:
    """The index of a set's corpus, made if it is not there."""
    path = folder / dataset.name
    if path.exists():
        return yusa.open(path)
    index = yusa.create(path, encoder=encoder, pooling=pooling)
    begun = time.perf_counter()
    report = index.add(yusa.read(unpacked(dataset, folder)))
    print(f"{dataset.name}: {report.added} documents in {time.perf_counter() - begun:.0f} s", flush=True)
    return index


def scores(index: Index, dataset: Path, qrels: Qrels, mode: Mode) -> NDArray[np.float64]:
    """nDCG@10 of each question, in the order of `qrels`."""
    questions = read_queries(dataset / "queries.jsonl")
    ids = list(qrels)
    found = []
    for start in range(0, len(ids), AT_ONCE):
        texts = [questions[id] for id in ids[start : start + AT_ONCE]]
        found += index.search_many(texts, top_k=10, mode=mode, literal=True, snippets=False)
    return np.array([ndcg([hit.id for hit in hits], qrels[id]) for id, hits in zip(ids, found, strict=True)])


def interval(differences: NDArray[np.float64]) -> list[float]:
    """The 95 % interval of the mean, as `yusa eval` has it."""
    low, high = significance.interval(differences)
    return [round(low, 4), round(high, 4)]


def measure(dataset: Path, folder: Path, encoder: str, pooling: Pooling | None, *, tuning: bool) -> dict[str, Any]:
    qrels = held_out(dataset, tuning=tuning)
    with opened(dataset, folder, encoder, pooling) as index:
        by_mode = {mode: scores(index, dataset, qrels, mode) for mode in MODES}
        stats = index.stats()
    better = max((by_mode["dense"], by_mode["lexical"]), key=lambda values: float(values.mean()))
    return {
        "dataset": dataset.name,
        "questions": "tuning" if tuning else "held out",
        "queries": len(qrels),
        "documents": stats.documents,
        "passages": stats.passages,
        "ndcg@10": {mode: round(float(values.mean()), 4) for mode, values in by_mode.items()},
        "hybrid_minus_better": round(float((by_mode["hybrid"] - better).mean()), 4),
        "interval": interval(by_mode["hybrid"] - better),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", action="append", help="a set's folder name; may be given more than once")
    parser.add_argument("--tuning", action="store_true", help="the questions that choices were made on, instead")
    parser.add_argument("--encoder", default="multilingual-e5-small")
    parser.add_argument("--pooling")
    parser.add_argument("--keep", type=Path, help="where indexes are kept for the next run")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.dataset or SETS:
            row = measure(
                data_directory() / name, folder, arguments.encoder, arguments.pooling, tuning=arguments.tuning
            )
            rows.append(row)
            print(json.dumps(row, ensure_ascii=False), flush=True)
    means = {mode: round(float(np.mean([row["ndcg@10"][mode] for row in rows])), 4) for mode in MODES}
    print(json.dumps({"mean": means}))
    if not arguments.tuning and arguments.dataset is None:
        print(write("quality", {"encoder": arguments.encoder, "runs": rows, "mean": means}))


if __name__ == "__main__":
    main()
