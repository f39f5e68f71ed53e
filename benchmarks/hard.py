"""The hard Korean lexical cases among real passages: share of right documents in the top 3, by mode and kind of case.

`python -m benchmarks.hard` searches every set `tests/search/hard_lexical*.jsonl` among the passages of three labelled
sets. BM25 on words between spaces is the baseline. `--keep DIR` keeps the index for the next run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yusa
from benchmarks.quality import unpacked
from benchmarks.report import data_directory, write
from yusa.search.searcher import MODES
from yusa.storage.bm25 import Keywords, LiveBlock
from yusa.storage.postings import build

TOP = 3
CASES = Path(__file__).parents[1] / "tests" / "search"
CORPORA = {"ko-tydiqa-goldp": None, "ko-klue-mrc-lead": None, "ko-parakqc": 3000}


class Words:
    """Words between spaces, lower-cased: the baseline."""

    identity = "words"

    def terms(self, text: str) -> list[str]:
        return text.lower().split()


def rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The documents that cases are hidden among."""
    for name, count in CORPORA.items():
        lines = unpacked(data_directory() / name, folder).read_text(encoding="utf-8").splitlines()[:count]
        for row in map(json.loads, lines):
            yield {"id": f"{name}/{row['_id']}", "title": row.get("title"), "text": row["text"]}


def shares(cases: list[dict[str, Any]], found: list[list[str]]) -> dict[str, Any]:
    right = Counter[str]()
    for case, ids in zip(cases, found, strict=True):
        right[case["category"]] += case["document"]["id"] in ids
    totals = Counter(case["category"] for case in cases)
    return {
        "share": round(right.total() / len(cases), 4),
        "by_category": {name: f"{right[name]}/{count}" for name, count in totals.items()},
    }


def baseline(documents: list[dict[str, Any]], cases: list[dict[str, Any]]) -> list[list[str]]:
    texts = [f"{row['title']}\n{row['text']}" if row["title"] else row["text"] for row in documents]
    keywords = Keywords(1, [LiveBlock(build(range(len(texts)), texts, Words()))])
    answers = []
    for case in cases:
        _, ids = keywords.best(keywords.scores(Counter(Words().terms(case["query"]))), TOP, None)
        answers.append([documents[i]["id"] for i in ids.tolist() if i >= 0])
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="where the index is kept for the next run")
    arguments = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        sets = {
            path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            for path in sorted(CASES.glob("hard_lexical*.jsonl"))
        }
        others = list(rows(folder))
        hidden = [case["document"] for cases in sets.values() for case in cases]
        path = folder / "hard"
        with yusa.open(path) if path.exists() else yusa.create(path) as index:
            index.add([*others, *hidden], source="hard")
            result["passages"] = index.stats().passages
            for name, cases in sets.items():
                queries = [case["query"] for case in cases]
                result[name] = {"words": shares(cases, baseline([*others, *hidden], cases))}
                for mode in MODES:
                    hits = index.search_many(queries, top_k=TOP, mode=mode, snippets=False)
                    result[name][mode] = shares(cases, [[hit.id for hit in page] for page in hits])
                print(json.dumps({name: result[name]}, ensure_ascii=False, indent=1), flush=True)
    print(write("hard", result))


if __name__ == "__main__":
    main()
