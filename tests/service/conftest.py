"""The command line under test, a tiny encoder, and an index made with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tiny import DOCUMENTS, Run, write_encoder, write_rows

from yusa.service.cli import cli


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def other_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("models") / "other", shift=0.5)


def _invoke(*arguments: object, stdin: str | bytes | None = None, env: dict[str, str] | None = None) -> Result:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli, words, input=stdin, env=env, catch_exceptions=False)


@pytest.fixture(scope="session")
def run() -> Run:
    return _invoke


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    """An index of DOCUMENTS that all tests share: only to be read."""
    directory = tmp_path_factory.mktemp("made")
    return _make(directory / "index", write_rows(directory / "rows.jsonl", DOCUMENTS), encoder)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", DOCUMENTS)


@pytest.fixture
def own(tmp_path: Path, rows: Path, encoder: Path) -> Path:
    """An index of `rows` for one test, which may write to it."""
    return _make(tmp_path / "own", rows, encoder)


def _make(index: Path, rows: Path, encoder: Path) -> Path:
    result = _invoke("index", rows, "-i", index, "--encoder", encoder)
    assert result.exit_code == 0, result.output
    return index
