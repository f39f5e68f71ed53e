"""One query at a time over 4,000 short documents, warm and from a cold process, beside txtai 9 on the same texts.

`python -m benchmarks.query --peer-python PATH` where PATH is the Python of an environment with `txtai>=9,<10`; without
it only yusa is measured. Documents are the first lines of en-short, each with the vector of all-MiniLM-L6-v2 and of
multilingual-e5-small; queries have 12 tokens, special tokens and prompt not counted. Warm: turns of 20 queries, each
path once in a turn, models loaded. Cold: the time of a whole process, files in the system's cache. `--keep DIR` keeps
the indexes for the next run.

The bound beside multilingual-e5-small is what the query's matrix products take at the rate of 1,024 tokens at once, or
the reading of the layers' weights from memory, whichever takes longer; both rates are measured in every turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

import yusa
from benchmarks.checkpoints import minilm
from benchmarks.encode_cases import E5, MINILM, token_lengths
from benchmarks.limits import Shape, gemm_rate, read_rate
from benchmarks.peer import Peer
from benchmarks.report import data_directory, write
from benchmarks.text_sets import english
from benchmarks.turns import Bar, middle, ratios, table
from yusa.encoder.names import locate
from yusa.index import Index

DOCUMENTS, QUERIES, TOKENS, TURN, HITS = 4000, 200, 12, 20, 10
COLD_QUERY = "convert a pdf into markdown with a neural network"
MODELS = (MINILM, E5)
WHOLE, ENCODER, TXTAI = "hybrid", "encoder alone", "txtai"


def queries_of(lines: Sequence[str], encoder: yusa.Encoder, count: int, tokens: int) -> list[str]:
    """The beginnings of lines, cut between words, that have this many tokens; special ones not counted."""
    found: dict[str, None] = {}
    for start in range(0, len(lines), 256):
        beginnings = [
            " ".join(words[:size])
            for words in (line.split() for line in lines[start : start + 256])
            for size in range(1, min(len(words), tokens) + 1)
        ]
        starts = encoder.token_starts(beginnings)
        for text, own in zip(beginnings, starts, strict=True):
            if len(own) == tokens:
                found.setdefault(text)
        if len(found) >= count:
            break
    return list(found)[:count]


def bound_ms(shape: Shape, lengths: Sequence[int], flops: float, bytes_per_second: float) -> float:
    """The median over queries of the longer of computing and reading the weights once, in milliseconds."""
    stream = 4 * shape.weights / bytes_per_second
    return 1000 * statistics.median(max(shape.flops([length]) / flops, stream) for length in lengths)


def milliseconds(call: Callable[[str], object], queries: Sequence[str]) -> list[float]:
    times = []
    for query in queries:
        started = time.perf_counter()
        call(query)
        times.append((time.perf_counter() - started) * 1000)
    return times


def paths_of(index: Index, encoder: yusa.Encoder) -> dict[str, Callable[[str], object]]:
    return {
        "dense": lambda query: index.search(query, top_k=HITS, mode="dense"),
        "lexical": lambda query: index.search(query, top_k=HITS, mode="lexical"),
        WHOLE: lambda query: index.search(query, top_k=HITS, mode="hybrid"),
        "hybrid without snippets": lambda query: index.search_many([query], top_k=HITS, mode="hybrid", snippets=False),
        ENCODER: lambda query: encoder.encode_queries([query]),
    }


def warm(
    indexes: dict[str, Index], encoders: dict[str, yusa.Encoder], queries: dict[str, list[str]], peer: Peer | None
) -> dict[str, Any]:
    """Every path in turns of the same queries, and the bound beside multilingual-e5-small."""
    shape = Shape.read(locate(E5).directory)
    lengths = token_lengths(encoders[E5], [encoders[E5].query_prompt + query for query in queries[E5]])
    paths = {
        f"{model}, {name}": (call, queries[model])
        for model in MODELS
        for name, call in paths_of(indexes[model], encoders[model]).items()
    }
    for call, asked in paths.values():
        milliseconds(call, asked[:3])
    if peer is not None:
        peer.ask("search", queries=queries[MINILM][:3])
    turns: dict[str, list[list[float]]] = {name: [] for name in [*paths, *([TXTAI] if peer else [])]}
    bounds, gemms, reads = [], [], []
    for start in range(0, min(map(len, queries.values())), TURN):
        part = slice(start, start + TURN)
        for name, (call, asked) in paths.items():
            turns[name].append(milliseconds(call, asked[part]))
        if peer is not None:
            answer = peer.ask("search", queries=queries[MINILM][part])
            assert min(answer["hits"]) == HITS, answer["hits"]
            turns[TXTAI].append(answer["milliseconds"])
        gemms.append(gemm_rate(shape, tokens=1024, device="cpu", dtype=torch.float32))
        reads.append(read_rate("cpu"))
        bounds.append(bound_ms(shape, lengths[part], gemms[-1], reads[-1]))
    medians = {name: [statistics.median(times) for times in rows] for name, rows in turns.items()}
    result: dict[str, Any] = {
        "milliseconds": {
            name: {f"p{p}": round(float(np.percentile(np.concatenate(rows), p)), 2) for p in (50, 99)}
            for name, rows in turns.items()
        },
        "query_tokens": {E5: middle(lengths)},
        "gemm_gflops": middle([rate / 1e9 for rate in gemms], 1),
        "read_gb_per_second": middle([rate / 1e9 for rate in reads], 1),
        "bound_ms": middle(bounds, 2),
        "of_bound": {name: ratios(bounds, medians[f"{E5}, {name}"]) for name in (ENCODER, "dense", WHOLE)},
    }
    if peer is not None:
        result["of_txtai"] = {name: ratios(medians[TXTAI], medians[f"{MINILM}, {name}"]) for name in ("dense", WHOLE)}
    return result


def cold(indexes: dict[str, Path], peer_python: str | None, theirs: Path, rounds: int) -> dict[str, Any]:
    """Seconds of whole processes that answer one query; the first of each is thrown away."""
    commands = {
        model: [sys.executable, "-m", "yusa", "search", COLD_QUERY, "-i", str(path), "--format", "json"]
        for model, path in indexes.items()
    }
    if peer_python:
        script = Path(__file__).with_name("query_peer.py")
        commands[TXTAI] = [peer_python, "-P", "-W", "ignore", str(script), str(theirs), COLD_QUERY]
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            times[name].append(time.perf_counter() - started)
            if done.returncode:
                raise SystemExit(done.stderr)
    kept = {name: values[1:] for name, values in times.items()}
    return {
        "seconds": {name: middle(values, 3) for name, values in kept.items()},
        "of_txtai": {name: ratios(kept[TXTAI], kept[name]) for name in MODELS} if peer_python else {},
    }


def bars(result: dict[str, Any]) -> list[Bar]:
    def found(*keys: str) -> float | None:
        value: Any = result
        for key in (*keys, "median"):
            value = value.get(key, {})
        return value or None

    return [
        *(
            Bar(f"{MINILM}, {name}, warm p50 to txtai's", "<=", 0.35, found("warm", "of_txtai", name))
            for name in (WHOLE, "dense")
        ),
        *(
            Bar(f"{E5}, {name}, warm p50 to the bound", "<=", 1.3, found("warm", "of_bound", name))
            for name in (ENCODER, "dense", WHOLE)
        ),
        Bar(f"{MINILM}, cold process to txtai's", "<=", 0.10, found("cold", "of_txtai", MINILM)),
        Bar(f"{E5}, cold process to txtai's with {MINILM}", "<=", 0.18, found("cold", "of_txtai", E5)),
    ]


def printed(result: dict[str, Any]) -> str:
    rows = [[name, f"{row['p50']:.2f}", f"{row['p99']:.2f}"] for name, row in result["warm"]["milliseconds"].items()]
    seconds = result["cold"]["seconds"]
    cold_rows = [[name, *(f"{row[key]:.2f}" for key in ("median", "min", "max"))] for name, row in seconds.items()]
    return "\n\n".join(
        [
            table(["warm, milliseconds", "p50", "p99"], rows),
            table(["cold process, seconds", "median", "min", "max"], cold_rows),
            "\n".join(bar.line() for bar in bars(result)),
        ]
    )


def run(folder: Path, peer_python: str | None, *, rounds: int, documents: int = DOCUMENTS) -> dict[str, Any]:
    source = english(data_directory(), seed=0)
    file = data_directory() / "en-short" / "texts.txt"
    lines = file.read_text("utf-8").splitlines() if file.is_file() else source.texts
    lines = lines[:documents]
    encoders = {model: yusa.Encoder.load(model, device="cpu") for model in MODELS}
    queries = {model: queries_of(lines, encoders[model], QUERIES, TOKENS) for model in MODELS}
    places = {model: folder / model for model in MODELS}
    theirs = folder / "txtai"
    result: dict[str, Any] = {
        "documents": len(lines),
        "texts": source.origin,
        "queries": {model: len(asked) for model, asked in queries.items()},
        "threads": torch.get_num_threads(),
    }
    with ExitStack() as stack:
        indexes = {}
        for model, place in places.items():
            known = place.exists()
            with (yusa.open if known else yusa.create)(place, encoder=encoders[model]) as index:
                index.add([{"id": str(n), "text": line} for n, line in enumerate(lines)], source="en-short")
            indexes[model] = stack.enter_context(yusa.open(place, encoder=encoders[model]))
        peer = stack.enter_context(Peer(peer_python, "query_peer.py")) if peer_python else None
        if peer is not None:
            if not theirs.exists():
                texts = folder / "texts.json"
                texts.write_text(json.dumps(lines), encoding="utf-8")
                peer.ask("build", texts=str(texts), model=str(minilm().theirs), target=str(theirs))
            result["peer"] = peer.ask("about") | peer.ask("open", path=str(theirs))
        result["warm"] = warm(indexes, encoders, queries, peer)
    result["cold"] = cold(places, peer_python, theirs, rounds)
    result["bars"] = [bar.record() for bar in bars(result)]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="the Python of an environment with txtai 9")
    parser.add_argument("--rounds", type=int, default=5, help="cold processes of each")
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="what the bars are meant for is the default")
    parser.add_argument("--keep", type=Path, help="where the indexes are kept for the next run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        result = run(folder, given.peer_python, rounds=given.rounds, documents=given.documents)
    print(printed(result))
    print(write("query", result))


if __name__ == "__main__":
    main()
