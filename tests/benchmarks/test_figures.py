"""What benchmarks compute from what they measured: work, shares, ratios, bars, tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.encode_cases import E5, KCBERT, KCBERT_SHAPE, MINILM, padding
from benchmarks.encode_report import BEST, DEFAULT, OURS, bars, compare, printed, row
from benchmarks.limits import Shape
from benchmarks.query import bound_ms
from benchmarks.turns import Bar, Budget, in_turns, middle, ratios, table


def test_the_work_of_a_token_by_hand(tmp_path: Path) -> None:
    # 12 layers of four matrices of 768 x 768 and two of 768 x 3072, twice; and 4 x 768 for each pair of tokens.
    linear = 2 * 12 * (4 * 768 * 768 + 2 * 768 * 3072)
    assert linear == 169_869_312
    assert KCBERT_SHAPE.flops([128]) / 128 == linear + 12 * 4 * 128 * 768
    assert round(KCBERT_SHAPE.flops([128]) / 128 / 1e6, 1) == 174.6
    assert KCBERT_SHAPE.flops([128, 3]) == KCBERT_SHAPE.flops([128]) + KCBERT_SHAPE.flops([3])
    assert KCBERT_SHAPE.products == [(768, 2304), (768, 768), (768, 3072), (3072, 768)]
    assert sum(a * b for a, b in KCBERT_SHAPE.products) * 12 == KCBERT_SHAPE.weights
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536}')
    assert Shape.read(tmp_path) == Shape(6, 384, 1536)


def test_the_bound_of_a_query_is_the_longer_of_computing_and_reading() -> None:
    shape = Shape(layers=1, hidden=10, inner=40)
    assert shape.weights == 1200
    assert bound_ms(shape, [10], flops=1e6, bytes_per_second=1e9) == pytest.approx(1000 * (24_000 + 4000) / 1e6)
    assert bound_ms(shape, [10], flops=1e12, bytes_per_second=4800) == pytest.approx(1000)


def test_paths_take_turns_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    asked: list[str] = []

    def path(name: str, seconds: float) -> Any:
        def run() -> float:
            asked.append(name)
            clock[0] += seconds
            return seconds

        return run

    paths = {"a": path("a", 1), "b": path("b", 2)}
    assert in_turns(paths, seconds=10, least=2) == {"a": [1, 1, 1], "b": [2, 2, 2]}
    assert asked == ["a", "b"] * 3
    assert len(in_turns(paths, seconds=0, least=2)["a"]) == 2
    assert len(in_turns(paths, seconds=1000, least=2, most=5)["a"]) == 5


def test_time_is_dealt_by_weight_and_never_below_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Iterator[float] = iter([0.0, 10.0, 200.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    budget = Budget(100, started=time.perf_counter())
    assert budget.share([1, 2]) == 30
    assert budget.share([1, 2]) == 0


def test_medians_and_ratios_of_the_same_round() -> None:
    assert middle([3, 1, 2]) == {"median": 2, "min": 1, "max": 3}
    assert ratios([1, 2, 4], [2, 5, 4]) == {"median": 2, "min": 1, "max": 2.5}


@pytest.mark.parametrize(
    ("sign", "found", "sound", "met", "word"),
    [
        (">=", 2.6, True, True, "met"),
        (">=", 2.59, True, False, "NOT MET"),
        ("<=", 2.6, True, True, "met"),
        ("<=", 2.61, True, False, "NOT MET"),
        (">=", 9.0, False, None, "void"),
        (">=", None, True, None, "not measured"),
    ],
)
def test_bars(sign: str, found: float | None, sound: bool, met: bool | None, word: str) -> None:
    bar = Bar("speed", sign, 2.6, found, sound)
    assert bar.met is met
    assert bar.line().startswith(word)
    assert bar.record()["met"] is met


def test_padding_by_hand() -> None:
    assert padding([9, 9, 9], [5, 5, 5], 2) == 0
    # Sorted by characters the batches are (6, 2) and (4): 12 tokens of 16 are there.
    assert padding([10, 30, 20], [4, 6, 2], 2) == pytest.approx(1 - 12 / 16)


def test_the_gate_compares_every_text() -> None:
    right = np.eye(3, dtype=np.float32)
    assert compare(right, right) == {"smallest_cosine": 1.0, "largest_difference": 0.0}
    wrong = right.copy()
    wrong[2] = [0, 0.6, 0.8]
    found = compare(wrong, right)
    assert found["smallest_cosine"] == pytest.approx(0.8)
    assert found["largest_difference"] == pytest.approx(0.6)


def case(ours: float, default: float, *, cosine: float | None = 1.0) -> dict[str, Any]:
    gate = None if cosine is None else {"smallest_cosine": cosine, "largest_difference": 1e-7}
    times = {OURS: [ours, ours], DEFAULT: [default, default], BEST: [default, default]}
    return row(times, [10, 30], 1e9, [2e9, 2e9], gate)


def test_a_row() -> None:
    found = case(1.0, 3.0)
    assert (found["texts"], found["tokens"], found["lengths"]) == (2, 40, [10, 20.0, 30])
    assert found["tokens_per_second"][OURS] == 40
    assert found["times_as_fast_as"][DEFAULT]["median"] == 3
    assert found["of_limit"]["median"] == 0.5
    assert "3.00" in printed({"x": found}).splitlines()[1]


def test_a_figure_without_its_gate_is_void() -> None:
    def verdict(cosine: float | None) -> bool | None:
        found = bars({f"{MINILM}, en-short": case(1, 3, cosine=cosine)}, {}, gpu=False)
        return next(bar.met for bar in found if bar.name.startswith(f"{MINILM}, en-short"))

    assert verdict(1.0) is True
    assert verdict(0.9999) is None
    assert verdict(None) is None


def test_the_bars_of_each_kind_of_machine() -> None:
    cases = {
        **{f"{model}, en-short": case(1, 3) for model in (MINILM, E5)},
        **{f"{model}, mix": case(1, 1.5) for model in (E5, KCBERT)},
        f"{KCBERT}, medium": case(1, 3),
    }
    found = {bar.name: bar.met for bar in bars(cases, {E5: 1e-6, MINILM: 3e-6}, gpu=False)}
    assert list(found.values()) == [True, True, False, False, False, True, False]
    short = {f"{E5}, short": case(2, 12), f"{E5}, medium": case(1, 6)}
    assert [bar.met for bar in bars(short, {}, gpu=True)] == [None, None, None, True, False]


def test_a_table_is_aligned() -> None:
    assert table(["name", "n"], [["a", "100"]]) == "name    n\na     100"
