"""What every test stands on: no user settings, no user cache, no network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Speed is no matter of these tests, and a busy machine must not fail them.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

_VARIABLES = ("YUSA_INDEX", "YUSA_ENCODER", "YUSA_DEVICE", "YUSA_SERVER", "NO_COLOR", "FORCE_COLOR")


@pytest.fixture(scope="session", autouse=True)
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the whole run, so that a packaged model is built once, and never the user's own."""
    cache = tmp_path_factory.mktemp("user-cache")
    with pytest.MonkeyPatch.context() as patch:
        for name in _VARIABLES:
            patch.delenv(name, raising=False)
        patch.setenv("YUSA_CACHE", str(cache))
        patch.setenv("YUSA_OFFLINE", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield cache


@pytest.fixture
def data_directory() -> Path:
    """The labelled sets, where they are at hand."""
    path = Path(os.environ.get("YUSA_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()
    if not path.is_dir():
        pytest.skip("the labelled sets are not here; YUSA_DATA names their directory")
    return path
