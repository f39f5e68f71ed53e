"""Whether late interaction over the encoder's word-level vectors ranks the first ten hits better.

`python -m benchmarks.maxsim` takes 800 Korean questions: 200 to tune on and 200 to report on of each of two sets. Each
question's first ten hits, in mode dense and in mode hybrid, are ordered anew by MaxSim: the sum, over the question's
tokens, of the highest cosine with a token of the passage (Khattab and Zaharia, "ColBERT", 2020). It is tried alone and
mixed with the first score, both min-max normalised over the ten. Which tokens count and the weight of the mixture are
chosen on the tuning questions. `--keep DIR` keeps the indexes.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

import yusa
from benchmarks.quality import Qrels, ndcg, read_qrels, read_queries, unpacked
from benchmarks.report import data_directory, write
from yusa.encoder import Encoder
from yusa.index import Index
from yusa.opening import DEFAULT_ENCODER
from yusa.search.hit import Hit

SETS = ("ko-tydiqa-goldp", "ko-klue-mrc-lead")
STAGES: tuple[Literal["dense", "hybrid"], ...] = ("dense", "hybrid")
QUESTIONS = 200
DEPTH = 10
TIMED = 25
RESAMPLES = 10_000
LEAST_GAIN = 0.003
WEIGHTS = tuple(round(0.1 * step, 1) for step in range(11))
"""Of MaxSim; at 0 the first order stays, at 1 MaxSim decides alone."""

Matrix = NDArray[np.float32]


class Variant(NamedTuple):
    """Which tokens MaxSim sees.

    Attributes:
        prompted: texts are encoded behind the encoder's prompts, as for its sentence vectors.
        every: special tokens and those of the prompt count, too.
    """

    prompted: bool
    every: bool


VARIANTS = tuple(Variant(*choice) for choice in itertools.product((False, True), repeat=2))


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its first hits and what MaxSim says of them.

    Attributes:
        first, late: float64 (hits,), in the order of `ids`; `late` by variant.
    """

    gains: Mapping[str, int]
    ids: Sequence[str]
    first: NDArray[np.float64]
    late: Mapping[Variant, NDArray[np.float64]]


def chosen_questions(dataset: Path, *, tuning: bool) -> Qrels:
    """200 questions: those whose ids have the least SHA-256 of the split, or of the half where there are no splits.

    The tuning half are the questions the SHA-256 of whose id begins with an even byte.
    """

    def digest(id: str) -> bytes:
        return hashlib.sha256(id.encode()).digest()

    if (dataset / "qrels.dev.tsv").exists():
        qrels = read_qrels(dataset / ("qrels.train.tsv" if tuning else "qrels.dev.tsv"))
    else:
        both = read_qrels(dataset / "qrels.tsv")
        qrels = {id: gains for id, gains in both.items() if (digest(id)[0] % 2 == 0) is tuning}
    return {id: qrels[id] for id in sorted(qrels, key=digest)[:QUESTIONS]}


def opened(dataset: Path, folder: Path, encoder: Encoder) -> Index:
    """The index of a set's corpus, made if it is not there."""
    path = folder / dataset.name
    if path.exists():
        return yusa.open(path, encoder=encoder)
    index = yusa.create(path, encoder=encoder)
    index.add(yusa.read(unpacked(dataset, folder)))
    return index


def token_vectors(encoder: Encoder, texts: Sequence[str], prompt: str) -> list[tuple[Matrix, NDArray[np.bool_]]]:
    """For each text unit vectors (tokens, dimension), and which of the tokens are of the text itself."""
    found = []
    for one in encoder.encode_tokens([prompt + text for text in texts]):
        norms = np.linalg.norm(one.vectors, axis=1, keepdims=True)
        # Special tokens have the offsets (0, 0).
        found.append((one.vectors / np.maximum(norms, 1e-12), one.offsets[:, 1] > len(prompt)))
    return found


def maxsim(question: Matrix, passages: Sequence[Matrix]) -> NDArray[np.float64]:
    """float64 (len(passages),): the sum, over the question's rows, of the largest inner product with a passage's."""
    starts = np.cumsum([0, *(len(passage) for passage in passages[:-1])])
    cosines = question @ np.concatenate(passages).T
    total: NDArray[np.float64] = np.maximum.reduceat(cosines, starts, axis=1).sum(axis=0, dtype=np.float64)
    return total


def passage_text(hit: Hit) -> str:
    """As the passage stands in the index's encoding."""
    return f"{hit.title} {hit.text}" if hit.title else hit.text


def late_scores(
    encoder: Encoder, questions: Sequence[str], answers: Sequence[Sequence[Hit]]
) -> list[dict[Variant, NDArray[np.float64]]]:
    """MaxSim of each question with each of its hits, by variant; every text is encoded once for each prompt."""
    found: list[dict[Variant, NDArray[np.float64]]] = [{} for _ in questions]
    texts = list(dict.fromkeys(passage_text(hit) for hits in answers for hit in hits))
    for prompted in (False, True):
        query_prompt, document_prompt = (encoder.query_prompt, encoder.document_prompt) if prompted else ("", "")
        of = dict(zip(texts, token_vectors(encoder, texts, document_prompt), strict=True))
        own = token_vectors(encoder, questions, query_prompt)
        for scores, (vectors, kept), hits in zip(found, own, answers, strict=True):
            passages = [of[passage_text(hit)] for hit in hits]
            scores[Variant(prompted, every=True)] = maxsim(vectors, [rows for rows, _ in passages])
            scores[Variant(prompted, every=False)] = maxsim(vectors[kept], [rows[mask] for rows, mask in passages])
    return found


def asked(index: Index, encoder: Encoder, dataset: Path) -> dict[tuple[str, bool], list[Question]]:
    """The questions with their hits, by stage and whether they are for tuning."""
    texts = read_queries(dataset / "queries.jsonl")
    halves = {tuning: chosen_questions(dataset, tuning=tuning) for tuning in (True, False)}
    groups = []
    for mode, (tuning, qrels) in itertools.product(STAGES, halves.items()):
        questions = [texts[id] for id in qrels]
        groups.append((mode, tuning, questions, index.search_many(questions, top_k=DEPTH, mode=mode, literal=True)))
    # All at once, since the halves and the stages share passages.
    late = iter(
        late_scores(
            encoder,
            [question for _, _, questions, _ in groups for question in questions],
            [hits for *_, answers in groups for hits in answers],
        )
    )
    return {
        (mode, tuning): [
            Question(gains, [hit.id for hit in hits], np.array([hit.score for hit in hits]), next(late))
            for gains, hits in zip(halves[tuning].values(), answers, strict=True)
        ]
        for mode, tuning, _, answers in groups
    }


def quality(questions: Sequence[Question], variant: Variant, weight: float) -> NDArray[np.float64]:
    """nDCG@10 of each question whose hits are ordered by the mixture."""
    values = []
    for one in questions:
        mixed = weight * _normalised(one.late[variant]) + (1 - weight) * _normalised(one.first)
        order = np.argsort(-mixed, kind="stable")
        values.append(ndcg([one.ids[place] for place in order], dict(one.gains)))
    return np.array(values)


def _normalised(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    normalised: NDArray[np.float64] = (scores - scores.min()) / (np.ptp(scores) or 1.0)
    return normalised


def compared(before: NDArray[np.float64], after: NDArray[np.float64]) -> dict[str, Any]:
    """Means and their difference with its 95 % interval by the paired bootstrap (percentiles)."""
    gains = after - before
    picks = np.random.default_rng(0).integers(0, len(gains), (RESAMPLES, len(gains)))
    low, high = np.percentile(gains[picks].mean(axis=1), (2.5, 97.5))
    return {
        "questions": len(gains),
        "first": round(float(before.mean()), 4),
        "reranked": round(float(after.mean()), 4),
        "gain": round(float(gains.mean()), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "better": int((gains > 0).sum()),
        "worse": int((gains < 0).sum()),
    }


def judged(
    tuning: Sequence[Question], reporting: Mapping[str, Sequence[Question]], weights: Sequence[float]
) -> dict[str, Any]:
    """The best variant and weight on the tuning questions, and what they bring on the reporting ones."""
    tried = {
        variant: {weight: float(quality(tuning, variant, weight).mean()) for weight in weights} for variant in VARIANTS
    }
    best = {variant: max(means, key=means.__getitem__) for variant, means in tried.items()}
    variant = max(VARIANTS, key=lambda one: tried[one][best[one]])
    weight = best[variant]
    pairs = {
        name: (quality(questions, variant, 0.0), quality(questions, variant, weight))
        for name, questions in reporting.items()
    }
    before, after = (np.concatenate(column) for column in zip(*pairs.values(), strict=True))
    overall = compared(before, after)
    return {
        "chosen": {**variant._asdict(), "weight": weight},
        "tuning": {
            "first": round(float(quality(tuning, variant, 0.0).mean()), 4),
            "reranked": round(tried[variant][weight], 4),
            "variants": [
                {**one._asdict(), "weight": best[one], "reranked": round(tried[one][best[one]], 4)} for one in VARIANTS
            ],
        },
        "reporting": {**{name: compared(*pair) for name, pair in pairs.items()}, "both": overall},
        "clear": bool(overall["interval"][0] > 0 and overall["gain"] >= LEAST_GAIN),
    }


def cost(index: Index, encoder: Encoder, questions: Sequence[str]) -> dict[str, float]:
    """Median milliseconds of a question: the search in mode hybrid, and what MaxSim on its hits adds to it."""
    parts: dict[str, list[float]] = {"search": [], "encode": [], "maxsim": []}
    tokens = []
    for question in questions:
        begun = time.perf_counter()
        hits = index.search(question, top_k=DEPTH, mode="hybrid", literal=True)
        found = time.perf_counter()
        [(own, _)] = token_vectors(encoder, [question], encoder.query_prompt)
        passages = [rows for rows, _ in token_vectors(encoder, [*map(passage_text, hits)], encoder.document_prompt)]
        encoded = time.perf_counter()
        maxsim(own, passages)
        done = time.perf_counter()
        for part, seconds in zip(parts, (found - begun, encoded - found, done - encoded), strict=True):
            parts[part].append(1000 * seconds)
        tokens.append(sum(map(len, passages)))
    return {
        "questions": len(questions),
        **{f"{part}_ms": round(statistics.median(taken), 2) for part, taken in parts.items()},
        "tokens_of_ten_passages": statistics.median(tokens),
        "load_average": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="where indexes are kept, or lie already")
    arguments = parser.parse_args()
    encoder = yusa.Encoder.load(DEFAULT_ENCODER)
    tuning: dict[str, list[Question]] = {mode: [] for mode in STAGES}
    reporting: dict[str, dict[str, list[Question]]] = {mode: {} for mode in STAGES}
    costs = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in SETS:
            dataset = data_directory() / name
            with opened(dataset, arguments.keep or Path(folder), encoder) as index:
                for (mode, is_tuning), questions in asked(index, encoder, dataset).items():
                    if is_tuning:
                        tuning[mode] += questions
                    else:
                        reporting[mode][name] = questions
                texts = read_queries(dataset / "queries.jsonl")
                timed = [texts[id] for id in chosen_questions(dataset, tuning=False)][:TIMED]
                costs[name] = cost(index, encoder, timed)
            print(f"{name}: {json.dumps(costs[name])}", flush=True)
    stages = {
        mode: {
            "alone": judged(tuning[mode], reporting[mode], WEIGHTS[-1:]),
            "mixed": judged(tuning[mode], reporting[mode], WEIGHTS),
        }
        for mode in STAGES
    }
    for mode, ways in stages.items():
        for way, result in ways.items():
            print(f"{mode}, {way}: {json.dumps(result['chosen'])}")
            for name, row in result["reporting"].items():
                print(f"  {name}: {json.dumps(row)}")
    print(write("maxsim", {"encoder": DEFAULT_ENCODER, "depth": DEPTH, "stages": stages, "cost": costs}))


if __name__ == "__main__":
    main()
