"""A store for one test, and a searcher of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from searching import make_searcher, new_store

from yusa.search.searcher import Searcher
from yusa.storage import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "index")
    yield store
    store.close()


@pytest.fixture
def searcher(store: Store) -> Searcher:
    return make_searcher(store)
