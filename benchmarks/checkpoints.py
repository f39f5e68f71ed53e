"""Checkpoint directories that yusa, transformers and sentence-transformers all load, so that all compute the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from benchmarks.limits import Shape
from yusa.encoder.names import locate

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True, slots=True)
class Model:
    """One model under the name yusa loads it by, and as a directory for its peers."""

    name: str
    ours: str
    theirs: Path

    @property
    def shape(self) -> Shape:
        return Shape.read(self.theirs)


def random_bert(
    directory: Path, shape: Shape, lines: Sequence[str], *, vocabulary: int, positions: int, pooling: str = "mean"
) -> Path:
    """A BERT with random weights and a cased WordPiece vocabulary learnt from `lines`; heads have 64 dimensions."""
    directory.mkdir(parents=True)
    tokens = _write_tokenizer(directory, lines, vocabulary, positions)
    _write(
        directory / "config.json",
        {
            "architectures": ["BertModel"], "model_type": "bert", "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers, "num_attention_heads": max(1, shape.hidden // 64),
            "intermediate_size": shape.inner, "vocab_size": tokens, "hidden_act": "gelu", "pad_token_id": 0,
            "max_position_embeddings": positions, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        },
    )  # fmt: skip
    save_file(_random_tensors(shape, tokens, positions), directory / "model.safetensors")
    _write_recipe(directory, shape.hidden, positions, pooling)
    return directory


def with_pooling(directory: Path, other: Path, shape: Shape, positions: int, pooling: str) -> Path:
    """The checkpoint `other` once more with another pooling, its files not copied."""
    directory.mkdir(parents=True)
    for file in other.iterdir():
        if file.is_file() and file.name not in ("modules.json", "sentence_bert_config.json"):
            (directory / file.name).symlink_to(file)
    _write_recipe(directory, shape.hidden, positions, pooling)
    return directory


def e5_small(directory: Path) -> Model:
    """multilingual-e5-small as yusa has it; for the peers with the tokenizer's class, which they ask for."""
    ours = locate("multilingual-e5-small").directory
    directory.mkdir(parents=True)
    for file in ours.iterdir():
        if file.name != "tokenizer_config.json":
            (directory / file.name).symlink_to(file)
    _write(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "XLMRobertaTokenizerFast", "model_max_length": 512, "bos_token": "<s>",
            "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>", "unk_token": "<unk>", "pad_token": "<pad>",
            "mask_token": "<mask>",
        },
    )  # fmt: skip
    return Model("multilingual-e5-small", "multilingual-e5-small", directory)


def minilm() -> Model:
    return Model("all-MiniLM-L6-v2", "all-MiniLM-L6-v2", locate("all-MiniLM-L6-v2").directory)


def _write_tokenizer(directory: Path, lines: Sequence[str], vocabulary: int, positions: int) -> int:
    """Writes tokenizer.json and vocab.txt; returns the number of tokens, filled up to `vocabulary`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    learning: Any = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    learning.normalizer, learning.pre_tokenizer = normalizer, pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary, special_tokens=list(_SPECIAL), limit_alphabet=2000, show_progress=False
    )
    learning.train_from_iterator(lines, trainer)
    learnt = learning.get_vocab()
    tokens = sorted(learnt, key=learnt.__getitem__)
    tokens += [f"[unused{number}]" for number in range(vocabulary - len(tokens))]
    tokenizer: Any = Tokenizer(models.WordPiece({token: n for n, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(_SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokens.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "vocab.txt").write_text("\n".join(tokens) + "\n", "utf-8")
    _write(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": False,
            "model_max_length": positions, "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]",
            "sep_token": "[SEP]", "mask_token": "[MASK]",
        },
    )  # fmt: skip
    return len(tokens)


def _random_tensors(shape: Shape, vocabulary: int, positions: int) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(0)
    h = shape.hidden

    def weights(*size: int) -> NDArray[np.float32]:
        return random.standard_normal(size, dtype=np.float32) * np.float32(0.02)

    tensors = {
        "embeddings.word_embeddings.weight": weights(vocabulary, h),
        "embeddings.position_embeddings.weight": weights(positions, h),
        "embeddings.token_type_embeddings.weight": weights(2, h),
        "pooler.dense.weight": weights(h, h),
        "pooler.dense.bias": weights(h),
    }
    normed = ["embeddings"]
    for layer in (f"encoder.layer.{number}" for number in range(shape.layers)):
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            tensors |= {f"{layer}.{part}.weight": weights(h, h), f"{layer}.{part}.bias": weights(h)}
        tensors |= {
            f"{layer}.intermediate.dense.weight": weights(shape.inner, h),
            f"{layer}.intermediate.dense.bias": weights(shape.inner),
            f"{layer}.output.dense.weight": weights(h, shape.inner),
            f"{layer}.output.dense.bias": weights(h),
        }
        normed += [f"{layer}.attention.output", f"{layer}.output"]
    for name in normed:
        tensors |= {
            f"{name}.LayerNorm.weight": np.ones(h, dtype=np.float32),
            f"{name}.LayerNorm.bias": np.zeros(h, dtype=np.float32),
        }
    return tensors


def _write_recipe(directory: Path, hidden: int, positions: int, pooling: str) -> None:
    steps = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    _write(
        directory / "modules.json",
        [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for n, (path, kind) in enumerate(steps)
        ],
    )
    _write(directory / "sentence_bert_config.json", {"max_seq_length": positions, "do_lower_case": False})
    (directory / "1_Pooling").mkdir()
    mean = pooling == "mean"
    _write(
        directory / "1_Pooling" / "config.json",
        {"word_embedding_dimension": hidden, "pooling_mode_mean_tokens": mean, "pooling_mode_cls_token": not mean},
    )


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
