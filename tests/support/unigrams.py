"""A small Unigram tokenizer with every trap of a large one, and the lines that spring them."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from yusa.encoder.charsmap import charsmap

# Whole sums, so that many ways to divide a word are equally good.
PIECES = [
    ("<s>", 0.0),
    ("<pad>", 0.0),
    ("</s>", 0.0),
    ("<unk>", 0.0),
    ("▁", -3.0),
    ("▁a", -4.0),
    ("▁ab", -6.0),
    ("a", -2.0),
    ("b", -2.0),
    ("ab", -4.0),
    ("ba", -4.0),
    ("aba", -6.0),
    ("bab", -5.5),
    ("abab", -8.0),
    ("<", -5.0),
    (">", -5.0),
    ("s", -5.0),
    ("fi", -3.0),
    ("i", -4.0),
    ("안", -3.0),
    ("녕", -3.0),
    ("안녕", -6.0),
    ("▁안녕", -8.0),
    ("녕하", -5.0),
    ("하세요", -4.0),
    ("각", -4.0),
    ("ᄏ", -4.0),
    ("ᄏᄏ", -5.0),
    ("é", -5.0),
    ("▁▁", -1.0),
    ("b▁a", -1.0),
    ("😀", -5.0),
    ("다", -1.0),
    ("다", -7.0),  # the last of the same counts
    ("<mask>", 0.0),
]

FORMS = {
    "\t": " ",
    "\n": " ",
    "\u00a0": " ",
    "\u3000": " ",
    "\u200b": " ",
    "\u0001": "",
    "ㅋ": "ᄏ",
    "ﬁ": "fi",
    "＜": "<",
    "＞": ">",
    "Ａ": "a",
    "¨": " \u0308",
    "e\u0301": "é",
    "a\u0301": "b",
    unicodedata.normalize("NFD", "각"): "각",
    "ab": "i",  # two characters that are no cluster: never looked up
}

COLLAPSED = normalizers.Replace(Regex(" {2,}"), " ")
METASPACE = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
WORDS = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), METASPACE])


def precompiled() -> Any:
    return normalizers.Precompiled(charsmap(FORMS))


PIPELINES: dict[str, tuple[Any, Any]] = {
    "collapsed": (lambda: normalizers.Sequence([precompiled(), COLLAPSED]), METASPACE),
    "words": (precompiled, WORDS),
    "stripped": (
        lambda: normalizers.Sequence(
            [precompiled(), normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")]
        ),
        METASPACE,
    ),
    "plain": (lambda: None, METASPACE),
}
"""Normalizers and pre-tokenizers as XLM-RoBERTa's checkpoints have them, old and new."""


def unigram(pipeline: str = "collapsed", *, model: Any = None) -> Tokenizer:
    """The tokenizer with the special tokens of XLM-RoBERTa."""
    normalizer, pre_tokenizer = PIPELINES[pipeline]
    tokenizer = Tokenizer(model or models.Unigram(PIECES, unk_id=3, byte_fallback=False))
    if normalizer() is not None:
        tokenizer.normalizer = normalizer()
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True)])
    return tokenizer


def write_unigram_tokenizer(directory: Path, pipeline: str = "collapsed") -> Path:
    """`directory` with that tokenizer in it."""
    unigram(pipeline).save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"pad_token": "<pad>", "model_max_length": 64}), "utf-8"
    )
    return directory


CERTAIN = [
    "",
    " ",
    "     ",
    "a",
    " a ",
    "  a   b  ",
    "\ta\nb\t\n",
    "a\u3000b\u00a0\u3000a",
    "ababababab",
    "bababa abab",
    "안녕하세요 안녕 하세요안녕하",
    "쯧쯧",
    "쯧쯧 a쯧b 쯧",
    "힣뷁쀍 ab힣뷁ab",
    "ㅋㅋㅋㅋ ㅋ",
    "ﬁﬁa ＡＢ ＜ab＞",
    "다다다",
    "¨a",
    "▁",
    "▁▁a▁b ▁ab",
    "😀 a😀😀",
    "漢字 日本 русский",
    "ab" * 2500,
    "쯧" * 5000,
]
"""Lines that are to be answered from arrays."""

UNCERTAIN = [
    "e\u0301a\u0301 ab",
    unicodedata.normalize("NFD", "각 안녕하세요"),
    "\u1112\u1161\u11ab",
    "a\u200bb",
    "\u0001",
    "a\u0001b",
    "a\r\nb",
    "👩\u200d👧 a",
    "👍🏽",
    "🇰🇷",
    "\ufe0f",
    "<s>a</s>",
    "a <mask> b",
    "＜s＞",
    "＜mask＞ ＜unk＞",
    "\ud800",
    "a\udfffb",
    "\0",
    "हिन्दी",
]
"""Lines that only the reference answers."""
