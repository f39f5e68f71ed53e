"""vocab.txt against transformers' BERT tokenizer, digests, limits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from yusa.encoder import Encoder
from yusa.encoder.tokenizing import load_tokenizer

HARD = [
    "The QUICK fox, the fox!",
    "Café crème 안녕하세요하이",
    "[MASK] fox [SEP] the [CLS]",
    "the\tfox\u200b \u00a0fox\u3000the",
    "漢字 the 한자fox",
    "x" * 150 + " fox",
    "ㅋㅋㅋ ㄷㄷ \u1112\u1161\u11ab",
]


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("chinese", [False, True])
@pytest.mark.parametrize("accents", [None, False, True])
def test_vocab_txt_is_read_as_transformers_reads_it(
    tiny_bert: Path, tmp_path: Path, transformers: Any, lower: bool, chinese: bool, accents: bool | None
) -> None:
    shutil.copy(tiny_bert / "vocab.txt", tmp_path)
    options = {"do_lower_case": lower, "tokenize_chinese_chars": chinese, "strip_accents": accents}
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(options | {"tokenizer_class": "BertTokenizer", "cls_token": {"content": "[CLS]"}}), "utf-8"
    )
    ours = load_tokenizer(tmp_path)
    theirs = transformers.BertTokenizer(str(tmp_path / "vocab.txt"), **options)
    for text in HARD:
        assert ours.ids([text], 512)[0].tolist() == theirs(text)["input_ids"]


def test_a_saved_tokenizer_json_is_the_same_tokenizer(tiny_bert: Path, tmp_path: Path) -> None:
    plain = load_tokenizer(tiny_bert)
    shutil.copy(tiny_bert / "tokenizer_config.json", tmp_path)
    plain._backend.enable_truncation(8)
    plain._backend.enable_padding()
    plain._backend.save(str(tmp_path / "tokenizer.json"))
    again = load_tokenizer(tmp_path)
    assert again.digest == plain.digest
    assert len(again.ids(["fox " * 20], 512)[0]) == 22, "truncation and padding in the file are not obeyed"


def test_the_digest_follows_what_decides_ids(tiny_bert: Path, tmp_path: Path) -> None:
    before = load_tokenizer(tiny_bert).digest
    assert load_tokenizer(tiny_bert, lowercase=True).digest != before
    shutil.copytree(tiny_bert, tmp_path, dirs_exist_ok=True)
    assert load_tokenizer(tmp_path).digest == before
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}), "utf-8")
    assert load_tokenizer(tmp_path).digest != before


def test_lowercase_keeps_offsets(tiny_bert: Path) -> None:
    tokenizer = load_tokenizer(tiny_bert, lowercase=True)
    text = "İ THE FOX"
    ((_, tokens, offsets),) = tokenizer.tokens([text], 512)
    assert tokens[-3:-1] == ["the", "fox"]
    assert [text[start:stop] for start, stop in offsets[-3:-1]] == ["THE", "FOX"]


@pytest.mark.parametrize(("stated", "expected"), [(16, 16), (10**30, 24), (1e30, 24), (512, 24), (None, 24), ("x", 24)])
def test_the_tokenizers_limit_counts_unless_it_is_none_at_all(
    tiny_bert: Path, tmp_path: Path, stated: Any, expected: int
) -> None:
    shutil.copytree(tiny_bert, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": False, "model_max_length": stated}), "utf-8"
    )
    assert Encoder.load(tmp_path).max_length == expected
    assert Encoder.load(tmp_path, max_length=20).max_length == 20
