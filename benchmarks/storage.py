"""Storage at 100,000 documents with ready vectors: `python -m benchmarks.storage`.

Ingest with three attributes and one 384-d passage each, opening, exact search with 1 % deleted and the last 20,000 in
the tail, peak memory, and beside it the same rows through plain sqlite3 (no attributes, hashes or foreign keys), and
ingest with every setting of SQLite's `synchronous`, of which yusa uses FULL, batch by batch in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import write
from yusa.text.analyzer import load_analyzer

if TYPE_CHECKING:
    from yusa.storage import Settings, Store

DOCUMENTS = 100_000
TAIL = 20_000
DIMENSION = 384
BATCH = 1000
QUERIES = 200
DURABILITY = 30_000
SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, help="where to make the index (default: a temporary directory)")
    parser.add_argument("--documents", type=int, default=DOCUMENTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        result = measure(Path(folder), documents=arguments.documents)
    print(json.dumps(result, indent=2))
    print(write("storage", result))


def measure(folder: Path, *, documents: int = DOCUMENTS) -> dict[str, Any]:
    """Every figure, as JSON values; seconds, bytes and milliseconds as named."""
    from yusa.storage import Store

    load_before = os.getloadavg()[0]
    result: dict[str, Any] = {"documents": documents, "dimension": DIMENSION, "batch": BATCH, "cores": os.cpu_count()}
    store = Store.create(folder / "index", settings(), load_analyzer)
    seconds, processor = _ingest(store, batches(documents - TAIL, seed=SEED))
    store.compact()
    store.close()
    result["open_first_seconds"] = round(_open_seconds(folder / "index"), 3)
    store = Store.open(folder / "index", load_analyzer)
    more_seconds, more_processor = _ingest(store, batches(TAIL, seed=SEED + 1, start=documents - TAIL))
    result["ingest_documents_per_second"] = round(documents / (seconds + more_seconds))
    result["ingest_processor_microseconds_per_document"] = round((processor + more_processor) / documents * 1e6, 1)
    with store.write() as writer:
        writer.delete([f"document-{i}" for i in range(0, documents, 100)])
    store.close()
    result["open_with_tail_seconds"] = round(_open_seconds(folder / "index"), 3)

    store = Store.open(folder / "index", load_analyzer)
    queries = vectors(QUERIES, np.random.default_rng(SEED + 2))
    times = []
    with store.read() as view:
        view.search(queries[:1], 10)
    for query in queries:
        started = time.perf_counter()
        with store.read() as view:
            view.search(query[None], 10)
        times.append((time.perf_counter() - started) * 1000)
    stats = store.stats()
    result |= {
        "searched_vectors": stats.passages,
        "tail": stats.tail,
        "deleted": stats.deleted,
        "search_p50_ms": round(float(np.percentile(times, 50)), 2),
        "search_p95_ms": round(float(np.percentile(times, 95)), 2),
        "index_bytes": stats.database_bytes + stats.segment_bytes,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "sqlite3_documents_per_second": round(documents / _plain_sqlite(folder / "plain.db", documents)),
        "documents_per_second_by_synchronous": _durability(folder, min(documents, DURABILITY)),
        "load_average_before": round(load_before, 2),
        "load_average_after": round(os.getloadavg()[0], 2),
    }
    store.close()
    return result


def settings() -> Settings:
    """Of an index whose vectors are made at random."""
    from yusa.storage import Settings

    return Settings(
        encoder="random",
        encoder_options={},
        fingerprint={},
        provenance={},
        dimension=DIMENSION,
        passage_tokens=256,
        overlap=32,
    )


def _ingest(store: Store, made: Iterable[list[Any]]) -> tuple[float, float]:
    """Wall and processor seconds from the first commit to the released lock, segments included."""
    seconds = processor = 0.0
    with store.write() as writer:
        for batch in made:
            started, used = time.perf_counter(), time.process_time()
            writer.put(batch)
            seconds += time.perf_counter() - started
            processor += time.process_time() - used
        started, used = time.perf_counter(), time.process_time()
    return seconds + time.perf_counter() - started, processor + time.process_time() - used


def _durability(folder: Path, documents: int) -> dict[str, int]:
    """What is paid for commits that survive a loss of power, in turn because a disk's mood changes."""
    from yusa.storage import Store

    levels = ["FULL", "NORMAL", "OFF"]
    seconds = dict.fromkeys(levels, 0.0)
    with ExitStack() as stack:
        writers = {}
        for level in levels:
            store = Store.create(folder / f"synchronous-{level}", settings(), load_analyzer)
            stack.callback(store.close)
            writers[level] = stack.enter_context(store.write())
            raw = writers[level]._connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            raw.execute(f"PRAGMA synchronous={level}")
        for number, batch in enumerate(batches(documents, seed=SEED)):
            for level in levels[number % 3 :] + levels[: number % 3]:
                started = time.perf_counter()
                writers[level].put(batch)
                seconds[level] += time.perf_counter() - started
    return {level: round(documents / taken) for level, taken in seconds.items()}


def vectors(count: int, generator: np.random.Generator) -> NDArray[np.float32]:
    rows = generator.standard_normal((count, DIMENSION), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def batches(count: int, *, seed: int, start: int = 0) -> Iterator[list[Any]]:
    """Entries with one passage and three attributes each; made outside the time that is measured."""
    from yusa.storage import Document, Entry, Passage

    generator = np.random.default_rng(seed)
    for first in range(start, start + count, BATCH):
        rows = vectors(min(BATCH, start + count - first), generator)
        yield [
            Entry(
                document=Document(
                    id=f"document-{number}",
                    text=f"The text of document {number}, as long as a sentence or two of everyday prose.",
                    metadata={"year": 1990 + number % 35, "lang": "ko" if number % 2 else "en", "score": number / 7},
                ),
                source="benchmark",
                content_hash=number.to_bytes(16, "little"),
                encoding_hash=generator.bytes(16),
                passages=(Passage(ordinal=0, start=0, end=80),),
                vectors=row[None],
            )
            for number, row in enumerate(rows, first)
        ]


def _open_seconds(path: Path) -> float:
    """From nothing to a view that can be searched, in this process (libraries imported)."""
    from yusa.storage import Store

    started = time.perf_counter()
    store = Store.open(path, load_analyzer)
    with store.read():
        seconds = time.perf_counter() - started
    store.close()
    return seconds


def _plain_sqlite(path: Path, documents: int) -> float:
    """Seconds for ids, texts and vectors alone, without attributes, hashes or sources."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE document (key INTEGER PRIMARY KEY, id TEXT UNIQUE, text TEXT)")
    connection.execute("CREATE TABLE passage (vector_id INTEGER PRIMARY KEY, document INTEGER, vector BLOB)")
    seconds = 0.0
    for batch in batches(documents, seed=SEED):
        started = time.perf_counter()
        rows = [(int(e.content_hash[0]), e.document.id, e.document.text, e.vectors) for e in batch]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO document (id, text) VALUES (?, ?)", [row[1:3] for row in rows])
        connection.executemany(
            "INSERT INTO passage (document, vector) VALUES (?, ?)",
            [(row[0], row[3].astype(np.float16).tobytes()) for row in rows],
        )
        connection.execute("COMMIT")
        seconds += time.perf_counter() - started
    connection.close()
    return seconds


if __name__ == "__main__":
    main()
