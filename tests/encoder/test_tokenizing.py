"""vocab.txt against transformers' BERT tokenizer, digests, limits, and what is loaded when."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import unigrams

from yusa.encoder import Encoder
from yusa.encoder.reference import Facts, Reference
from yusa.encoder.tokenizing import Tokenizer, load_tokenizer
from yusa.errors import EncoderError

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


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("YUSA_CACHE", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def small(tmp_path: Path, own_cache: Path) -> Path:
    """A Unigram tokenizer."""
    (tmp_path / "small").mkdir()
    return unigrams.write_unigram_tokenizer(tmp_path / "small")


def described(tokenizer: Tokenizer) -> tuple[object, ...]:
    return (
        tokenizer.digest,
        tokenizer.vocabulary,
        tokenizer.pad_id,
        tokenizer.limit,
        tokenizer.prefix,
        tokenizer.suffix,
        tokenizer.specials,
    )


def texts_of(tokenizer: Tokenizer, texts: list[str], length: int = 64) -> list[list[int]]:
    ids = tokenizer.ids(texts, length)
    assert ids.flat.dtype == np.int32
    assert ids.lengths.dtype == np.int64
    assert len(ids) == len(texts)
    return [ids[row].tolist() for row in range(len(ids))]


@pytest.mark.parametrize("lowercase", [False, True])
def test_what_is_remembered_is_what_was_seen(tiny_bert: Path, small: Path, lowercase: bool) -> None:
    for directory in (tiny_bert, small):
        first = load_tokenizer(directory, lowercase=lowercase)
        second = load_tokenizer(directory, lowercase=lowercase)
        assert first._loaded is not None
        assert second._loaded is None
        assert described(second) == described(first)
    assert described(first)[1:] == (len(unigrams.PIECES), 1, 64, [0], [2], 2)


def test_a_few_short_texts_need_no_reference(small: Path) -> None:
    reference = load_tokenizer(small)
    texts = [text for text in unigrams.CERTAIN if len(text) < 200][:16]
    fast = load_tokenizer(small)
    assert texts_of(fast, texts) == texts_of(reference, texts)
    assert texts_of(fast, texts, 4) == texts_of(reference, texts, 4)
    assert [fast.count(text) for text in texts] == [reference.count(text) for text in texts]
    assert texts_of(fast, []) == []
    assert fast._loaded is None


@pytest.mark.parametrize(
    "texts", [["a"] * 17, ["a" * 4001], ["ab", "\u1112\u1161\u11ab"], ["\ud800"], ["a <mask> b"]], ids=str
)
def test_more_or_stranger_texts_are_asked_of_the_reference(small: Path, texts: list[str]) -> None:
    expected = texts_of(load_tokenizer(small), texts)
    fast = load_tokenizer(small)
    assert texts_of(fast, texts) == expected
    assert fast._loaded is not None


def test_texts_of_another_type_are_named(small: Path) -> None:
    load_tokenizer(small)
    for texts in (["a", None], ["a", 5], ["a", ["b"]]):
        with pytest.raises(TypeError, match="texts must be str; number 1 is"):
            load_tokenizer(small).ids(texts, 64)  # type: ignore[arg-type]


def test_threads_load_the_reference_once(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_tokenizer(small)
    tokenizer = load_tokenizer(small)
    loads: list[int] = []
    load = Reference.load

    def counted(self: Reference) -> Any:
        loads.append(1)
        return load(self)

    monkeypatch.setattr(Reference, "load", counted)
    together = threading.Barrier(4)

    def tokenize() -> None:
        together.wait()
        tokenizer.ids(["a"] * 20, 64)

    threads = [threading.Thread(target=tokenize) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


def test_a_query_imports_no_tokenizers(small: Path) -> None:
    load_tokenizer(small)
    code = (
        "import sys\nfrom pathlib import Path\nfrom yusa.encoder.tokenizing import load_tokenizer\n"
        f"tokenizer = load_tokenizer(Path({str(small)!r}))\n"
        "print(tokenizer.ids(['안녕 ab'], 64).flat.tolist(), 'tokenizers' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ.copy()
    )
    assert done.stdout.strip() == f"{texts_of(load_tokenizer(small), ['안녕 ab'])[0]} False"


@pytest.mark.parametrize(
    "nonsense",
    [
        "{",
        "[]",
        "{}",
        '{"facts": 5}',
        '{"facts": "{}"}',
        '{"facts": "[1]"}',
        '{"facts": "null"}',
    ],
)
def test_a_cache_of_nonsense_is_no_error_and_is_written_again(small: Path, own_cache: Path, nonsense: str) -> None:
    expected = described(load_tokenizer(small))
    (memory,) = (own_cache / "digests").iterdir()
    memory.write_text(nonsense, "utf-8")
    assert described(load_tokenizer(small)) == expected
    assert load_tokenizer(small)._loaded is None


@pytest.mark.parametrize("name", list(Facts.__dataclass_fields__))
def test_a_fact_of_another_type_is_not_believed(small: Path, own_cache: Path, name: str) -> None:
    expected = described(load_tokenizer(small))
    (memory,) = (own_cache / "digests").iterdir()
    facts = json.loads(json.loads(memory.read_text("utf-8"))["facts"])
    for value in (1.5, [None], {"a": 1}):
        memory.write_text(json.dumps({"facts": json.dumps(facts | {name: value})}), "utf-8")
        tokenizer = load_tokenizer(small)
        assert described(tokenizer) == expected
        assert tokenizer._loaded is not None


def test_arrays_that_are_gone_or_damaged_are_no_error(small: Path, own_cache: Path) -> None:
    texts = ["안녕 ab"]
    expected = texts_of(load_tokenizer(small), texts)
    (arrays,) = (own_cache / "tokenizers").iterdir()
    (arrays / "scores.npy").write_bytes(b"")
    damaged = load_tokenizer(small)
    assert texts_of(damaged, texts) == expected
    assert damaged._loaded is not None
    shutil.rmtree(arrays)
    assert texts_of(load_tokenizer(small), texts) == expected
    again = load_tokenizer(small)
    assert texts_of(again, texts) == expected
    assert again._loaded is None


def test_a_cache_that_cannot_be_written_is_no_error(small: Path, own_cache: Path) -> None:
    own_cache.write_text("a file stands here", "utf-8")
    for _ in range(2):
        assert texts_of(load_tokenizer(small), ["ab"]) == [[0, 6, 2]]


def test_a_tokenizer_that_changed_is_read_anew_and_never_mixed(small: Path) -> None:
    load_tokenizer(small)
    before = load_tokenizer(small)
    assert texts_of(before, ["ab"]) == [[0, 6, 2]]
    changed = json.loads((small / "tokenizer.json").read_text("utf-8"))
    changed["model"]["vocab"][6][1] = -60.0
    (small / "tokenizer.json").write_text(json.dumps(changed), "utf-8")
    after = load_tokenizer(small)
    assert after.digest != before.digest
    assert texts_of(after, ["ab"]) != [[0, 6, 2]]
    with pytest.raises(EncoderError, match="was changed while it was in use"):
        before.ids(["ab"] * 20, 64)


def test_a_damaged_tokenizer_is_an_error_when_it_is_loaded(small: Path) -> None:
    load_tokenizer(small)
    (small / "tokenizer.json").write_text("{}", "utf-8")
    with pytest.raises(EncoderError, match="is damaged"):
        load_tokenizer(small)
