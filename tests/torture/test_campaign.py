"""Writers killed at every kind of point: nothing acknowledged is lost, nothing is half there, no row is crossed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_SUPPORT = Path(__file__).parents[1] / "support"
_COUNTS = ("lost_acknowledgements", "half_changes", "crossed_rows", "did_not_reopen", "other_findings")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")


def _campaign(directory: Path, *options: str, found: bool = False) -> dict[str, Any]:
    """Run a campaign of its own process; its counts."""
    others = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_SUPPORT), *others])}
    result = directory / "result.json"
    command = [sys.executable, "-m", "campaign", "--directory", str(directory), "--json", str(result), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == int(found), done.stdout + done.stderr
    counts: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return counts


def test_killed_writers_lose_nothing(tmp_path: Path) -> None:
    counts = _campaign(tmp_path, "--seed", "11", "--kills", "24")
    assert [counts[name] for name in _COUNTS] == [0] * len(_COUNTS)
    assert counts["kills"] == 24
    assert sum(counts["kills_by_point"].values()) == sum(counts["kills_by_operation"].values()) == 24
    assert counts["commits_acknowledged"] > 24


@pytest.mark.parametrize(
    ("broken", "points", "kind"),
    [
        ("early", ("--point", "commit"), "lost_acknowledgements"),
        ("swapped", ("--point", "commit"), "crossed_rows"),
        ("apart", ("--point", "fdatasync", "--point", "write"), "half_changes"),
        ("mixed", ("--point", "rename"), "other_findings"),
    ],
)
def test_a_broken_product_is_reported(tmp_path: Path, broken: str, points: tuple[str, ...], kind: str) -> None:
    options = ("--seed", "3", "--kills", "40", "--stop", "--broken", broken)
    points = points if sys.platform == "linux" else ()
    counts = _campaign(tmp_path, *options, *points, found=True)
    assert counts[kind] > 0, counts


def test_a_seed_replays(tmp_path: Path) -> None:
    """Odd rounds are killed at named points alone, so everything that is counted comes out the same."""
    once, again = (_campaign(tmp_path, "--seed", "5", "--kills", "5", "--round", "1") for _ in range(2))
    assert {**once, "seconds": 0} == {**again, "seconds": 0}


def test_python_s_own_file_operations_are_points_too(tmp_path: Path) -> None:
    """Where nothing can be preloaded."""
    counts = _campaign(tmp_path, "--python", "--seed", "4", "--kills", "6", "--round", "1")
    assert [counts[name] for name in _COUNTS] == [0] * len(_COUNTS)
    assert counts["means"] == "Python's file operations"


@pytest.mark.torture
def test_two_thousand_killed_writers_lose_nothing(tmp_path: Path) -> None:
    counts = _campaign(tmp_path, "--seed", "1", "--kills", "2000")
    assert counts["kills"] == 2000
    assert [counts[name] for name in _COUNTS] == [0] * len(_COUNTS)
