"""Weights in every layout give the same vectors and the same fingerprint; broken ones are refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from yusa.encoder import Encoder
from yusa.encoder.checkpoint import load_checkpoint
from yusa.errors import EncoderError

Make = Callable[..., Path]


@pytest.fixture
def copy(tiny_bert: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bert, tmp_path / "copy"))


def tensors(directory: Path) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in load_file(directory / "model.safetensors").items()}


def assert_same(one: Path, other: Path, texts: list[str]) -> None:
    for pooling in ("mean", "pooler"):
        first = Encoder.load(one, pooling=pooling)
        second = Encoder.load(other, pooling=pooling)
        assert first.fingerprint == second.fingerprint
        np.testing.assert_array_equal(first.encode_documents(texts), second.encode_documents(texts))


def test_another_path(tiny_bert: Path, copy: Path, texts: list[str]) -> None:
    assert_same(tiny_bert, copy, texts)


def test_shards(tiny_bert: Path, copy: Path, texts: list[str]) -> None:
    stored = tensors(copy)
    (copy / "model.safetensors").unlink()
    weight_map = {name: f"model-{index % 2 + 1:05}-of-00002.safetensors" for index, name in enumerate(sorted(stored))}
    for file in set(weight_map.values()):
        save_file({name: stored[name] for name, where in weight_map.items() if where == file}, copy / file)
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}), "utf-8")
    assert_same(tiny_bert, copy, texts)
    (copy / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(EncoderError, match=r"names model-00002-of-00002.safetensors, not there"):
        Encoder.load(copy)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_checkpoint_is_converted_once(
    tiny_bert: Path, copy: Path, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.setenv("YUSA_CACHE", str(tmp_path / "cache"))
    stored = {f"bert.{name}": tensor for name, tensor in tensors(copy).items()}
    stored["cls.predictions.decoder.weight"] = stored["bert.embeddings.word_embeddings.weight"]
    stored["bert.embeddings.position_ids"] = torch.arange(24)
    (copy / "model.safetensors").unlink()
    torch.save(stored, copy / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    assert_same(tiny_bert, copy, texts)
    (made,) = (tmp_path / "cache" / "converted").glob("*")
    assert [file.name for file in made.iterdir()] == ["model.safetensors"]


def test_a_pickle_that_holds_code_is_refused(copy: Path, tmp_path: Path) -> None:
    (copy / "model.safetensors").unlink()

    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"embeddings.word_embeddings.weight": Harmful()}, copy / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"pytorch_model.bin cannot be read safely"):
        Encoder.load(copy)
    (copy / "pytorch_model.bin").write_bytes(b"nothing that torch wrote")
    with pytest.raises(EncoderError, match=r"pytorch_model.bin cannot be read safely"):
        Encoder.load(copy)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_pickle_is_refused_wherever_it_is_damaged(copy: Path, zipped: bool) -> None:
    file = copy / "pytorch_model.bin"
    torch.save(tensors(copy), file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    (copy / "model.safetensors").unlink()
    random = np.random.default_rng(1)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(0, 3000, size=3).tolist():
            damaged[place] = int(random.integers(256))
        file.write_bytes(damaged)
        try:
            load_checkpoint(copy)
        except EncoderError:
            refused += 1
    assert refused > 20


def test_a_deeply_nested_configuration_is_refused(copy: Path) -> None:
    (copy / "config.json").write_text("[" * 100_000, "utf-8")
    with pytest.raises(EncoderError, match="cannot read"):
        load_checkpoint(copy)


@pytest.mark.parametrize(
    "stored",
    [torch.zeros(3), ["embeddings"], {1: torch.zeros(1)}, None],
    ids=["a tensor", "a list", "keys that are no names", "nothing"],
)
def test_a_pickle_that_holds_no_tensors_by_name_is_refused(copy: Path, stored: object) -> None:
    (copy / "model.safetensors").unlink()
    torch.save(stored, copy / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="holds no tensors by name"):
        load_checkpoint(copy)


def test_a_pickle_with_something_else_under_a_name_is_refused(copy: Path) -> None:
    stored: dict[str, object] = {**tensors(copy)}
    (copy / "model.safetensors").unlink()
    for other in ("text", torch.zeros(4, 4).to_sparse()):
        torch.save({**stored, "embeddings.word_embeddings.weight": other}, copy / "pytorch_model.bin")
        with pytest.raises(EncoderError, match=r"holds no plain tensor under embeddings\.word_embeddings\.weight"):
            load_checkpoint(copy)


@pytest.mark.parametrize("prefix", ["", "bert.", "model."])
def test_prefixes_and_the_old_names_of_layer_norms(tiny_bert: Path, copy: Path, texts: list[str], prefix: str) -> None:
    old = {
        prefix + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in tensors(copy).items()
    }
    save_file(old, copy / "model.safetensors")
    assert_same(tiny_bert, copy, texts)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_stored_precision(copy: Path, tmp_path: Path, texts: list[str], dtype: torch.dtype) -> None:
    rounded = {name: tensor.to(dtype) for name, tensor in tensors(copy).items()}
    other = Path(shutil.copytree(copy, tmp_path / "single"))
    save_file(rounded, copy / "model.safetensors")
    save_file({name: tensor.float() for name, tensor in rounded.items()}, other / "model.safetensors")
    assert_same(copy, other, texts)


def test_the_fingerprint_follows_the_weights_and_what_is_used_of_them(copy: Path) -> None:
    before = {pooling: Encoder.load(copy, pooling=pooling).fingerprint for pooling in ("mean", "pooler")}
    stored = tensors(copy)
    stored["pooler.dense.bias"][0] += 1
    save_file(stored, copy / "model.safetensors")
    assert Encoder.load(copy).fingerprint == before["mean"]
    assert Encoder.load(copy, pooling="pooler").fingerprint.weights != before["pooler"].weights
    stored["encoder.layer.1.output.dense.bias"][0] += 1
    save_file(stored, copy / "model.safetensors")
    assert Encoder.load(copy).fingerprint.weights != before["mean"].weights


def test_missing_tensors_are_named(copy: Path) -> None:
    stored = tensors(copy)
    for index in range(2):
        for part in ("query", "key"):
            del stored[f"encoder.layer.{index}.attention.self.{part}.bias"]
    save_file(stored, copy / "model.safetensors")
    with pytest.raises(EncoderError, match=r"lack encoder.layer.0.attention.self.query.bias, .* and 1 more"):
        Encoder.load(copy)
    save_file({"something": torch.zeros(1)}, copy / "model.safetensors")
    with pytest.raises(EncoderError, match=r"lack bert.embeddings.word_embeddings.weight"):
        Encoder.load(copy)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("pooler.dense.bias", torch.zeros(31), r"pooler.dense.bias .* has shape \(31,\), but config.json says \(32,\)"),
        ("embeddings.LayerNorm.bias", torch.zeros(32, dtype=torch.int8), "floating point checkpoints only"),
    ],
)
def test_tensors_that_cannot_be_right(copy: Path, name: str, tensor: torch.Tensor, message: str) -> None:
    save_file(tensors(copy) | {name: tensor}, copy / "model.safetensors")
    with pytest.raises(EncoderError, match=message):
        Encoder.load(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "architecture 'gpt2'.*BERT, RoBERTa, XLM-RoBERTa, DistilBERT or ELECTRA"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ({"hidden_act": "mish"}, "the activation 'mish'"),
        ({"num_hidden_layers": None}, "lacks num_hidden_layers"),
        ({"num_attention_heads": 5}, "5 attention heads for 32 dimensions"),
        ({"vocab_size": 10}, "config.json says"),
    ],
)
def test_configurations_that_yusa_does_not_run(copy: Path, changes: dict[str, Any], message: str) -> None:
    config = json.loads((copy / "config.json").read_text("utf-8"))
    (copy / "config.json").write_text(json.dumps(config | changes), "utf-8")
    with pytest.raises(EncoderError, match=message):
        Encoder.load(copy)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", None, "has no weights: looked for model.safetensors, model.safetensors.index.json"),
        ("model.safetensors", b"\x10", "the weights of .* are damaged"),
        ("config.json", None, "has no config.json"),
        ("config.json", b"{", "cannot read .*config.json"),
        ("config.json", b"[]", "config.json is not a JSON object"),
        ("vocab.txt", None, "no tokenizer yusa can read: looked for tokenizer.json and vocab.txt"),
        ("vocab.txt", b"[UNK]\nfox\n", r"vocab.txt lacks \[SEP\], \[CLS\]"),
        ("vocab.txt", b"\xff\xfe", "the tokenizer of .* is damaged"),
        ("tokenizer.json", b"{}", "the tokenizer of .* is damaged"),
    ],
)
def test_missing_and_damaged_files(copy: Path, file: str, content: bytes | None, message: str) -> None:
    if content is None:
        (copy / file).unlink()
    else:
        (copy / file).write_bytes(content)
    with pytest.raises(EncoderError, match=message):
        Encoder.load(copy)


def test_a_tokenizer_of_another_model_is_refused(make_checkpoint: Make) -> None:
    directory = make_checkpoint("bert", vocab_size=50)
    with pytest.raises(EncoderError, match=r"has \d+ tokens but the model 50"):
        Encoder.load(directory)
