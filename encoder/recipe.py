"""How a checkpoint wants to be used, from the files sentence-transformers writes beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yusa.encoder.checkpoint import read_json
from yusa.errors import EncoderError

_QUERY_NAMES = ("query",)
_DOCUMENT_NAMES = ("document", "passage", "corpus")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a checkpoint says of its own use; a plain checkpoint says nothing and gets these defaults.

    Attributes:
        body: directory of the checkpoint proper.
        pooling: as written; may be one that yusa does not have.
        max_length: in tokens; None where nothing is said.
    """

    body: Path
    pooling: str = "mean"
    normalize: bool = True
    query_prompt: str = ""
    document_prompt: str = ""
    max_length: int | None = None
    lowercase: bool = False


def read_recipe(directory: Path) -> Recipe:
    """Read modules.json and what it names; `Recipe(directory)` where there is none.

    A model without a Normalize module that is compared by cosine (sentence-transformers' default) gets unit vectors
    all the same: the index compares by inner product, which for them is the cosine.

    Raises:
        EncoderError: a module yusa does not compute (named), or one of the files cannot be read.
    """
    listing = directory / "modules.json"
    if not listing.is_file():
        return Recipe(directory)
    try:
        modules = json.loads(listing.read_text("utf-8"))
        steps = [(str(module["type"]).rsplit(".", 1)[-1], directory / str(module["path"])) for module in modules]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise EncoderError(f"cannot read {listing}: {error}. Fetch or save the model again.") from error
    kinds = [kind for kind, _ in steps]
    if kinds not in (["Transformer"], ["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        unknown = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
        raise EncoderError(
            f"{directory} is made of {' + '.join(kinds)}"
            + (f"; yusa does not compute {', '.join(unknown)}" if unknown else "")
            + ". Choose a model of Transformer + Pooling (+ Normalize)."
        )
    body = steps[0][1]
    settings = read_json(directory / "config_sentence_transformers.json")
    query_prompt, document_prompt = _prompts(settings)
    pooling = read_json(steps[1][1] / "config.json") if len(steps) > 1 else {}
    if pooling.get("include_prompt") is False and (query_prompt or document_prompt):
        raise EncoderError(
            f"{directory} leaves its prompt out of the pooling (include_prompt false), which yusa does not do."
        )
    transformer = next((read_json(path) for path in sorted(body.glob("sentence_*_config.json"))), {})
    return Recipe(
        body=body,
        pooling=_pooling(pooling),
        normalize="Normalize" in kinds or settings.get("similarity_fn_name") in (None, "cosine"),
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        max_length=transformer.get("max_seq_length"),
        lowercase=bool(transformer.get("do_lower_case", False)),
    )


def _pooling(config: Mapping[str, Any]) -> str:
    mode = config.get("pooling_mode")
    if mode is None:
        legacy = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
        mode = [key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for key in legacy]
    modes = [mode] if isinstance(mode, str) else list(mode)
    return "+".join(str(part) for part in modes) or "mean"


def _prompts(settings: Mapping[str, Any]) -> tuple[str, str]:
    prompts = settings.get("prompts") or {}
    default = prompts.get(settings.get("default_prompt_name")) or ""

    def first(names: tuple[str, ...]) -> str:
        return next((str(prompts[name]) for name in names if prompts.get(name) is not None), str(default))

    return first(_QUERY_NAMES), first(_DOCUMENT_NAMES)
