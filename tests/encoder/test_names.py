"""Where names lead, and what is said when they lead nowhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from yusa.encoder import Encoder
from yusa.errors import EncoderNotFoundError

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    original = huggingface_hub.snapshot_download

    def in_this_cache(name: str, **options: Any) -> str:
        return str(original(name, cache_dir=str(cache), **options))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", in_this_cache)
    return cache


def put(hub_cache: Path, name: str, checkpoint: Path) -> Path:
    """Lay `checkpoint` out as the hub's client does: blobs, a snapshot of links to them, and a ref."""
    root = hub_cache / f"models--{name.replace('/', '--')}"
    snapshot = root / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(REVISION, "utf-8")
    (root / "blobs").mkdir()
    for number, file in enumerate(sorted(checkpoint.iterdir())):
        shutil.copy(file, root / "blobs" / str(number))
        (snapshot / file.name).symlink_to(root / "blobs" / str(number))
    return snapshot


def test_a_directory_by_path_or_string(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str]) -> None:
    expected = Encoder.load(tiny_bert).encode_documents(texts)
    monkeypatch.chdir(tiny_bert.parent)
    for name in (str(tiny_bert), tiny_bert.name, f"./{tiny_bert.name}", Path(tiny_bert.name)):
        encoder = Encoder.load(name)
        assert encoder.provenance["revision"] == "local"
        np.testing.assert_array_equal(encoder.encode_documents(texts), expected)


def test_a_model_in_the_hub_cache(tiny_bert: Path, hub_cache: Path, texts: list[str]) -> None:
    put(hub_cache, "someone/tiny-bert", tiny_bert)
    encoder = Encoder.load("someone/tiny-bert")
    assert encoder.name == "someone/tiny-bert"
    assert encoder.provenance["revision"] == REVISION
    assert encoder.fingerprint == Encoder.load(tiny_bert).fingerprint
    np.testing.assert_array_equal(encoder.encode_documents(texts), Encoder.load(tiny_bert).encode_documents(texts))


def test_a_model_that_is_cached_in_part_is_not_used(tiny_bert: Path, hub_cache: Path) -> None:
    (put(hub_cache, "someone/tiny-bert", tiny_bert) / "model.safetensors").unlink()
    with pytest.raises(EncoderNotFoundError, match="does not have it whole; YUSA_OFFLINE forbids"):
        Encoder.load("someone/tiny-bert")


def test_offline_nothing_is_asked(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    original = huggingface_hub.snapshot_download

    def spy(name: str, **options: Any) -> str:
        calls.append(options)
        return str(original(name, **options))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", spy)
    with pytest.raises(EncoderNotFoundError) as caught:
        Encoder.load("someone/absent")
    assert [call["local_files_only"] for call in calls] == [True]
    message = str(caught.value)
    for part in ("'someone/absent'", str(hub_cache), "YUSA_OFFLINE", "multilingual-e5-small", "all-MiniLM-L6-v2"):
        assert part in message


@pytest.mark.parametrize("pickled", [False, True])
def test_the_hub_is_asked_for_safe_files_and_for_a_pickle_only_where_there_is_nothing_else(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pickled: bool
) -> None:
    import torch
    from safetensors.torch import load_file

    monkeypatch.delenv("YUSA_OFFLINE")
    asked: list[list[str]] = []

    def download(name: str, *, local_files_only: bool = False, allow_patterns: list[str] | None = None) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not cached")
        assert allow_patterns is not None
        asked.append(allow_patterns)
        target = tmp_path / REVISION
        shutil.copytree(tiny_bert, target, dirs_exist_ok=True)
        if pickled:
            weights = target / "model.safetensors"
            if "pytorch_model.bin" in allow_patterns:
                torch.save(load_file(weights), target / "pytorch_model.bin")
            weights.unlink()
        return str(target)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    encoder = Encoder.load("someone/tiny-bert")
    assert encoder.provenance["revision"] == REVISION
    assert ["pytorch_model.bin" in patterns for patterns in asked] == ([False, True] if pickled else [False])


def test_what_the_hub_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YUSA_OFFLINE")

    def download(name: str, **options: Any) -> str:
        raise LocalEntryNotFoundError("\nno connection\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(EncoderNotFoundError, match=r"the hub answers: no connection Check the name and the network"):
        Encoder.load("someone/absent")


@pytest.mark.parametrize("name", ["no/such/place", "/nowhere/at-all", "에러 이름", Path("absent")])
def test_what_can_only_be_a_directory(name: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        EncoderNotFoundError, match=r"no packaged model has this name and .* is no directory. Give one of"
    ):
        Encoder.load(name)


def test_a_directory_without_a_checkpoint_is_never_replaced_by_the_hub(tmp_path: Path) -> None:
    from yusa.errors import EncoderError

    with pytest.raises(EncoderError, match=r"has no config\.json"):
        Encoder.load(tmp_path)
