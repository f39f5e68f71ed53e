"""The first right answer of an index whose writer was killed in the middle of a merge: `python -m benchmarks.opening`.

An index of a million documents with one 384-d passage each, 20,000 of them in the tail, is merged by a process that is
killed while the new segment's vectors are being written. Then fresh processes, one for each mode, open it and answer;
seconds count from the start of the process and from `open`: at first, again, with no record of which files were
verified, and with the files not in the system's memory. A dense answer is right if it is that of brute force over the
database's rows, a lexical one if it is the one document with the number asked for, a hybrid one if it has both.
`--keep DIR` keeps the index for the next run.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import write
from benchmarks.storage import BATCH, DIMENSION, SEED, TAIL, batches, settings
from yusa.text.analyzer import load_analyzer

VECTORS = 1_000_000
MODES = ("dense", "lexical", "hybrid")
TOP = 10
BAR = 3.0


class Hashing:
    """An encoder that takes no time: a text's vector is made from its digest."""

    name = "random"
    dimension = DIMENSION

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") for text in texts]
        rows: NDArray[np.float64] = np.array([np.random.default_rng(seed).standard_normal(DIMENSION) for seed in seeds])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows.astype(np.float32)

    encode_documents = encode_queries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=VECTORS)
    parser.add_argument("--keep", type=Path, help="where the index is kept for the next run")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        job, path, *rest = arguments.child
        _JOBS[job](Path(path), *rest)
        return
    with tempfile.TemporaryDirectory() as temporary:
        path = (arguments.keep or Path(temporary)) / f"opening-{arguments.vectors}"
        result = measure(path, arguments.vectors, Path(temporary))
    print(json.dumps(result, indent=1))
    print(write("opening", result))


def measure(path: Path, count: int, temporary: Path) -> dict[str, Any]:
    """Every figure, as JSON values; times in seconds.

    Raises:
        SystemExit: an answer was wrong.
    """
    result: dict[str, Any] = {
        "vectors": count,
        "dimension": DIMENSION,
        "load_average_before": round(os.getloadavg()[0], 2),
    }
    if not path.exists():
        result["build"] = round(_build(path, count), 1)
    result["killed"] = _kill_in_merge(path)
    number = count // 2 + 1  # not one of those that are deleted to make a merge necessary
    query = f"document {number}"
    dense = nearest(path, Hashing().encode_queries([query])[0], TOP)
    right: dict[str, Callable[[list[str]], bool]] = {
        "dense": lambda ids: ids == dense,
        "lexical": lambda ids: ids[0] == f"document-{number}",
        "hybrid": lambda ids: {dense[0], f"document-{number}"} <= set(ids),
    }
    for turn, cache in (
        ("first", path.parent / "cache"),
        ("again", path.parent / "cache"),
        ("no_cache", temporary),
        ("not_in_memory", path.parent / "cache"),
    ):
        result[turn] = {}
        for mode in MODES:
            # `no_cache` has what remembers which files were verified empty for every mode: all of them are read.
            if turn == "not_in_memory":
                _forget(path)
            found = _child("search", path, mode, query, cache=cache if turn != "no_cache" else cache / mode)
            if not right[mode](found.pop("ids")):
                raise SystemExit(f"{mode}: the {turn} answer is wrong")
            result[turn][mode] = found
    result["next_writer"] = _child("write", path, cache=path.parent / "cache")
    for turn in ("first", "not_in_memory"):
        result[f"first_right_answer_{turn}"] = max(found["from_start"] for found in result[turn].values())
    result["bar"] = BAR
    result["load_average_after"] = round(os.getloadavg()[0], 2)
    return result


def _build(path: Path, count: int) -> float:
    from yusa.storage import Store

    started = time.perf_counter()
    making = path.with_name(f"{path.name}.making")
    store = Store.create(making, settings(), load_analyzer)
    for seed, first, number in ((SEED, 0, count - TAIL), (SEED + 1, count - TAIL, TAIL)):
        with store.write() as writer:
            for batch in batches(number, seed=seed, start=first):
                writer.put(batch)
        if not first:
            store.compact()
    store.close()
    making.rename(path)
    return time.perf_counter() - started


def _merge(path: Path) -> None:
    """Make every segment hold a dead vector, so that compaction must write all of them anew, and begin with that."""
    from yusa.storage import Store

    store = Store.open(path, load_analyzer)
    with store._readers.connection() as connection:
        firsts = connection.execute(
            "SELECT document.id FROM segment JOIN passage ON vector_id = (SELECT min(vector_id) FROM passage "
            "WHERE vector_id BETWEEN first_id AND last_id) JOIN document ON document.key = passage.document"
        )
        ids = [id for (id,) in firsts]
    with store.write() as writer:
        writer.delete(ids)
    print("merging", flush=True)
    store.compact()
    raise SystemExit("the merge was over before it could be killed")


def _kill_in_merge(path: Path) -> dict[str, Any]:
    """Kill a merge when a part of the new segment's vectors stands in its file."""
    largest = max(file.stat().st_size for file in (path / "segments").glob("*.faiss"))
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.opening", "--child", "merge", str(path)],
        env=os.environ | {"YUSA_CACHE": str(path.parent / "cache")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    if process.stdout.readline() != "merging\n":
        raise SystemExit("the merge did not begin")
    while process.poll() is None:
        sizes = [_size(file) for file in (path / "segments").glob(".*.faiss.tmp")]
        if sizes and max(sizes) > largest // 4:
            break
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = [_size(file) for file in (path / "segments").glob(".*.tmp")]
    if process.returncode != -signal.SIGKILL or not left or left[0] >= largest:
        raise SystemExit(f"the merge was not killed in the middle (status {process.returncode}, files {left})")
    return {
        "written_bytes": left[0],
        "segment_bytes": largest,
        "segments": len(list((path / "segments").glob("*.ids"))),
        "database_bytes": _size(path / "index.db"),
        "wal_bytes": _size(path / "index.db-wal"),
    }


def _forget(path: Path) -> None:
    """Have the system drop the files from memory, as after a start of the machine."""
    for file in path.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def nearest(path: Path, query: NDArray[np.float32], count: int) -> list[str]:
    """The definition: inner products in double precision over the rows of the database, ties by the smaller id."""
    connection = sqlite3.connect(f"{(path / 'index.db').absolute().as_uri()}?mode=ro", uri=True)
    rows = connection.execute(
        "SELECT vector_id, vector, id FROM passage JOIN document ON document.key = passage.document"
    )
    best: list[tuple[float, int, str]] = []
    while block := rows.fetchmany(10_000):
        vectors = np.frombuffer(b"".join(row[1] for row in block), dtype="<f2").reshape(len(block), -1)
        scores = (vectors.astype(np.float64) @ query.astype(np.float64)).astype(np.float32).tolist()
        best = heapq.nlargest(
            count, [*best, *((score, -row[0], row[2]) for score, row in zip(scores, block, strict=True))]
        )
    connection.close()
    return [id for _, _, id in best]


def _child(job: str, path: Path, *arguments: str, cache: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.opening", "--child", job, str(path), *arguments, str(time.time())]
    done = subprocess.run(
        command, env=os.environ | {"YUSA_CACHE": str(cache)}, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _search(path: Path, mode: str, query: str, started: str) -> None:
    """Open and answer; printed with the seconds since the process was started and since `open`."""
    from yusa.search.searcher import Searcher
    from yusa.storage import Store

    opened = time.time()
    store = Store.open(path, load_analyzer)
    searcher = Searcher(store, Hashing, load_analyzer("standard"), store.constraints)  # type: ignore[arg-type]
    hits = searcher.search([query], mode=mode, top_k=TOP)[0]
    answered = time.time()
    searcher.search([query], mode=mode, top_k=TOP)
    print(
        json.dumps(
            {
                "from_start": round(answered - float(started), 3),
                "from_open": round(answered - opened, 3),
                "second_search": round(time.time() - answered, 3),
                "ids": [hit.id for hit in hits],
            }
        )
    )


def _write(path: Path, started: str) -> None:
    """What the next writer waits for: the files' check, the sweep, its commit, and what has to be rebuilt."""
    from yusa.storage import Store

    store = Store.open(path, load_analyzer)
    opened = time.time()
    with store.write() as writer:
        begun = time.time()
        writer.delete(["no such document"])
        writer.put(next(batches(1, seed=SEED + 3, start=10**9 // BATCH * BATCH)))
        committed = time.time()
    print(
        json.dumps(
            {
                "open_from_start": round(opened - float(started), 3),
                "lock_and_sweep": round(begun - opened, 3),
                "commit": round(committed - begun, 3),
                "release": round(time.time() - committed, 3),
                "left": len(list((path / "segments").glob(".*"))),
            }
        )
    )


_JOBS: dict[str, Callable[..., None]] = {"merge": _merge, "search": _search, "write": _write}


if __name__ == "__main__":
    main()
