"""Texts to vectors: yusa beside sentence-transformers, plain transformers and the machine's own limit, in turn.

`python -m benchmarks.encode --peer-python PATH` where PATH is the Python of an environment with
`sentence-transformers>=6`; without it only yusa and the limits are measured, and no figure counts, for want of a gate.
On a GPU where there is one, else on the CPU; the sets are made as large as `--seconds` allows. The peer process lives
as long as the run and works only when asked. What is timed is the call with a list of texts until the vectors are in
the host's memory, models loaded and warmed. `--tiny` is a run of seconds on a small random model; it writes nothing.

A row's limit is `torch.nn.functional.linear` on the model's four matrix shapes, measured before each round; "of limit"
is the work a text needs (benchmarks/limits.py) by the time it took, over that. Best is the batch size that a sweep
finds, then timed anew.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

import yusa
from benchmarks.encode_cases import CASES, TINY_CASES, Case, Workshop, padding, token_lengths
from benchmarks.encode_report import BEST, DEFAULT, OURS, PLAIN, bars, compare, printed, row
from benchmarks.limits import copy_rate, gemm_rate, read_rate, tokenizer_rate
from benchmarks.peer import Peer
from benchmarks.report import data_directory, write
from benchmarks.turns import Budget, in_turns
from yusa.encoder.base import Pooling

NO_PROMPTS = {"query": "", "document": ""}
REFERENCE = "sentence-transformers float32 default"


class Bench:
    """One run on one device."""

    def __init__(self, folder: Path, *, device: str, peer: Peer | None, budget: Budget, tiny: bool) -> None:
        self.workshop = Workshop(folder, folder if tiny else data_directory())
        self._folder, self._device, self._peer, self._budget, self._tiny = folder, device, peer, budget, tiny
        self._gpu = device.startswith("cuda")
        self._dtypes = ["float16", "float32"] if self._gpu else ["float32"]
        self._loaded: tuple[str, str] | None = None
        self._encoders: dict[str, yusa.Encoder] = {}
        self._rate = 0.0
        self._pause = 0.01 if tiny else 0.3
        self.invariance: dict[str, float] = {}
        self.tokenizers: dict[str, float] = {}
        self.attention: dict[str, str] = {}

    def case(self, case: Case, weights: Sequence[float]) -> dict[str, Any]:
        """The figures of one case within its share of the time left, or why there are none."""
        model = self.workshop.model(case)
        encoder = self._load(case)
        shape = model.shape
        share = self._budget.share(weights)
        peers = 0 if self._peer is None else 3
        # Rounds of ours and the peers, which take about twice as long, and the sweep.
        cost = 3 * (1 + 1.8 * peers) + (1.8 * (1 + len(case.sweep)) if peers else 0)
        most = 400_000 if self._gpu else 24 if self._tiny else 4_000
        texts = self.workshop.texts(case, encoder, self._rate * share / cost, most)
        lengths = token_lengths(encoder, texts)
        floor = 2 * sum(lengths) / self._rate * (1 + 1.5 * peers)
        if floor > self._budget.left:
            return {"left_out": f"needs about {floor:.0f} s, {max(self._budget.left, 0):.0f} s are left"}
        limits: list[float] = []
        found: dict[str, NDArray[np.float32]] = {}
        paths: dict[str, Callable[[], float]] = {OURS: self._ours(texts, self._dtypes[0], found, limits, model.shape)}
        result: dict[str, Any] = {"set": self.workshop.origin(case)}
        started = time.perf_counter()
        if self._gpu:
            paths["yusa float32"] = self._ours(texts, "float32", found)
        if self._peer is not None:
            paths |= self._peers(case, texts, result)
        left = share - (time.perf_counter() - started)
        times = in_turns(paths, seconds=left, least=2, most=2 if self._tiny else 7)
        gate = self._gate(found[self._dtypes[0]]) if self._peer is not None else None
        if self._peer is not None and case.set == "en-short":
            times["transformers as given"] = [self._plain(case, result.get("best_batch"), sort=False)()]
        result |= row(times, lengths, shape.flops(lengths), limits, gate)
        result["padding_of_default"] = round(padding([len(text) for text in texts], lengths, 32), 3)
        if case.pooling == "mean" and case.model not in self.tokenizers:
            self.tokenizers[case.model] = round(tokenizer_rate(model.theirs, texts * (1 + 2000 // len(texts))))
        if case.set == "mix":
            self.invariance[case.model] = self._by_mates(encoder, texts, lengths)
        return result

    def _load(self, case: Case) -> yusa.Encoder:
        """The case's model in the place of the last one's, here and in the peer, warmed."""
        if self._loaded != (case.model, case.pooling):
            model = self.workshop.model(case)
            self._encoders = {
                dtype: yusa.Encoder.load(
                    model.ours,
                    device=self._device,
                    dtype=dtype,
                    prompts=NO_PROMPTS,
                    pooling=cast(Pooling, case.pooling),
                )
                for dtype in self._dtypes
            }
            if self._peer is not None:
                answer = self._peer.ask("load", directory=str(model.theirs), device=self._device, dtypes=self._dtypes)
                self.attention[case.model] = answer["attention"]
            self._loaded = (case.model, case.pooling)
            source = self.workshop.korean.texts
            encoder = self._encoders[self._dtypes[0]]
            warm = [text[:100] for text in source[: 2048 if self._gpu else 16]]
            seconds = []
            for _ in range(3):
                started = time.perf_counter()
                encoder.encode_documents(warm)
                seconds.append(time.perf_counter() - started)
            self._rate = sum(token_lengths(encoder, warm)) / statistics.median(seconds)
            if self._peer is not None:
                self._send(warm)
                for dtype in self._dtypes:
                    self._peer.ask("sentence_transformers", dtype=dtype, batch=None)
                    self._peer.ask("transformers", dtype=dtype, batch=32, sort=True, pooling=case.pooling)
        return self._encoders[self._dtypes[0]]

    def _ours(
        self,
        texts: list[str],
        dtype: str,
        found: dict[str, NDArray[np.float32]],
        limits: list[float] | None = None,
        shape: Any = None,
    ) -> Callable[[], float]:
        def run() -> float:
            if limits is not None:
                tokens = 16_384 if self._gpu else 1024
                limits.append(
                    gemm_rate(
                        shape, tokens=tokens, device=self._device, dtype=getattr(torch, dtype), seconds=self._pause
                    )
                )
            started = time.perf_counter()
            found[dtype] = self._encoders[dtype].encode_documents(texts)
            return time.perf_counter() - started

        return run

    def _peers(self, case: Case, texts: list[str], result: dict[str, Any]) -> dict[str, Callable[[], float]]:
        """The peers' paths; the sweep for the best batch size goes into `result`."""
        dtype = self._dtypes[0]
        self._send(texts)
        paths = {DEFAULT: self._sentence_transformers(dtype, None)}
        best = None
        if case.sweep:
            swept = {32: paths[DEFAULT]()}
            # On a GPU large batches are all that may help.
            sizes = (64, 128, 256, 512, 1024) if self._gpu else case.sweep
            swept |= {size: self._sentence_transformers(dtype, size)() for size in sizes}
            best = min(swept, key=swept.__getitem__)
            result |= {
                "sweep_seconds": {str(size): round(swept[size], 3) for size in sorted(swept)},
                "best_batch": best,
            }
            paths[BEST] = self._sentence_transformers(dtype, best)
        paths[PLAIN] = self._plain(case, best, sort=True)
        if self._gpu:
            paths[REFERENCE] = self._sentence_transformers("float32", None)
        return paths

    def _sentence_transformers(self, dtype: str, batch: int | None) -> Callable[[], float]:
        return lambda: float(self._asked("sentence_transformers", dtype=dtype, batch=batch)["seconds"])

    def _plain(self, case: Case, batch: int | None, *, sort: bool) -> Callable[[], float]:
        given = {"dtype": self._dtypes[0], "batch": batch or 32, "sort": sort, "pooling": case.pooling}
        return lambda: float(self._asked("transformers", **given)["seconds"])

    def _gate(self, ours: NDArray[np.float32]) -> dict[str, float]:
        """Our vectors beside those of sentence-transformers in float32, text for text."""
        file = self._folder / "vectors.npy"
        self._asked("save", dtype="float32", path=str(file))
        return compare(ours, np.load(file))

    def _by_mates(self, encoder: yusa.Encoder, texts: list[str], lengths: list[int]) -> float:
        """The largest difference of a text's vector alone, among others, in another order and among yet others."""
        few = max(4, int(np.searchsorted(np.cumsum(lengths), self._rate * self._pause * 6)))
        some, others = texts[:few], texts[few : 2 * few]
        order = np.random.default_rng(0).permutation(len(some))
        shuffled = np.empty((len(some), encoder.dimension), dtype=np.float32)
        shuffled[order] = encoder.encode_documents([some[i] for i in order])
        vectors = [
            np.concatenate([encoder.encode_documents([text]) for text in some]),
            encoder.encode_documents(some),
            shuffled,
            encoder.encode_documents([*others, *some])[len(others) :],
        ]
        return float(max(np.abs(a - b).max() for a in vectors for b in vectors))

    def _send(self, texts: Sequence[str]) -> None:
        file = self._folder / "texts.json"
        file.write_text(json.dumps(list(texts)), encoding="utf-8")
        self._asked("texts", path=str(file))

    def _asked(self, do: str, **given: Any) -> dict[str, Any]:
        assert self._peer is not None
        return self._peer.ask(do, **given)


def run(
    *, seconds: float, device: str, peer_python: str | None = None, tiny: bool = False, only: Sequence[str] = ()
) -> dict[str, Any]:
    """All figures, printed as they come."""
    budget = Budget(seconds)
    cases = [case for case in (TINY_CASES if tiny else CASES) if not only or case.model in only]
    gpu = device.startswith("cuda")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        peer = stack.enter_context(Peer(peer_python, "encode_peer.py")) if peer_python else None
        result: dict[str, Any] = {
            "device": torch.cuda.get_device_name() if gpu else "cpu",
            "threads": torch.get_num_threads(),
            "peer": peer.ask("about") if peer is not None else None,
        }
        size = 1 if tiny else 512
        result["memory_gb_per_second"] = {
            "copy": round(copy_rate(device, megabytes=size, seconds=0.01 if tiny else 0.3) / 1e9, 1),
            "read": round(read_rate(device, megabytes=size, seconds=0.01 if tiny else 0.3) / 1e9, 1),
        }
        bench = Bench(folder, device=device, peer=peer, budget=budget, tiny=tiny)
        found: dict[str, dict[str, Any]] = {}
        left_out: dict[str, str] = {}
        for number, case in enumerate(cases):
            figures = bench.case(case, [other.weight for other in cases[number:]])
            if "left_out" in figures:
                left_out[case.name] = figures["left_out"]
            else:
                found[case.name] = figures
                print(printed({case.name: figures}).splitlines()[-1], flush=True)
    judged = bars(found, bench.invariance, gpu=gpu)
    result |= {
        "attention": bench.attention,
        "tokenizer_tokens_per_second": bench.tokenizers,
        "cases": found,
        "left_out": left_out,
        "invariance": bench.invariance,
        "bars": [bar.record() for bar in judged],
        "seconds": round(budget.seconds - budget.left, 1),
    }
    print(printed(found), *(f"left out: {name}: {why}" for name, why in left_out.items()), sep="\n")
    print(*(bar.line() for bar in judged), sep="\n")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="the Python of an environment with sentence-transformers")
    parser.add_argument(
        "--seconds", type=float, default=500, help="for all cases; loading the last model may add to it"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", action="append", default=[], help="a model's name; may be given again")
    parser.add_argument("--tiny", action="store_true", help="a run of seconds that writes nothing")
    given = parser.parse_args()
    result = run(
        seconds=given.seconds,
        device=given.device,
        peer_python=given.peer_python,
        tiny=given.tiny,
        only=given.only,
    )
    if not given.tiny:
        print(write("encode" if given.device == "cpu" else "encode-gpu", result))


if __name__ == "__main__":
    main()
