"""The probes notice another encoder and forgive another precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stubs import StubEncoder

from yusa.encoder import Encoder
from yusa.encoder.probes import PROBE_IS_QUERY, PROBE_TEXTS, check_probes, probe_vectors


def test_they_are_korean_and_english_a_query_and_one_too_long(e5_small: Encoder) -> None:
    assert len(PROBE_TEXTS) == len(PROBE_IS_QUERY) == 4
    assert any(PROBE_IS_QUERY)
    assert not all(PROBE_IS_QUERY)
    lengths = [len(starts) for starts in e5_small.token_starts(PROBE_TEXTS)]
    assert max(lengths) > e5_small.max_length


def test_the_same_encoder_passes_and_another_does_not(make_checkpoint: Callable[..., Path], tiny_bert: Path) -> None:
    encoder = Encoder.load(tiny_bert)
    vectors = probe_vectors(encoder)
    assert vectors.shape == (4, 32)
    assert vectors.dtype == np.float32
    assert check_probes(encoder, PROBE_TEXTS, PROBE_IS_QUERY, vectors) == pytest.approx(1, abs=1e-6)
    stored = vectors.astype(np.float16).astype(np.float32)
    assert check_probes(Encoder.load(tiny_bert, dtype="bfloat16"), PROBE_TEXTS, PROBE_IS_QUERY, stored) > 0.99
    assert check_probes(Encoder.load(tiny_bert, pooling="cls"), PROBE_TEXTS, PROBE_IS_QUERY, vectors) < 0.999
    assert check_probes(Encoder.load(tiny_bert, max_length=20), PROBE_TEXTS, PROBE_IS_QUERY, vectors) < 0.999
    prompted = Encoder.load(tiny_bert, prompts={"query": "fox "})
    assert check_probes(prompted, PROBE_TEXTS, PROBE_IS_QUERY, vectors) < 0.999


def test_another_dimension_is_the_worst_of_all() -> None:
    vectors = probe_vectors(StubEncoder(8))
    assert check_probes(StubEncoder(8), PROBE_TEXTS, PROBE_IS_QUERY, vectors) == pytest.approx(1)
    assert check_probes(StubEncoder(16), PROBE_TEXTS, PROBE_IS_QUERY, vectors) == -1
    assert check_probes(StubEncoder(8), (), (), np.empty((0, 8), dtype=np.float32)) == 1
