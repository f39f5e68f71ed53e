"""What an Encoder promises whatever the checkpoint: order, batching, memory, progress, word level, features."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from yusa.encoder import Encoder, native_network
from yusa.encoder import encoder as encoder_module
from yusa.encoder.base import Pooling, SentenceEncoder
from yusa.encoder.network import Batch, Network
from yusa.errors import EncoderError

Make = Callable[..., Path]


@pytest.fixture
def encoder(tiny_bert: Path) -> Encoder:
    return Encoder.load(tiny_bert)


def torch_network(encoder: Encoder) -> Network:
    """Made now, if it was not."""
    encoder.encode_documents(["fox"])
    network = encoder._forward._network
    assert isinstance(network, Network)
    return network


@pytest.fixture
def many(texts: list[str]) -> list[str]:
    generator = np.random.default_rng(0)
    words = " ".join(texts).split()
    return [" ".join(generator.choice(words, size=generator.integers(0, 30))) for _ in range(120)]


def test_it_is_a_sentence_encoder(encoder: Encoder, tiny_bert: Path) -> None:
    seam: SentenceEncoder = encoder
    assert seam.dimension == 32
    assert seam.document_budget == 22
    assert encoder.pooling == "mean"
    assert encoder.normalize
    assert set(encoder.provenance) == {"name", "revision", "device", "dtype", "torch", "tokenizers"}
    assert (encoder.name, encoder.device, encoder.dtype) == (str(tiny_bert), "cpu", "float32")


def test_vectors_have_unit_length_and_the_callers_order(encoder: Encoder, many: list[str]) -> None:
    vectors = encoder.encode_documents(many)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for row in (0, 7, 119):
        np.testing.assert_allclose(encoder.encode_documents([many[row]])[0], vectors[row], atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 10, 100, 10_000])
@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_a_texts_vector_does_not_depend_on_its_batch(
    tiny_bert: Path,
    by_each: str,
    many: list[str],
    tokens: int,
    pooling: Pooling,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = Encoder.load(tiny_bert, pooling=pooling)
    alone = np.concatenate([encoder.encode_documents([text]) for text in many])
    if by_each == "torch":
        torch_network(encoder).batching.tokens = tokens
    elif by_each == "native":
        monkeypatch.setattr(native_network, "_TOKENS", tokens)
    else:
        assert encoder._forward._array is not None
        encoder._forward._array.tokens = tokens
    np.testing.assert_allclose(encoder.encode_documents(many), alone, atol=2e-6)
    np.testing.assert_allclose(encoder.encode_documents(many[::-1])[::-1], alone, atol=2e-6)


def test_no_texts(encoder: Encoder) -> None:
    for vectors in (encoder.encode_documents([]), encoder.encode_queries([])):
        assert vectors.shape == (0, 32)
        assert vectors.dtype == np.float32
    assert encoder.encode_tokens([]) == []
    assert encoder.token_starts([]) == []
    assert encoder.features([]).input_ids.shape == (0, 24)


@pytest.mark.usefixtures("by_torch")
def test_equal_texts_are_encoded_once(encoder: Encoder, monkeypatch: pytest.MonkeyPatch, many: list[str]) -> None:
    seen: list[int] = []
    original = Network.states

    def states(self: Network, batch: Batch, *, first_only: bool = False) -> torch.Tensor:
        seen.extend(count for count, _ in batch.runs)
        return original(self, batch, first_only=first_only)

    torch_network(encoder)
    monkeypatch.setattr(Network, "states", states)
    vectors = encoder.encode_documents(many[:3] * 4)
    assert sum(seen) == 3
    np.testing.assert_array_equal(vectors[:3], vectors[9:])


@pytest.mark.usefixtures("by_torch")
def test_progress_counts_every_text_and_the_tokens_encoded(encoder: Encoder, many: list[str]) -> None:
    torch_network(encoder).batching.tokens = 64
    calls: list[tuple[int, int]] = []
    encoder.encode_documents([*many, many[0]], progress=lambda texts, tokens: calls.append((texts, tokens)))
    distinct = set(many)
    assert len(calls) > 10
    assert sum(texts for texts, _ in calls) == len(many) + 1
    assert sum(tokens for _, tokens in calls) == encoder.features(sorted(distinct)).attention_mask.sum()
    assert all(tokens <= 64 for _, tokens in calls)


@pytest.mark.usefixtures("by_torch")
def test_out_of_memory_halves_the_batch_and_goes_on(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, many: list[str]
) -> None:
    expected = encoder.encode_documents(many)
    sizes: list[int] = []
    original = Network.states

    def states(self: Network, batch: Batch, *, first_only: bool = False) -> torch.Tensor:
        sizes.append(len(batch.ids))
        if len(batch.ids) > 100:
            raise torch.OutOfMemoryError("injected")
        return original(self, batch, first_only=first_only)

    monkeypatch.setattr(Network, "states", states)
    texts_done = 0

    def progress(texts: int, _: int) -> None:
        nonlocal texts_done
        texts_done += texts

    vectors = encoder.encode_documents(many, progress=progress)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert texts_done == len(many)
    failed = [size for size in sizes if size > 100]
    assert 1 <= len(failed) <= 6
    sizes.clear()
    encoder.encode_documents(many)
    assert max(sizes) <= 100, "the smaller budget is kept"
    assert [len(word.vectors) for word in encoder.encode_tokens(many[:2])] == [
        len(word.tokens) for word in encoder.encode_tokens(many[:2])
    ]


@pytest.mark.usefixtures("by_torch")
def test_out_of_memory_for_a_single_text_is_an_error(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    torch_network(encoder)

    def states(self: Network, batch: Batch, *, first_only: bool = False) -> torch.Tensor:
        raise torch.OutOfMemoryError("injected")

    monkeypatch.setattr(Network, "states", states)
    with pytest.raises(EncoderError, match=r"no memory left for one text of \d+ tokens.*device='cpu'"):
        encoder.encode_documents(["fox", "the quick fox"])


def test_truncation_ends_at_max_length(tiny_bert: Path) -> None:
    encoder = Encoder.load(tiny_bert, max_length=6)
    (long, short) = encoder.encode_tokens(["the quick fox the quick fox", "the fox"])
    assert long.tokens == ["[CLS]", "the", "quick", "fox", "the", "[SEP]"]
    assert short.tokens == ["[CLS]", "the", "fox", "[SEP]"]
    np.testing.assert_allclose(
        encoder.encode_documents(["the quick fox the quick fox"]),
        encoder.encode_documents(["the quick fox the"]),
        atol=1e-5,
    )


def test_encode_tokens_gives_offsets_into_the_text(encoder: Encoder) -> None:
    text = "  fox, 안녕하세요 the"
    (word,) = encoder.encode_tokens([text])
    assert word.tokens == ["[CLS]", "fox", ",", "안녕", "##하세요", "the", "[SEP]"]
    assert word.offsets.dtype == np.int64
    assert [text[start:stop] for start, stop in word.offsets] == ["", "fox", ",", "안녕", "하세요", "the", ""]
    assert word.vectors.shape == (7, 32)
    assert word.vectors.dtype == np.float32


def test_token_starts_ignore_prompts_and_truncation(tiny_bert: Path) -> None:
    encoder = Encoder.load(tiny_bert, max_length=8, prompts={"document": "the quick "})
    starts = encoder.token_starts(["fox " * 30, ""])
    assert starts[0].tolist() == list(range(0, 120, 4))
    assert starts[0].dtype == np.int64
    assert starts[1].shape == (0,)


def test_features_are_padded_truncated_and_marked(encoder: Encoder) -> None:
    features = encoder.features(["안녕하세요", "하이!"], max_length=10)
    assert [part.shape for part in features] == [(2, 10)] * 3
    assert [part.dtype for part in features] == [np.dtype(np.int64)] * 3
    cls, sep, pad = 3, 4, 0
    assert features.input_ids[:, 0].tolist() == [cls, cls]
    for ids, mask, tokens in zip(features.input_ids, features.attention_mask, (4, 5), strict=True):
        assert mask.tolist() == [1] * tokens + [0] * (10 - tokens)
        assert ids[tokens - 1] == sep
        assert (ids[tokens:] == pad).all()
    assert not features.token_type_ids.any()
    cut = encoder.features(["the quick fox the quick fox"], max_length=4)
    assert cut.input_ids[0, -1] == sep
    assert cut.attention_mask.all()


@pytest.mark.parametrize("length", [-1, 1, 25])
def test_features_refuse_a_length_the_model_does_not_have(encoder: Encoder, length: int) -> None:
    with pytest.raises(EncoderError, match=f"max_length {length} is out of range for .*: give 2 to 24"):
        encoder.features(["fox"], max_length=length)


def test_lone_surrogates_count_as_replacement_characters_and_nul_is_harmless(encoder: Encoder) -> None:
    broken, replaced = encoder.encode_documents(["fox \ud83d the", "fox \ufffd the"])
    np.testing.assert_allclose(broken, replaced, atol=1e-6)
    text = "\udc00 fox\0 the"
    (word,) = encoder.encode_tokens([text])
    assert [text[start:stop] for start, stop in word.offsets[-3:-1]] == ["fox", "the"]
    assert encoder.token_starts([text])[0].tolist()[-2:] == [2, 7]


def test_what_is_not_a_list_of_strings_is_refused(encoder: Encoder) -> None:
    with pytest.raises(TypeError, match="not one str"):
        encoder.encode_documents("fox")
    broken: list[Any] = ["fox", 3]
    with pytest.raises(TypeError, match="number 1 is int"):
        encoder.token_starts(broken)
    with pytest.raises(TypeError):
        encoder.encode_queries(broken)


def test_prompts_tell_queries_from_documents(tiny_bert: Path) -> None:
    plain = Encoder.load(tiny_bert)
    prompted = Encoder.load(tiny_bert, prompts={"query": "the quick ", "document": "fox "})
    assert (prompted.query_prompt, prompted.document_prompt) == ("the quick ", "fox ")
    assert prompted.document_budget == plain.document_budget - 1
    np.testing.assert_allclose(prompted.encode_queries(["안녕"]), plain.encode_queries(["the quick 안녕"]), atol=1e-6)
    np.testing.assert_allclose(prompted.encode_documents(["안녕"]), plain.encode_queries(["fox 안녕"]), atol=1e-6)


@pytest.mark.usefixtures("by_torch")
def test_half_precision_on_request_only(tiny_bert: Path, tmp_path: Path, texts: list[str]) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_bert, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | {"dtype": "float16"}), "utf-8")
    weights = tmp_path / "model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(weights).items()}, weights)
    stored_half = Encoder.load(tmp_path)
    assert stored_half.dtype == "float32"
    assert torch_network(stored_half)._body.word.dtype == torch.float32
    full = Encoder.load(tiny_bert).encode_documents(texts)
    assert np.abs(stored_half.encode_documents(texts) - full).max() > 1e-6, "half precision was stored"
    computed_in_bfloat16 = Encoder.load(tiny_bert, dtype="bfloat16")
    vectors = computed_in_bfloat16.encode_documents(texts)
    assert vectors.dtype == np.float32
    assert (vectors * full).sum(axis=1).min() > 0.99
    assert computed_in_bfloat16.fingerprint == Encoder.load(tiny_bert).fingerprint


def test_many_threads_share_one_encoder(encoder: Encoder, many: list[str]) -> None:
    expected = encoder.encode_documents(many)
    results: dict[int, Any] = {}

    def work(number: int) -> None:
        results[number] = encoder.encode_documents(many), encoder.features(many[:5], max_length=4 + number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, (vectors, features) in results.items():
        np.testing.assert_allclose(vectors, expected, atol=1e-5)
        assert features.input_ids.shape == (5, 4 + number)
    assert len(results) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "max"}, "asks for the pooling 'max'; yusa has mean, cls, pooler"),
        ({"max_length": 25}, "has 24 positions; max_length 25"),
        ({"max_length": 2}, "leaves no room for text"),
        ({"max_length": 5, "prompts": {"query": "the quick fox "}}, "leaves no room for text beside 2 special tokens"),
        ({"prompts": {"passage": "x"}}, "no prompt 'passage'"),
        ({"device": "no-such-device"}, "the device 'no-such-device' cannot be used"),
        ({"device": "meta:99x"}, "cannot be used"),
        ({"dtype": "int8"}, "no dtype 'int8'"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(tiny_bert: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        Encoder.load(tiny_bert, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error(tiny_bert: Path) -> None:
    with pytest.raises(EncoderError, match="the device 'cuda' cannot be used"):
        Encoder.load(tiny_bert, device="cuda")


@pytest.mark.parametrize(
    ("kind", "head", "why"),
    [
        ("electra", "Model", "an? electra has none"),
        ("distilbert", "Model", "a distilbert has none"),
        ("roberta", "ForMaskedLM", "hold no pooler.dense"),
        ("bert", "ForMaskedLM", "hold no pooler.dense"),
    ],
)
def test_a_pooler_that_was_never_trained_is_refused(make_checkpoint: Make, kind: str, head: str, why: str) -> None:
    with pytest.raises(EncoderError, match=f"no trained pooler: .*{why}.*mean or cls"):
        Encoder.load(make_checkpoint(kind, head=head), pooling="pooler")


@pytest.mark.gpu
def test_a_gpu_gives_the_vectors_of_the_cpu(tiny_bert: Path, many: list[str]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    cpu = Encoder.load(tiny_bert).encode_documents(many)
    exact = Encoder.load(tiny_bert, device="cuda", dtype="float32")
    np.testing.assert_allclose(exact.encode_documents(many), cpu, atol=1e-4)
    half = Encoder.load(tiny_bert, device="cuda")
    assert half.dtype == "float16"
    assert (half.encode_documents(many) * cpu).sum(axis=1).min() > 0.999
    assert half.fingerprint == exact.fingerprint


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch, encoder: Encoder) -> Iterator[Encoder]:
    """An encoder that takes its device for a GPU and many texts for very many."""
    monkeypatch.setattr(Encoder, "device", "cuda")
    monkeypatch.setattr(encoder_module, "_POOLED", 10)
    monkeypatch.setattr(encoder_module, "_WINDOW", 25)
    yield encoder
    if encoder._pool is not None:
        encoder._pool.close()


def test_beside_a_gpu_other_processes_tokenize(
    as_on_a_gpu: Encoder, many: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = np.concatenate([as_on_a_gpu.encode_documents([text]) for text in many])
    assert as_on_a_gpu._pool is None
    monkeypatch.setattr(as_on_a_gpu._tokenizer, "ids", lambda *_: pytest.fail("tokenized in this process"))
    calls: list[tuple[int, int]] = []
    texts = [*many, many[0]]
    found = as_on_a_gpu.encode_documents(texts, progress=lambda texts, tokens: calls.append((texts, tokens)))
    np.testing.assert_allclose(found, [*expected, expected[0]], atol=2e-6)
    assert sum(count for count, _ in calls) == len(texts)


def test_a_tokenizing_process_that_dies_is_an_error_once(as_on_a_gpu: Encoder, many: list[str]) -> None:
    expected = as_on_a_gpu.encode_documents(many)
    assert as_on_a_gpu._pool is not None
    for worker in as_on_a_gpu._pool._workers:
        worker.kill()
    with pytest.raises(EncoderError, match="a process that tokenizes"):
        as_on_a_gpu.encode_documents(many)
    np.testing.assert_allclose(as_on_a_gpu.encode_documents(many), expected, atol=2e-6)
