"""A sentence-transformers directory is used as it says, unless told otherwise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yusa.encoder import Encoder
from yusa.errors import EncoderError

Files = dict[str, Any]


@pytest.fixture
def directory(tiny_bert: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bert, tmp_path / "model"))


def write(directory: Path, kinds: list[str], files: Files, *, package: str = "sentence_transformers.models") -> None:
    paths = ["", *(f"{index}_{kind}" for index, kind in enumerate(kinds[1:], start=1))]
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"{package}.{kind}"}
        for index, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    for name, content in (files | {"modules.json": modules}).items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(json.dumps(content, ensure_ascii=False), "utf-8")


CLS_WITH_PROMPTS: Files = {
    "1_Pooling/config.json": {
        "word_embedding_dimension": 32,
        "pooling_mode_cls_token": True,
        "pooling_mode_mean_tokens": False,
        "pooling_mode_max_tokens": False,
    },
    "config_sentence_transformers.json": {"prompts": {"query": "the ", "passage": "fox "}, "default_prompt_name": None},
    "sentence_bert_config.json": {"max_seq_length": 12, "do_lower_case": False},
}


def test_pooling_prompts_length_and_normalisation_are_obeyed(
    directory: Path, tiny_bert: Path, texts: list[str]
) -> None:
    write(directory, ["Transformer", "Pooling", "Normalize"], CLS_WITH_PROMPTS)
    encoder = Encoder.load(directory)
    assert (encoder.pooling, encoder.query_prompt, encoder.document_prompt) == ("cls", "the ", "fox ")
    assert (encoder.max_length, encoder.document_budget, encoder.normalize) == (12, 9, True)
    plain = Encoder.load(tiny_bert, pooling="cls", max_length=12)
    np.testing.assert_allclose(
        encoder.encode_queries(texts), plain.encode_queries([f"the {text}" for text in texts]), atol=1e-6
    )
    np.testing.assert_allclose(
        encoder.encode_documents(texts), plain.encode_queries([f"fox {text}" for text in texts]), atol=1e-6
    )


def test_arguments_win(directory: Path) -> None:
    write(directory, ["Transformer", "Pooling", "Normalize"], CLS_WITH_PROMPTS)
    encoder = Encoder.load(directory, pooling="mean", max_length=20, prompts={"query": ""}, normalize=False)
    assert (encoder.pooling, encoder.max_length, encoder.normalize) == ("mean", 20, False)
    assert (encoder.query_prompt, encoder.document_prompt) == ("", "fox ")
    assert np.abs(np.linalg.norm(encoder.encode_documents(["fox"])) - 1) > 1e-3


def test_sentence_transformers_agrees(directory: Path, texts: list[str], transformers: Any) -> None:
    library = pytest.importorskip("sentence_transformers")
    prompts = {"config_sentence_transformers.json": {"prompts": {"query": "the ", "document": "fox "}}}
    write(directory, ["Transformer", "Pooling", "Normalize"], CLS_WITH_PROMPTS | prompts)
    theirs = library.SentenceTransformer(str(directory), device="cpu")
    ours = Encoder.load(directory)
    np.testing.assert_allclose(ours.encode_queries(texts), theirs.encode_query(texts), atol=1e-5)
    np.testing.assert_allclose(ours.encode_documents(texts), theirs.encode_document(texts), atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode": "cls", "embedding_dimension": 32}, "cls"),
        ({"pooling_mode": ["mean"]}, "mean"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({}, "mean"),
    ],
)
def test_old_and_new_forms_of_the_pooling(directory: Path, pooling: dict[str, Any], expected: str) -> None:
    write(
        directory,
        ["Transformer", "Pooling"],
        {"1_Pooling/config.json": pooling},
        package="sentence_transformers.base.modules.some_module",
    )
    assert Encoder.load(directory).pooling == expected


@pytest.mark.parametrize(
    ("pooling", "named"),
    [
        ({"pooling_mode": "weightedmean"}, "weightedmean"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, r"cls\+mean"),
    ],
)
def test_other_poolings_are_refused_by_name_but_may_be_replaced(
    directory: Path, pooling: dict[str, Any], named: str
) -> None:
    write(directory, ["Transformer", "Pooling"], {"1_Pooling/config.json": pooling})
    with pytest.raises(EncoderError, match=f"asks for the pooling '{named}'; yusa has mean, cls, pooler"):
        Encoder.load(directory)
    assert Encoder.load(directory, pooling="mean").pooling == "mean"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"prompts": {"query": "a ", "document": "b "}}, ("a ", "b ")),
        ({"prompts": {"query": "a ", "document": "b ", "passage": "c "}}, ("a ", "b ")),
        ({"prompts": {"query": "", "document": ""}, "default_prompt_name": "query"}, ("", "")),
        ({"prompts": {"retrieval": "r "}, "default_prompt_name": "retrieval"}, ("r ", "r ")),
        ({"prompts": {"retrieval": "r "}}, ("", "")),
        ({"prompts": None}, ("", "")),
    ],
)
def test_which_prompt_is_whose(directory: Path, settings: dict[str, Any], expected: tuple[str, str]) -> None:
    write(directory, ["Transformer", "Pooling"], {"config_sentence_transformers.json": settings})
    encoder = Encoder.load(directory)
    assert (encoder.query_prompt, encoder.document_prompt) == expected


@pytest.mark.parametrize(
    ("kinds", "similarity", "expected"),
    [
        (["Transformer", "Pooling", "Normalize"], "dot", True),
        (["Transformer", "Pooling"], "dot", False),
        (["Transformer", "Pooling"], "cosine", True),
        (["Transformer", "Pooling"], None, True),
    ],
)
def test_normalisation(directory: Path, kinds: list[str], similarity: str | None, expected: bool) -> None:
    write(directory, kinds, {"config_sentence_transformers.json": {"similarity_fn_name": similarity}})
    assert Encoder.load(directory).normalize is expected


def test_the_body_may_stand_in_a_folder_of_its_own(directory: Path, tiny_bert: Path, texts: list[str]) -> None:
    write(directory, ["Transformer", "Pooling"], {"sentence_bert_config.json": {"max_seq_length": 9}})
    modules = json.loads((directory / "modules.json").read_text("utf-8"))
    modules[0]["path"] = "0_Transformer"
    (directory / "modules.json").write_text(json.dumps(modules), "utf-8")
    (directory / "0_Transformer").mkdir()
    for file in list(directory.iterdir()):
        if file.is_file() and file.name != "modules.json":
            file.rename(directory / "0_Transformer" / file.name)
    np.testing.assert_allclose(
        Encoder.load(directory).encode_documents(texts),
        Encoder.load(tiny_bert, max_length=9).encode_documents(texts),
        atol=1e-6,
    )


def test_do_lower_case(directory: Path) -> None:
    write(directory, ["Transformer", "Pooling"], {"sentence_bert_config.json": {"do_lower_case": True}})
    upper, lower = Encoder.load(directory).encode_documents(["THE Fox", "the fox"])
    np.testing.assert_array_equal(upper, lower)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (["Transformer", "Pooling", "Dense"], r"Transformer \+ Pooling \+ Dense; yusa does not compute Dense"),
        (["StaticEmbedding"], "yusa does not compute StaticEmbedding"),
        (["Transformer", "Normalize"], r"made of Transformer \+ Normalize. Choose"),
    ],
)
def test_other_modules_are_refused_by_name(directory: Path, kinds: list[str], message: str) -> None:
    write(directory, kinds, {})
    with pytest.raises(EncoderError, match=message):
        Encoder.load(directory)


def test_a_prompt_outside_of_the_pooling_is_refused(directory: Path) -> None:
    files = {"1_Pooling/config.json": {"include_prompt": False}}
    write(directory, ["Transformer", "Pooling"], files)
    assert Encoder.load(directory).pooling == "mean", "harmless without a prompt"
    write(
        directory,
        ["Transformer", "Pooling"],
        files | {"config_sentence_transformers.json": {"prompts": {"query": "a "}}},
    )
    with pytest.raises(EncoderError, match="include_prompt false"):
        Encoder.load(directory)


@pytest.mark.parametrize("content", ["{", "[1]", '[{"path": ""}]'])
def test_a_damaged_modules_json(directory: Path, content: str) -> None:
    (directory / "modules.json").write_text(content, "utf-8")
    with pytest.raises(EncoderError, match=r"cannot read .*modules.json"):
        Encoder.load(directory)
