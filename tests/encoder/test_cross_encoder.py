"""Cross-encoders against transformers and sentence-transformers, and what is refused by name."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from yusa.encoder import CrossEncoder, Encoder
from yusa.encoder.network import Batch, Network
from yusa.errors import EncoderError, EncoderNotFoundError
from yusa.search.rerank import Reranker

Make = Callable[..., Path]

KINDS = ["bert", "roberta", "xlm-roberta", "electra", "electra-same-width", "distilbert"]
QUERY = "the quick fox"
LENGTH = 24


@pytest.fixture(scope="module")
def judge(make_checkpoint: Make) -> Path:
    """A tiny BERT with one label. Shared: copy it before changing a file."""
    return make_checkpoint("bert", head="ForSequenceClassification", num_labels=1)


@pytest.fixture
def copy(judge: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(judge, tmp_path / "copy"))


def change(directory: Path, **config: Any) -> Path:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | config), "utf-8")
    return directory


def expected_logits(transformers: Any, directory: Path, kind: str, query: str, texts: list[str]) -> NDArray[np.float32]:
    """The ordinary way: transformers' tokenizer with padding, and its model in float32."""
    if "roberta" in kind:
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(directory / "tokenizer.json"), pad_token="<pad>", unk_token="<unk>"
        )
    else:
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    inputs = tokenizer(
        [query] * len(texts),
        texts,
        padding=True,
        truncation="only_second",
        max_length=LENGTH,
        return_tensors="pt",
        return_token_type_ids=kind == "bert" or kind.startswith("electra"),
    )
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        model = transformers.AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32)
        logits: NDArray[np.float32] = model.eval()(**inputs).logits.numpy()
    return logits


@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_transformers(
    kind: str, labels: int, make_checkpoint: Make, texts: list[str], transformers: Any
) -> None:
    directory = make_checkpoint(kind, head="ForSequenceClassification", num_labels=labels)
    encoder = CrossEncoder.load(directory)
    assert encoder.max_length == LENGTH
    logits = expected_logits(transformers, directory, kind, QUERY, texts)
    assert np.ptp(logits) > 0.1
    np.testing.assert_allclose(encoder._logits(QUERY, texts), logits, atol=1e-5, rtol=0)
    scores = encoder.scores(QUERY, texts)
    assert scores.dtype == np.float32
    odds = logits[:, 0] if labels == 1 else logits[:, 1] - logits[:, 0]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-odds)), atol=1e-5, rtol=0)


def test_the_second_text_is_told_by_its_type(judge: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = CrossEncoder.load(judge)
    packed: list[Batch] = []
    original = Network.states

    def states(self: Network, batch: Batch, *, first_only: bool = False) -> torch.Tensor:
        packed.append(batch)
        return original(self, batch, first_only=first_only)

    monkeypatch.setattr(Network, "states", states)
    encoder.scores("fox", ["the fox"])
    (batch,) = packed
    assert batch.types is not None
    assert batch.types.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_roberta_whose_tokenizer_is_berts_has_no_second_type(
    make_checkpoint: Make, texts: list[str], transformers: Any, tmp_path: Path
) -> None:
    # As klue/roberta: a table of one type beside a tokenizer that says type 1 for the second text.
    directory = make_checkpoint("roberta", head="ForSequenceClassification", num_labels=1)
    bert = make_checkpoint("bert")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).unlink()
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(bert / name, directory / name)
    tokenizer = transformers.BertTokenizer.from_pretrained(directory)
    inputs = tokenizer("fox", "the fox", return_tensors="pt", return_token_type_ids=False)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = model(**inputs).logits.numpy()
    np.testing.assert_allclose(CrossEncoder.load(directory)._logits("fox", ["the fox"]), logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "where", ["nowhere", "sentence_transformers", "sbert_ce_default_activation_function", "settings", "settings first"]
)
@pytest.mark.parametrize("activation", ["torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"])
def test_the_checkpoints_activation(copy: Path, texts: list[str], where: str, activation: str) -> None:
    if where == "sentence_transformers":
        change(copy, sentence_transformers={"activation_fn": activation, "version": "4.1.0"})
    elif where == "sbert_ce_default_activation_function":
        change(copy, sbert_ce_default_activation_function=activation)
    elif where.startswith("settings"):
        written: dict[str, Any] = {"model_type": "CrossEncoder", "prompts": {}, "default_prompt_name": None}
        (copy / "config_sentence_transformers.json").write_text(json.dumps(written | {"activation_fn": activation}))
        modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.Transformer"}]
        (copy / "modules.json").write_text(json.dumps(modules))
        if where == "settings first":
            change(copy, sentence_transformers={"activation_fn": "torch.nn.modules.activation.Tanh"})
    encoder = CrossEncoder.load(copy)
    logits = encoder._logits(QUERY, texts)[:, 0]
    identity = where != "nowhere" and activation.endswith("Identity")
    np.testing.assert_allclose(
        encoder.scores(QUERY, texts), logits if identity else 1 / (1 + np.exp(-logits)), atol=1e-6, rtol=0
    )


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["Sigmoid", "Identity"])
def test_scores_are_those_of_sentence_transformers(
    judge: Path, texts: list[str], tmp_path: Path, activation: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = pytest.importorskip("sentence_transformers")
        theirs = library.CrossEncoder(str(judge), device="cpu", activation_fn=getattr(torch.nn, activation)())
        theirs.save_pretrained(str(tmp_path / "saved"))
        expected = theirs.predict([(QUERY, text) for text in texts], show_progress_bar=False)
    for directory in [tmp_path / "saved", *([judge] if activation == "Sigmoid" else [])]:
        np.testing.assert_allclose(CrossEncoder.load(directory).scores(QUERY, texts), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("tokens", [1, 40, 10_000])
def test_a_score_does_not_depend_on_its_batch(judge: Path, texts: list[str], tokens: int) -> None:
    encoder = CrossEncoder.load(judge)
    alone = np.concatenate([encoder.scores(QUERY, [text]) for text in texts])
    encoder._network.batching.tokens = tokens
    np.testing.assert_allclose(encoder.scores(QUERY, texts), alone, atol=1e-6)
    np.testing.assert_allclose(encoder.scores(QUERY, texts[::-1])[::-1], alone, atol=1e-6)


def test_no_texts_and_no_words(judge: Path) -> None:
    encoder = CrossEncoder.load(judge)
    scores = encoder.scores(QUERY, [])
    assert scores.shape == (0,)
    assert scores.dtype == np.float32
    assert np.isfinite(encoder.scores("", ["", "fox", "\ud800"])).all()


def test_a_long_query_keeps_half_of_the_room_and_a_text_gets_the_rest(judge: Path) -> None:
    encoder = CrossEncoder.load(judge)
    room = LENGTH - 3
    long_query, long_text = " ".join(["fox"] * 40), " ".join(["the"] * 40)
    first, second = (" ".join([word] * 40) for word in ("quick", "the"))
    np.testing.assert_array_equal(
        encoder.scores(long_query, [long_text, "the"]),
        encoder.scores(" ".join(["fox"] * (room // 2)), [" ".join(["the"] * (room - room // 2)), "the"]),
    )
    ids, types = next(encoder._tokenizer.pairs(first, [second], LENGTH))
    assert len(ids) == len(types) == LENGTH
    assert types.tolist() == [0] * (room // 2 + 2) + [1] * (room - room // 2 + 1)
    short, _ = next(encoder._tokenizer.pairs("fox", [second], LENGTH))
    assert len(short) == LENGTH, "what the query leaves, the text has"


def test_a_smaller_max_length(judge: Path) -> None:
    encoder = CrossEncoder.load(judge, max_length=10)
    assert encoder.max_length == 10
    np.testing.assert_array_equal(encoder.scores("fox", ["the " * 6]), encoder.scores("fox", ["the " * 9]))
    for length in (4, 25):
        with pytest.raises(EncoderError, match=rf"max_length {length} is out of range .*: give 5 to 24"):
            CrossEncoder.load(judge, max_length=length)


def test_a_pickled_checkpoint_with_and_without_its_head(judge: Path, copy: Path, texts: list[str]) -> None:
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    expected = CrossEncoder.load(judge).scores(QUERY, texts)
    vectors = Encoder.load(copy).encode_queries(texts)
    for _ in range(2):
        np.testing.assert_array_equal(CrossEncoder.load(copy).scores(QUERY, texts), expected)
    np.testing.assert_array_equal(Encoder.load(copy).encode_queries(texts), vectors)


def test_a_head_changes_no_bodys_fingerprint(judge: Path, copy: Path, tmp_path: Path) -> None:
    # Digests are remembered by file: one of these is asked for with its head first, the other without.
    other = Path(shutil.copytree(judge, tmp_path / "other"))
    CrossEncoder.load(copy)
    assert Encoder.load(copy).fingerprint == Encoder.load(other).fingerprint


def test_half_precision(judge: Path, texts: list[str]) -> None:
    encoder = CrossEncoder.load(judge, dtype="bfloat16")
    scores = encoder.scores(QUERY, texts)
    assert scores.dtype == np.float32
    assert encoder.dtype == "bfloat16"
    np.testing.assert_allclose(scores, CrossEncoder.load(judge).scores(QUERY, texts), atol=0.1)


def test_it_is_a_reranker_and_says_what_it_is(judge: Path) -> None:
    reranker: Reranker = CrossEncoder.load(judge)
    assert reranker.name == str(judge)
    assert isinstance(reranker, CrossEncoder)
    assert set(reranker.provenance) == {"name", "revision", "device", "dtype", "torch", "tokenizers"}


def test_out_of_memory_halves_the_batch(judge: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = CrossEncoder.load(judge)
    expected = encoder.scores(QUERY, texts)
    original = Network.states

    def states(self: Network, batch: Batch, *, first_only: bool = False) -> torch.Tensor:
        if len(batch.ids) > 50:
            raise torch.OutOfMemoryError("injected")
        return original(self, batch, first_only=first_only)

    monkeypatch.setattr(Network, "states", states)
    np.testing.assert_allclose(encoder.scores(QUERY, texts), expected, atol=1e-6)
    assert encoder._network.batching.tokens < 100


def test_what_is_not_a_sequence_of_str(judge: Path) -> None:
    encoder = CrossEncoder.load(judge)
    with pytest.raises(TypeError, match=r"write \[text\]"):
        encoder.scores(QUERY, "fox")
    with pytest.raises(TypeError, match="texts must be str; number 1 is int"):
        encoder.scores(QUERY, ["fox", 3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="texts must be str; number 0 is NoneType"):
        encoder.scores(None, ["fox"])  # type: ignore[arg-type]


def test_packaged_models_and_names_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="has no head that judges pairs"):
        CrossEncoder.load("multilingual-e5-small")
    with pytest.raises(EncoderNotFoundError, match="name a cross-encoder"):
        CrossEncoder.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("kind", "head", "labels", "message"),
    [
        ("bert", "Model", 1, r"is a BertModel, which does not judge pairs"),
        ("bert", "ForTokenClassification", 2, r"is a BertForTokenClassification"),
        ("bert", "ForMultipleChoice", 1, r"is a BertForMultipleChoice"),
        ("roberta", "ForMaskedLM", 2, r"is a RobertaForMaskedLM"),
        ("bert", "ForSequenceClassification", 3, r"tells 3 labels apart"),
    ],
)
def test_checkpoints_that_judge_nothing(kind: str, head: str, labels: int, message: str, make_checkpoint: Make) -> None:
    with pytest.raises(EncoderError, match=message):
        CrossEncoder.load(make_checkpoint(kind, head=head, num_labels=labels))


@pytest.mark.parametrize(
    ("kind", "lacking"),
    [
        ("bert", "classifier.weight"),
        ("roberta", "classifier.dense.weight"),
        ("distilbert", "pre_classifier.weight"),
        ("electra", "classifier.dense.weight"),
    ],
)
def test_weights_without_a_head(kind: str, lacking: str, make_checkpoint: Make) -> None:
    directory = change(make_checkpoint(kind), architectures=None)
    with pytest.raises(EncoderError, match=f"no trained head for sequence classification: its weights lack {lacking}"):
        CrossEncoder.load(directory)


def test_what_the_configuration_asks_for_and_yusa_lacks(copy: Path) -> None:
    change(copy, sbert_ce_default_activation_function="torch.nn.modules.activation.Tanh")
    with pytest.raises(EncoderError, match=r"asks for the activation torch.nn.modules.activation.Tanh"):
        CrossEncoder.load(copy)
    change(copy, sbert_ce_default_activation_function=None, id2label={"0": "no", "1": "yes"})
    with pytest.raises(EncoderError, match=r"classifier.weight of .* has shape \(1, 32\)"):
        CrossEncoder.load(copy)
