"""`--int8`: chosen at creation, its loss said there and by `stats`, remembered by the index."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import Run

import yusa
from yusa.errors import EncoderMismatchError

pytestmark = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="this torch has int8 for x86 CPUs only"
)
SAID = re.compile(
    r"int8: cosine to float32 at least 0\.\d{4}, [01]\.\d{4} in the mean, over 16 texts; another identity"
)


@pytest.fixture
def index(run: Run, tmp_path: Path, rows: Path, encoder: Path) -> Path:
    path = tmp_path / "int8"
    result = run("index", rows, "-i", path, "--encoder", encoder, "--int8")
    assert result.exit_code == 0, result.output
    assert len(SAID.findall(result.stderr)) == 1
    return path


def test_the_index_remembers_it(run: Run, index: Path, rows: Path) -> None:
    found = run("search", "지루한 영화", "-i", index, "--mode", "dense", "--format", "json")
    assert json.loads(found.stdout)[0]["id"] == "film"
    for options in ([], ["--int8"]):
        again = run("index", rows, "-i", index, *options)
        assert (again.exit_code, SAID.search(again.stderr)) == (0, None)
        assert "5 unchanged" in again.stdout
    with yusa.open(index) as opened:
        assert opened.encoder.fingerprint.quantization == "int8"
        assert opened.settings.encoder_options["quantization"] == "int8"


def test_stats_show_the_loss(run: Run, index: Path, made: Path) -> None:
    assert SAID.search(re.sub(r"\s+", " ", run("stats", "-i", index).stdout))
    settings = json.loads(run("stats", "-i", index, "--json").stdout)["settings"]
    assert SAID.match(settings["provenance"]["quantization"])
    assert settings["fingerprint"]["quantization"] == "int8"
    assert "int8" not in run("stats", "-i", made).stdout


def test_the_plain_encoder_is_refused_by_name_and_the_other_way_round(
    run: Run, index: Path, made: Path, rows: Path, encoder: Path
) -> None:
    with (
        yusa.open(index, quantization="none") as opened,
        pytest.raises(EncoderMismatchError, match=r"quantization \('int8' and 'none'\)"),
    ):
        opened.search("비")
    result = run("index", rows, "-i", made, "--int8")
    assert result.exit_code == 1
    assert "quantization ('none' and 'int8') (the index first)" in result.stderr
    assert "Leave --encoder, --pooling, --int8 and prompts out" in result.stderr


def test_an_index_of_before_has_no_such_option(made: Path) -> None:
    with yusa.open(made) as opened:
        assert "quantization" not in opened.settings.encoder_options
        assert opened.encoder.fingerprint.quantization == "none"


def test_another_place_of_the_encoder_is_read_in_int8_too(run: Run, index: Path, encoder: Path) -> None:
    result = run("search", "비", "-i", index, "--encoder", encoder)
    assert result.exit_code == 0, result.output
    # Where int8 can't be, that is what is said, not that the encoder is another.
    result = run("search", "비", "-i", index, "--encoder", encoder, "--device", "cuda")
    assert result.exit_code == 1
    assert "int8 is computed on a CPU" in result.stderr


def test_encode(run: Run, encoder: Path) -> None:
    result = run("encode", "지루한 영화 를", "--encoder", encoder, "--int8")
    assert result.exit_code == 0, result.output
    assert SAID.search(result.stderr)
    vector = np.array(json.loads(result.stdout)["vector"], dtype=np.float32)
    expected = yusa.Encoder.load(encoder, quantization="int8").encode_documents(["지루한 영화 를"])
    np.testing.assert_array_equal(vector, expected[0])
    refused = run("encode", "비", "--encoder", encoder, "--int8", "--device", "cuda")
    assert refused.exit_code == 1
    assert "leave int8 out" in refused.stderr


def test_reindex_to_it_and_back(run: Run, own: Path, encoder: Path) -> None:
    there = run("reindex", "--int8", "-i", own)
    assert there.exit_code == 0, there.output
    assert SAID.search(there.stderr)
    with yusa.open(own) as opened:
        assert opened.settings.fingerprint["quantization"] == "int8"
        assert opened.search("지루한 영화", mode="dense")[0].id == "film"
    back = run("reindex", "--encoder", encoder, "-i", own)
    assert (back.exit_code, SAID.search(back.stderr)) == (0, None)
    with yusa.open(own) as opened:
        assert opened.settings.fingerprint["quantization"] == "none"


def test_eval_has_an_index_for_each(run: Run, tmp_path: Path, rows: Path, encoder: Path, made: Path) -> None:
    dataset = tmp_path / "set"
    dataset.mkdir()
    rows.rename(dataset / "corpus.jsonl")
    (dataset / "queries.jsonl").write_text('{"_id": "q", "text": "지루한 영화"}\n', "utf-8")
    (dataset / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\tfilm\t1\n", "utf-8")
    asked = ("eval", dataset, "--encoder", encoder, "--mode", "dense", "--json")
    environment = {"YUSA_CACHE": str(tmp_path / "cache")}
    for options in ([], ["--int8"]):
        result = run(*asked, *options, env=environment)
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["runs"][0]["metrics"]["ndcg@10"] == 1.0
        assert bool(SAID.search(" ".join(found["notes"]))) == bool(options)
    assert len(list((tmp_path / "cache" / "eval").iterdir())) == 2
    refused = run("eval", dataset, "-i", made, "--int8")
    assert refused.exit_code == 1
    assert "quantization ('none' and 'int8')" in refused.stderr
