"""Weights from a checkpoint directory, under yusa's own tensor names, whatever file layout and dtype they have.

torch is imported only to convert a pickled checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yusa.encoder.architecture import Architecture, read_architecture
from yusa.encoder.cache import build_once, cache_dir, file_key, remembered
from yusa.encoder.heads import head_tensors
from yusa.encoder.tensor_file import DTYPES, TensorFile
from yusa.errors import EncoderError

_ANCHOR = "embeddings.word_embeddings.weight"
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A body's tensors, and a head's where it was asked for, mapped from their file in the dtype stored there.

    Attributes:
        body_digest: SHA-256 over name, shape and float32 values of every tensor of the body but the pooler's.
        pooler_digest: the same over the pooler's tensors; empty where there are none.
    """

    architecture: Architecture
    tensors: Mapping[str, NDArray[Any]]
    body_digest: str
    pooler_digest: str

    @property
    def has_pooler(self) -> bool:
        return "pooler.weight" in self.tensors


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; {} where there is no file.

    Raises:
        EncoderError: it is not a JSON object.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise EncoderError(f"cannot read {path}: {error}. Fetch or save the checkpoint again.") from error
    if not isinstance(value, dict):
        raise EncoderError(f"{path} is not a JSON object. Fetch or save the checkpoint again.")
    return value


def load_checkpoint(directory: Path, *, labels: int | None = None) -> Checkpoint:
    """Read config.json and the weights of `directory`: safetensors, sharded safetensors, else pytorch_model.bin.

    Args:
        labels: of the classification head to be read too; None reads the body alone.

    Raises:
        EncoderError: an architecture yusa does not run, damaged files, or tensors that are missing or misshapen.
    """
    config_file = directory / "config.json"
    if not config_file.is_file():
        raise EncoderError(f"{directory} has no config.json, so it is no checkpoint. Name the directory that has one.")
    architecture = read_architecture(read_json(config_file), str(directory))
    files = _weight_files(directory, architecture, labels)
    try:
        tensors = _select(files, architecture, labels, str(directory))
    except (OSError, ValueError, RecursionError) as error:
        raise EncoderError(f"the weights of {directory} are damaged: {error}. Fetch or save them again.") from error
    digests = remembered("weights", files, lambda: _digests(tensors))
    return Checkpoint(architecture, tensors, digests["body"], digests["pooler"])


def _weight_files(directory: Path, architecture: Architecture, labels: int | None) -> list[Path]:
    single, index, pickled = (directory / name for name in WEIGHT_FILES)
    if single.is_file():
        return [single]
    if index.is_file():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        files = [directory / name for name in names]
        absent = [file.name for file in files if not file.is_file()]
        if absent or not files:
            raise EncoderError(f"{index} names {', '.join(absent) or 'no files'}, not there. Fetch the missing shards.")
        return files
    if pickled.is_file():
        key = file_key([pickled, directory / "config.json"])[:40]
        target = cache_dir() / "converted" / (key if labels is None else f"{key}-head")
        build_once(target, lambda into: _convert(pickled, architecture, labels, into / single.name))
        return [target / single.name]
    raise EncoderError(f"{directory} has no weights: looked for {', '.join(WEIGHT_FILES)}.")


def _convert(pickled: Path, architecture: Architecture, labels: int | None, target: Path) -> None:
    """Write what yusa needs of a pickled checkpoint as safetensors; only tensors are unpickled, never code."""
    import torch
    from safetensors.torch import save_file

    try:
        try:
            stored = torch.load(pickled, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # written before torch 1.6, in a form that cannot be mapped
            stored = torch.load(pickled, map_location="cpu", weights_only=True)
    except Exception as error:  # From damaged bytes torch raises whatever its unpickler runs into
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise EncoderError(f"{pickled} cannot be read safely: {reason}. Save it as safetensors.") from error
    if not isinstance(stored, Mapping) or not all(isinstance(key, str) for key in stored):
        raise EncoderError(f"{pickled} holds no tensors by name. Save the model's `state_dict` as safetensors.")
    plain: dict[str, torch.Tensor] = {}
    for name, (key, _) in _choose(stored, architecture, labels, str(pickled.parent)).items():
        tensor = stored[key]
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise EncoderError(f"{pickled} holds no plain tensor under {key}. Save it as safetensors.")
        plain[name] = tensor.contiguous().clone()
    save_file(plain, target)


def _choose(
    keys: Iterable[str], architecture: Architecture, labels: int | None, where: str
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Yusa's name -> (key in the file, shape) for each tensor of the body, the pooler if it is there, and the head."""
    modern = {
        key.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): key
        for key in keys
    }
    if "embeddings.word" in modern:  # converted by `_convert`
        names = {name: (name, shape) for name, (_, shape) in architecture.tensors().items()}
        pooler = {name: (name, shape) for name, (_, shape) in architecture.pooler_tensors().items()}
        prefix = ""
    else:
        names, pooler = architecture.tensors(), architecture.pooler_tensors()
        prefixes = sorted(key.removesuffix(_ANCHOR) for key in modern if key.endswith(_ANCHOR))
        family = ("roberta" if architecture.family == "xlm-roberta" else architecture.family) + "."
        prefix = family if family in prefixes or not prefixes else prefixes[0]
    wanted = {name: (prefix + stored, shape) for name, (stored, shape) in names.items()}
    missing = [key for key, _ in wanted.values() if key not in modern]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise EncoderError(
            f"the weights of {where} lack {', '.join(missing[:3])}{more}, which a {architecture.family} "
            f"with {architecture.layers} layers has. Fetch or save the whole checkpoint."
        )
    extra = {name: (prefix + stored, shape) for name, (stored, shape) in pooler.items()}
    if architecture.may_have_pooler and all(key in modern for key, _ in extra.values()):
        wanted |= extra
    if labels is not None:
        head = head_tensors(architecture, labels, prefix)
        if "embeddings.word" in modern:
            head = {name: (name, shape) for name, (_, shape) in head.items()}
        missing = [key for key, _ in head.values() if key not in modern]
        if missing:
            raise EncoderError(
                f"{where} has no trained head for sequence classification: its weights lack {missing[0]}. "
                "Choose a cross-encoder."
            )
        wanted |= head
    return {name: (modern[key], shape) for name, (key, shape) in wanted.items()}


def _select(files: list[Path], architecture: Architecture, labels: int | None, where: str) -> dict[str, NDArray[Any]]:
    opened = [TensorFile(file) for file in files]
    holder = {key: one for one in opened for key in one}
    tensors: dict[str, NDArray[Any]] = {}
    for name, (key, shape) in _choose(holder, architecture, labels, where).items():
        stored = holder[key]
        if stored.shape(key) != shape:
            raise EncoderError(
                f"{key} of {where} has shape {stored.shape(key)}, but config.json says {shape}. "
                "The files do not belong together."
            )
        if stored.dtype(key) not in DTYPES:
            raise EncoderError(
                f"{key} of {where} holds {stored.dtype(key)}; yusa reads floating point checkpoints only "
                f"({', '.join(DTYPES)})."
            )
        tensors[name] = stored[key]
    return tensors


def _digests(tensors: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    body, pooler = hashlib.sha256(), hashlib.sha256()
    for name in sorted(name for name in tensors if not name.startswith("head.")):
        digest = pooler if name.startswith("pooler.") else body
        tensor = np.ascontiguousarray(tensors[name], dtype="<f4")
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.data.cast("B"))
    return {"body": body.hexdigest(), "pooler": pooler.hexdigest() if "pooler.weight" in tensors else ""}
