"""Power losses, which a kill cannot show: whatever the disk kept of what was not synced, nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import powerloss
import pytest
from powerloss import Trial

from yusa.errors import StorageError

RunShimmed = Callable[..., "subprocess.CompletedProcess[str]"]


def _trial(run: RunShimmed, directory: Path, seed: int, steps: int, weakening: str = "") -> Trial:
    root, log = directory / "root", directory / "log"
    powerloss.prepare(root)
    shutil.copytree(root, directory / "image")
    done = run(Path(powerloss.__file__), root, log, seed, steps, weakening)
    assert done.returncode == 0, done.stderr
    return Trial(root, directory / "image", log, seed, directory)


def _some(trial: Trial, count: int) -> set[int]:
    """Crash points all over the run: the same for the same recording."""
    random = np.random.default_rng(0)
    return set(random.choice(len(trial.operations), size=min(count, len(trial.operations)), replace=False).tolist())


def test_a_power_loss_loses_nothing_acknowledged(run_shimmed: RunShimmed, tmp_path: Path) -> None:
    trial = _trial(run_shimmed, tmp_path, seed=29, steps=10)
    kinds = {powerloss.step_of(29, number).kind for number in range(10)}
    assert kinds == {"create", "migrate", "put", "delete", "compact", "backup"}
    trial.run(_some(trial, 8))
    assert trial.checked > 20


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "steps"), [(29, 10), (4, 9)])
def test_no_power_loss_at_any_operation_loses_anything(
    run_shimmed: RunShimmed, tmp_path: Path, seed: int, steps: int
) -> None:
    trial = _trial(run_shimmed, tmp_path, seed=seed, steps=steps)
    trial.run(set(range(len(trial.operations))))
    assert trial.checked > len(trial.operations)


@pytest.mark.parametrize(
    ("weakening", "loss"),
    [
        ("database", "is damaged|creation did not finish|no acknowledged step"),
        ("segments", "0 bytes instead of"),
        ("names", "there is no directory"),
    ],
)
def test_a_promise_left_out_is_seen(run_shimmed: RunShimmed, tmp_path: Path, weakening: str, loss: str) -> None:
    """Without fsync of the database, of segments or of directories the same check fails: it can."""
    trial = _trial(run_shimmed, tmp_path, seed=29, steps=9, weakening=weakening)
    assert trial.operations[-1].kind == "m"
    with pytest.raises((AssertionError, StorageError), match=loss) as caught:
        trial.run({len(trial.operations) - 1})
    assert "power lost after operation" in "".join(caught.value.__notes__)
