from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from storing import create_store
from stubs import StubEncoder

from yusa.storage import Settings, Store


@pytest.fixture
def encoder() -> StubEncoder:
    return StubEncoder()


@pytest.fixture
def store(tmp_path: Path, encoder: StubEncoder) -> Iterator[Store]:
    settings = Settings(
        encoder=encoder.name,
        encoder_options={},
        fingerprint=encoder.fingerprint.to_dict(),
        provenance=encoder.provenance,
        dimension=encoder.dimension,
        passage_tokens=12,
        overlap=3,
    )
    with closing(create_store(tmp_path / "index", settings)) as store:
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs"
