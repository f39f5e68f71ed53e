"""Processes into which the shim of system calls is preloaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import syscalls

RunShimmed = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def shim() -> Path:
    """The compiled shim; skips where there can be none."""
    library = syscalls.library()
    if library is None:
        pytest.skip("the shim of system calls needs Linux and a C compiler")
    return library


@pytest.fixture
def run_shimmed(shim: Path) -> RunShimmed:
    """Run Python code, or a file, in a process with the shim."""

    def run(code: str | Path, *arguments: object) -> subprocess.CompletedProcess[str]:
        what = [str(code)] if isinstance(code, Path) else ["-c", code]
        return subprocess.run(
            [sys.executable, *what, *map(str, arguments)],
            env=syscalls.environment(shim),
            capture_output=True,
            text=True,
            check=False,
        )

    return run
