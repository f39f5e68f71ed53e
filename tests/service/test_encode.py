from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import Run

import yusa


def test_each_text_becomes_a_line_with_its_vector(run: Run, encoder: Path) -> None:
    result = run("encode", "지루한 영화 를", "for statement", "--encoder", encoder)
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["text"] for line in lines] == ["지루한 영화 를", "for statement"]
    expected = yusa.Encoder.load(encoder).encode_documents(["지루한 영화 를", "for statement"])
    np.testing.assert_array_equal(np.array([line["vector"] for line in lines], dtype=np.float32), expected)


def test_lines_of_standard_input_are_texts(run: Run, encoder: Path) -> None:
    result = run("encode", "-", stdin="\ufeff비 가\r\n\nlist\n".encode(), env={"YUSA_ENCODER": str(encoder)})
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == ["비 가", "list"]
    assert run("encode", stdin="비 가\nlist", env={"YUSA_ENCODER": str(encoder)}).stdout == result.stdout


def test_pooling_changes_the_vector(run: Run, encoder: Path) -> None:
    vectors = {
        pooling: run("encode", "비", "--encoder", encoder, "--pooling", pooling).stdout
        for pooling in ("mean", "cls", "pooler")
    }
    assert len(set(vectors.values())) == 3


def test_queries_may_have_a_prompt(run: Run, encoder: Path, tmp_path: Path) -> None:
    prompted = tmp_path / "prompted"
    prompted.mkdir()
    for file in encoder.iterdir():
        (prompted / file.name).symlink_to(file)
    (prompted / "modules.json").write_text('[{"type": "Transformer", "path": ""}, {"type": "Pooling", "path": "p"}]')
    (prompted / "config_sentence_transformers.json").write_text('{"prompts": {"query": "비 가 ", "document": ""}}')
    (prompted / "p").mkdir()
    (prompted / "p" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    plain, query = (
        json.loads(run("encode", *how, "list", "--encoder", prompted).stdout)["vector"] for how in ([], ["--query"])
    )
    assert plain != query
    assert query == json.loads(run("encode", "비 가 list", "--encoder", encoder).stdout)["vector"]


def test_tokens_have_places_and_vectors(run: Run, encoder: Path) -> None:
    result = run("encode", "--tokens", "비 가 왔다", "--encoder", encoder)
    tokens = json.loads(result.stdout)["tokens"]
    assert [token["token"] for token in tokens] == ["[CLS]", "비", "가", "왔다", "[SEP]"]
    assert [(token["start"], token["end"]) for token in tokens] == [(0, 0), (0, 1), (2, 3), (4, 6), (0, 0)]
    assert all(len(token["vector"]) == 32 for token in tokens)


def test_features_are_what_the_network_is_given(run: Run, encoder: Path) -> None:
    result = run("encode", "--features", "--max-length", 6, "비 가", "list", "--encoder", encoder)
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert set(first) == {"text", "input_ids", "token_type_ids", "attention_mask"}
    assert first["attention_mask"] == [1, 1, 1, 1, 0, 0]
    assert second["attention_mask"] == [1, 1, 1, 0, 0, 0]
    assert first["input_ids"][0] == second["input_ids"][0] == 2
    assert first["token_type_ids"] == [0] * 6


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "message"),
    [
        (["--query", "--tokens", "x"], "", 2, "--query, --tokens and --features exclude each other"),
        (["x", "--pooling", "max"], "", 2, "'max' is not one of 'mean', 'cls', 'pooler'"),
        (["x", "--encoder", "/no/such/model"], "", 1, "/no/such/model"),
        (["-"], b"ok\n\xff\xfe\n", 1, "line 2 of standard input is not UTF-8 (byte 1 of the line)"),
        (["x", "--device", "abacus"], "", 1, "the device 'abacus' cannot be used"),
    ],
)
def test_what_cannot_be_encoded_is_named(
    run: Run, encoder: Path, arguments: list[str], stdin: str | bytes, code: int, message: str
) -> None:
    result = run("encode", *arguments, stdin=stdin, env={"YUSA_ENCODER": str(encoder)})
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
