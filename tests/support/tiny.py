"""A tiny BERT on disk, whose mean vectors compare bags of words, and documents in its words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import Result
from numpy.typing import NDArray
from safetensors.numpy import save_file

DOCUMENTS: list[dict[str, Any]] = [
    {"id": "rain", "title": "비", "text": "어제 비 가 왔다 . 우산 을 샀다 .", "year": 2021, "lang": "ko"},
    {"id": "film", "title": "영화", "text": "지루한 영화 를 보았다 .\n음악 은 좋았다 .", "year": 2022, "lang": "ko"},
    {"id": "dinner", "text": "저녁 에 김치 와 밥 을 먹었다 .", "year": 2023, "lang": "ko"},
    {"id": "loop", "text": "the for statement iterates over a list .", "year": 2020, "lang": "en"},
    {"id": "class", "text": "a class statement defines a class object .", "year": 2024, "lang": "en"},
]
_WORDS = sorted({word for row in DOCUMENTS for key in ("title", "text") for word in str(row.get(key, "")).split()})
Run = Callable[..., Result]
"""The fixture `run`: `yusa` with these arguments; `stdin=` is its standard input, `env=` more environment."""
_HIDDEN, _POSITIONS = 32, 64


def _tensors(vocabulary: int) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(7)

    def weights(*shape: int, scale: float = 0.02) -> NDArray[np.float32]:
        return (random.standard_normal(shape) * scale).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": weights(vocabulary, _HIDDEN, scale=1.0),
        "embeddings.position_embeddings.weight": weights(_POSITIONS, _HIDDEN),
        "embeddings.token_type_embeddings.weight": weights(2, _HIDDEN),
        "pooler.dense.weight": weights(_HIDDEN, _HIDDEN, scale=0.3),
        "pooler.dense.bias": weights(_HIDDEN),
    }
    layer = "encoder.layer.0"
    for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        tensors |= {f"{layer}.{name}.weight": weights(_HIDDEN, _HIDDEN), f"{layer}.{name}.bias": weights(_HIDDEN)}
    tensors |= {
        f"{layer}.intermediate.dense.weight": weights(64, _HIDDEN),
        f"{layer}.intermediate.dense.bias": weights(64),
        f"{layer}.output.dense.weight": weights(_HIDDEN, 64),
        f"{layer}.output.dense.bias": weights(_HIDDEN),
    }
    for name in ("embeddings", f"{layer}.attention.output", f"{layer}.output"):
        tensors |= {
            f"{name}.LayerNorm.weight": np.ones(_HIDDEN, dtype=np.float32),
            f"{name}.LayerNorm.bias": np.zeros(_HIDDEN, dtype=np.float32),
        }
    return tensors


def write_encoder(directory: Path, *, shift: float = 0.0) -> Path:
    """Write the checkpoint; another `shift` makes another encoder."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_WORDS]
    config = {
        "architectures": ["BertModel"], "model_type": "bert", "hidden_size": _HIDDEN, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": len(vocabulary), "hidden_act": "gelu",
        "max_position_embeddings": _POSITIONS, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0,
    }  # fmt: skip
    tensors = _tensors(len(vocabulary))
    tensors["encoder.layer.0.output.dense.bias"] += np.float32(shift)
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "vocab.txt").write_text("\n".join(vocabulary), "utf-8")
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": False, "tokenizer_class": "BertTokenizer"})
    )
    save_file(tensors, directory / "model.safetensors")
    return directory


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path
