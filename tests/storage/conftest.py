"""Small tails and segments, so that a few hundred documents pass through every part of storage."""

from __future__ import annotations

import pytest

from yusa.storage import publish


@pytest.fixture
def small_tail(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(publish, "TAIL_LIMIT", 40)
    return 40
