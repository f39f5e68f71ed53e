"""Search quality: nDCG@10 of dense search with the default encoder on a labelled set in BEIR's layout.

`python -m benchmarks.quality --dataset ko-tydiqa-goldp --split dev`
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import tempfile
import time
from pathlib import Path

import yusa
from benchmarks.report import data_directory, write

Qrels = dict[str, dict[str, int]]


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


def unpacked(dataset: Path, folder: Path) -> Path:
    """The corpus as plain JSONL."""
    plain, packed = dataset / "corpus.jsonl", dataset / "corpus.jsonl.gz"
    if plain.exists():
        return plain
    target = folder / "corpus.jsonl"
    target.write_bytes(gzip.decompress(packed.read_bytes()))
    return target


def measure(dataset: Path, split: str | None, encoder: str, pooling: str | None = None) -> dict[str, object]:
    qrels = read_qrels(dataset / (f"qrels.{split}.tsv" if split else "qrels.tsv"))
    questions = read_queries(dataset / "queries.jsonl")
    with tempfile.TemporaryDirectory() as folder:
        corpus = unpacked(dataset, Path(folder))
        with yusa.create(Path(folder) / "index", encoder=encoder, pooling=pooling) as index:  # type: ignore[arg-type]
            begun = time.perf_counter()
            report = index.add(yusa.read(corpus))
            taken = time.perf_counter() - begun
            ids = sorted(qrels)
            answers = index.search_many([questions[id] for id in ids], top_k=10)
            scores = [ndcg([hit.id for hit in hits], qrels[id]) for id, hits in zip(ids, answers, strict=True)]
    return {
        "dataset": dataset.name,
        "split": split,
        "encoder": encoder,
        "documents": report.added,
        "rejected": report.rejected,
        "passages": report.passages,
        "queries": len(ids),
        "ndcg@10": round(sum(scores) / len(scores), 4),
        "documents_per_second": round(report.added / taken, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", action="append", help="a set's folder name; may be given more than once")
    parser.add_argument("--split")
    parser.add_argument("--encoder", default="multilingual-e5-small")
    parser.add_argument("--pooling")
    arguments = parser.parse_args()
    sets = arguments.dataset or ["ko-tydiqa-goldp"]
    split = arguments.split or ("dev" if sets == ["ko-tydiqa-goldp"] else None)
    rows = []
    for name in sets:
        row = measure(data_directory() / name, split, arguments.encoder, arguments.pooling)
        rows.append(row)
        print(json.dumps(row, ensure_ascii=False), flush=True)
    print(write("quality", {"runs": rows}))


if __name__ == "__main__":
    main()
