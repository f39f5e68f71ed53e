"""Sequence-classification heads: what a checkpoint computes from the first token's vector, and what that means.

All four families compute out(activation(dense(x))), under different names and with different activations, as
transformers' ForSequenceClassification classes do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from yusa.encoder.architecture import Architecture
from yusa.errors import EncoderError

Meaning = Literal["logit", "sigmoid", "softmax"]

_MEANINGS: dict[str, Meaning] = {"Identity": "logit", "Sigmoid": "sigmoid"}


@dataclass(frozen=True, slots=True)
class _Layout:
    dense: str
    out: str
    activation: str


_ROBERTA = _Layout("classifier.dense", "classifier.out_proj", "tanh")
LAYOUTS = {
    "bert": _Layout("pooler.dense", "classifier", "tanh"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "distilbert": _Layout("pre_classifier", "classifier", "relu"),
    "electra": _Layout("classifier.dense", "classifier.out_proj", "gelu"),
}


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """A head as the checkpoint's configuration describes it.

    Attributes:
        labels: 1 or 2.
        meaning: the score of a pair: its one logit, the sigmoid of it, or the second of two labels' probability.
    """

    labels: int
    meaning: Meaning


def read_head(config: Mapping[str, Any], settings: Mapping[str, Any], where: str) -> HeadConfig:
    """The head that a config.json describes; `where` names the checkpoint in errors.

    Args:
        settings: of config_sentence_transformers.json, whose activation goes before config.json's own.

    Raises:
        EncoderError: no head for sequence classification, more than two labels, or an activation yusa does not have.
    """
    classes = config.get("architectures") or []
    if classes and not any(str(name).endswith("ForSequenceClassification") for name in classes):
        raise EncoderError(
            f"{where} is a {', '.join(map(str, classes))}, which does not judge pairs of texts. "
            "Choose a cross-encoder: a checkpoint for sequence classification."
        )
    # transformers leaves two labels, its default, out of config.json.
    labels = len(config["id2label"]) if config.get("id2label") else config.get("num_labels", 2)
    if labels not in (1, 2):
        raise EncoderError(
            f"{where} tells {labels} labels apart, so it is no judge of relevance. Choose a cross-encoder with 1 or 2."
        )
    if labels == 2:
        return HeadConfig(2, "softmax")
    own = config.get("sentence_transformers") or {}
    named = (
        settings.get("activation_fn")
        or own.get("activation_fn")
        or config.get("sbert_ce_default_activation_function")
        or "Sigmoid"
    )
    kind = str(named).rsplit(".", 1)[-1]
    if kind not in _MEANINGS:
        raise EncoderError(f"{where} asks for the activation {named}; yusa has {', '.join(_MEANINGS)}.")
    return HeadConfig(1, _MEANINGS[kind])


def head_tensors(architecture: Architecture, labels: int, prefix: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """For each tensor of the head, in yusa's names: the checkpoint's name, and the shape.

    Args:
        prefix: of the body's tensors, under which BERT's part of the head stands.
    """
    layout, hidden = LAYOUTS[architecture.family], architecture.hidden
    dense = (prefix if architecture.family == "bert" else "") + layout.dense
    return {
        "head.dense.weight": (f"{dense}.weight", (hidden, hidden)),
        "head.dense.bias": (f"{dense}.bias", (hidden,)),
        "head.out.weight": (f"{layout.out}.weight", (labels, hidden)),
        "head.out.bias": (f"{layout.out}.bias", (labels,)),
    }
