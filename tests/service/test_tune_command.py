"""`yusa tune`: what it stores, and when it does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny import Run, write_rows

import yusa
from yusa.search import tuning
from yusa.search.setting import Setting

WORDS = ["우산", "영화", "김치", "statement", "음악", "밥"]


@pytest.fixture
def index(tmp_path: Path, run: Run, encoder: Path) -> Path:
    """Documents that differ in a word which the encoder does not know: only lexical search tells them apart."""
    rows = [{"id": f"d{n}", "text": f"{WORDS[n % len(WORDS)]} RFC{n:03}"} for n in range(30)]
    path = tmp_path / "index"
    result = run("index", write_rows(tmp_path / "documents.jsonl", rows), "-i", path, "--encoder", encoder)
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text("question,id\n" + "".join(f"RFC{n:03},d{n}\n" for n in range(30)), "utf-8")
    return path


def tuned(path: Path) -> Mapping[str, Any]:
    with yusa.open(path) as index:
        return index.tuned()


def worst_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes dense search the default, which here finds nothing."""
    real = tuning.candidates
    monkeypatch.setattr(tuning, "candidates", lambda *given, **more: [Setting("dense"), *real(*given, **more)])


def test_a_better_choice_is_stored(run: Run, index: Path, questions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worst_default(monkeypatch)
    result = run("tune", questions, "-i", index, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["stored"] is True
    assert (found["questions"], found["folds"], found["metric"]) == (30, 5, "ndcg@10")
    assert found["cross_validated"]["mean"] == 1.0 > found["default"]["mean"]
    assert found["gain"]["interval"][0] > 0
    assert tuned(index) == found["choice"]


def test_a_dry_run_stores_nothing(run: Run, index: Path, questions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worst_default(monkeypatch)
    result = run("tune", questions, "-i", index, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "dry run, not stored: lexical" in result.stdout
    assert tuned(index) == {}


def test_what_is_not_better_is_not_stored(run: Run, index: Path, questions: Path) -> None:
    with yusa.open(index) as opened:
        opened.tune({"mode": "lexical"})
    result = run("tune", questions, "-i", index, "--mode", "dense")
    assert result.exit_code == 0, result.output
    assert "not stored: what was chosen is not better than the default; the index stays as it was" in result.stdout
    assert "default: hybrid, weight 0.6" in result.stdout
    assert "30 questions are few to choose by" in result.stderr
    assert tuned(index) == {"mode": "lexical"}


def test_wrong_usage(run: Run, index: Path, questions: Path, tmp_path: Path) -> None:
    single = tmp_path / "single.csv"
    single.write_text("question,id\nRFC001,d1\n", "utf-8")
    for arguments, code, message in (
        ((single, "-i", index), 1, "1 questions are too few to tune on"),
        ((questions, "-i", tmp_path / "nothing"), 1, "nothing"),
        ((questions, "-i", index, "--folds", "1"), 2, "1 is not in the range"),
    ):
        result = run("tune", *arguments)
        assert (result.exit_code, message in result.stderr) == (code, True), result.output
