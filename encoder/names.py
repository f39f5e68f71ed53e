"""Where a name leads: a packaged model, a directory, the local hub cache, the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from yusa.encoder.cache import offline
from yusa.encoder.checkpoint import WEIGHT_FILES
from yusa.encoder.packaged import PACKAGED, packaged_directory
from yusa.errors import EncoderNotFoundError

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_SAFE_FILES = [
    "config.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_*_config.json",
    "*_*/config.json",
    "0_Transformer/*",
]
_PICKLED_FILES = ["pytorch_model.bin"]


@dataclass(frozen=True, slots=True)
class Location:
    """A checkpoint on this machine, and which revision of it."""

    directory: Path
    revision: str


def locate(name: str | Path) -> Location:
    """Find a checkpoint by name. One name is one set of weights: what is not found is never replaced by another.

    Raises:
        EncoderNotFoundError: saying what was looked for, where, and what to do.
        EncoderError: a packaged model that cannot be used.
    """
    if isinstance(name, str) and name in PACKAGED:
        model = PACKAGED[name]
        return Location(packaged_directory(model), model.revision)
    path = Path(name).expanduser()
    if path.is_dir():
        return Location(path, "local")
    if isinstance(name, Path) or not _HUB_NAME.fullmatch(name):
        raise EncoderNotFoundError(
            f"there is no encoder {str(name)!r}: no packaged model has this name "
            f"and {path.absolute()} is no directory. "
            f"Give one of {', '.join(PACKAGED)}, a checkpoint directory, or a hub name such as beomi/kcbert-base."
        )
    return _from_hub(name)


def _from_hub(name: str) -> Location:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        cached = Path(snapshot_download(name, local_files_only=True))
        if _complete(cached):
            return Location(cached, cached.name)
    except LocalEntryNotFoundError:
        pass
    looked = (
        f"no packaged model has this name, {Path(name).absolute()} is no directory, and the hub cache "
        f"{constants.HF_HUB_CACHE} does not have it whole"
    )
    if offline():
        raise EncoderNotFoundError(
            f"there is no encoder {name!r}: {looked}; YUSA_OFFLINE forbids asking the hub. Fetch it once without "
            f"YUSA_OFFLINE, copy the checkpoint here and give its directory, or use one of {', '.join(PACKAGED)}."
        )
    try:
        directory = Path(snapshot_download(name, allow_patterns=_SAFE_FILES))
        if not _has_weights(directory):
            directory = Path(snapshot_download(name, allow_patterns=_SAFE_FILES + _PICKLED_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise EncoderNotFoundError(
            f"there is no encoder {name!r}: {looked}, and the hub answers: {reason} Check the name and the network, "
            f"or use one of {', '.join(PACKAGED)}, which need no network."
        ) from error
    return Location(directory, directory.name)


def _complete(directory: Path) -> bool:
    """Whether a snapshot has all that loading needs; another program may have fetched only a part."""
    body = directory / "0_Transformer" if (directory / "0_Transformer").is_dir() else directory
    has_tokenizer = any((body / name).is_file() for name in ("tokenizer.json", "vocab.txt"))
    return (body / "config.json").is_file() and has_tokenizer and _has_weights(directory)


def _has_weights(directory: Path) -> bool:
    return any((place / name).is_file() for place in (directory, directory / "0_Transformer") for name in WEIGHT_FILES)
