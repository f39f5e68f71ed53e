"""SIGKILL at random moments, commits, syncs and renames: nothing acknowledged is lost, nothing is half there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SUPPORT = Path(__file__).parents[1] / "support"


def _kill(directory: Path, seed: int, trials: int) -> str:
    environment = {**os.environ, "PYTHONPATH": str(_SUPPORT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(_SUPPORT / "killing.py"), str(directory), str(seed), str(trials)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")
def test_killed_writers_lose_nothing(tmp_path: Path) -> None:
    assert _kill(tmp_path, seed=11, trials=25).startswith("25 kills")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")
@pytest.mark.parametrize("seed", range(4))
def test_many_killed_writers_lose_nothing(tmp_path: Path, seed: int) -> None:
    assert _kill(tmp_path, seed=seed, trials=150).startswith("150 kills")
