"""The architectures yusa runs: what config.json says, and under which names each stores its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yusa.errors import EncoderError

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}

_ROBERTA = ("roberta", "xlm-roberta")
_SUPPORTED = ("bert", *_ROBERTA, "distilbert", "electra")

# The one vocabulary of tensor names inside yusa, and what the two families of checkpoints call the same tensors.
_BERT_LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}
_DISTILBERT_LAYER = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "attention_output": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "intermediate": "ffn.lin1",
    "output": "ffn.lin2",
    "output_norm": "output_layer_norm",
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """One BERT-family body.

    Attributes:
        family: its `model_type`.
        positions: usable positions, i.e. the longest input in tokens.
        position_offset: index of the first token's position embedding (padding_idx + 1 in RoBERTa, else 0).
        embedding: width of the embeddings; differs from `hidden` only in ELECTRA.
        token_types: rows of the token type table; 0 where there is none.
    """

    family: str
    layers: int
    heads: int
    hidden: int
    intermediate: int
    embedding: int
    vocabulary: int
    positions: int
    position_offset: int
    token_types: int
    epsilon: float
    activation: str

    @property
    def may_have_pooler(self) -> bool:
        return self.family not in ("distilbert", "electra")

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """For each tensor of the body, in yusa's names: the checkpoint's name without prefix, and the shape."""
        distilbert = self.family == "distilbert"
        names: dict[str, tuple[str, tuple[int, ...]]] = {
            "embeddings.word": ("embeddings.word_embeddings.weight", (self.vocabulary, self.embedding)),
            "embeddings.position": (
                "embeddings.position_embeddings.weight",
                (self.positions + self.position_offset, self.embedding),
            ),
            "embeddings.norm.weight": ("embeddings.LayerNorm.weight", (self.embedding,)),
            "embeddings.norm.bias": ("embeddings.LayerNorm.bias", (self.embedding,)),
        }
        if self.token_types:
            names["embeddings.type"] = ("embeddings.token_type_embeddings.weight", (self.token_types, self.embedding))

        def linear(name: str, stored: str, out: int, into: int) -> None:
            names[f"{name}.weight"] = (f"{stored}.weight", (out, into))
            names[f"{name}.bias"] = (f"{stored}.bias", (out,))

        if self.embedding != self.hidden:
            linear("embeddings.projection", "embeddings_project", self.hidden, self.embedding)
        layer_names = _DISTILBERT_LAYER if distilbert else _BERT_LAYER
        stack = "transformer.layer" if distilbert else "encoder.layer"
        for index in range(self.layers):
            for part, suffix in layer_names.items():
                name, stored = f"layers.{index}.{part}", f"{stack}.{index}.{suffix}"
                if part.endswith("norm"):
                    names[f"{name}.weight"] = (f"{stored}.weight", (self.hidden,))
                    names[f"{name}.bias"] = (f"{stored}.bias", (self.hidden,))
                elif part == "intermediate":
                    linear(name, stored, self.intermediate, self.hidden)
                elif part == "output":
                    linear(name, stored, self.hidden, self.intermediate)
                else:
                    linear(name, stored, self.hidden, self.hidden)
        return names

    def pooler_tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The same for the pooler, which a checkpoint may lack."""
        return {
            "pooler.weight": ("pooler.dense.weight", (self.hidden, self.hidden)),
            "pooler.bias": ("pooler.dense.bias", (self.hidden,)),
        }


def read_architecture(config: Mapping[str, Any], where: str) -> Architecture:
    """The architecture that a config.json describes; `where` names the checkpoint in errors.

    Raises:
        EncoderError: another architecture, or a variant of one that yusa does not compute.
    """
    family = config.get("model_type")
    if family not in _SUPPORTED:
        raise EncoderError(
            f"{where} has the architecture {family!r}, which yusa does not run. "
            "Choose a BERT, RoBERTa, XLM-RoBERTa, DistilBERT or ELECTRA checkpoint."
        )
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise EncoderError(
            f"{where} uses position_embedding_type {config['position_embedding_type']!r}; yusa runs 'absolute' only."
        )
    distilbert = family == "distilbert"
    keys = (
        ("n_layers", "n_heads", "dim", "hidden_dim")
        if distilbert
        else ("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size")
    )
    missing = [key for key in (*keys, "vocab_size", "max_position_embeddings") if not isinstance(config.get(key), int)]
    if missing:
        raise EncoderError(f"config.json of {where} lacks {', '.join(missing)}. Save the checkpoint again, complete.")
    layers, heads, hidden, intermediate = (config[key] for key in keys)
    if hidden % heads:
        raise EncoderError(f"config.json of {where} gives {heads} attention heads for {hidden} dimensions.")
    activation = str(config.get("activation" if distilbert else "hidden_act", "gelu"))
    if activation not in ACTIVATIONS:
        raise EncoderError(f"{where} uses the activation {activation!r}; yusa knows {', '.join(sorted(ACTIVATIONS))}.")
    pad = config.get("pad_token_id")
    offset = (1 if pad is None else pad) + 1 if family in _ROBERTA else 0
    return Architecture(
        family=family,
        layers=layers,
        heads=heads,
        hidden=hidden,
        intermediate=intermediate,
        embedding=config.get("embedding_size", hidden) if family == "electra" else hidden,
        vocabulary=config["vocab_size"],
        positions=config["max_position_embeddings"] - offset,
        position_offset=offset,
        token_types=0 if distilbert else config.get("type_vocab_size", 2),
        epsilon=1e-12 if distilbert else config.get("layer_norm_eps", 1e-12),
        activation=ACTIVATIONS[activation],
    )
