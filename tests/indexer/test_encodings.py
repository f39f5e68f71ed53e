from __future__ import annotations

from pathlib import Path

import pytest

from yusa.indexer.encodings import HEAD_BYTES, detect

_KOREAN = "오늘은 날씨가 좋아서 산책을 나갔다. 커피 한 잔을 마셨다.\n"


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        (_KOREAN, "utf-8", "utf-8"),
        (_KOREAN, "utf-8-sig", "utf-8-sig"),
        (_KOREAN, "cp949", "cp949"),
        (_KOREAN, "euc_kr", "cp949"),
        (_KOREAN, "utf-16", "utf-16"),
        (_KOREAN, "utf-16-le", "utf-16-le"),
        (_KOREAN, "utf-16-be", "utf-16-be"),
        (_KOREAN, "utf-32", "utf-32"),
        ("짧다", "cp949", "cp949"),
        ("한글만있는파일", "euc_kr", "cp949"),
        ("id,text\n1,안녕\n", "cp949", "cp949"),
        ("id,text\n1,hello\n", "utf-16-le", "utf-16-le"),
        ("Hello world.\n", "ascii", "utf-8"),
        ("", "ascii", "utf-8"),
    ],
)
def test_detected(text: str, encoding: str, expected: str) -> None:
    found = detect(text.encode(encoding))
    assert (found.encoding, found.sure) == (expected, True)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Le café est très près de l'hôtel où j'ai été.", "cp1252"),
        ("日本語のテキストです。東京に行きました。", "shift_jis"),
        ("日本語のテキストです。東京に行きました。", "euc_jp"),
        ("这是一个中文文本，我们去北京。", "gbk"),
        ("Это русский текст", "koi8-r"),
    ],
)
def test_what_is_not_korean_is_not_taken_for_it(text: str, encoding: str) -> None:
    assert not detect(text.encode(encoding)).sure


def test_binary() -> None:
    assert detect(Path("/bin/sh").resolve().read_bytes()[:HEAD_BYTES]).encoding is None
    assert detect(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 10).encoding is None


def test_damaged_utf8_is_utf8() -> None:
    data = (_KOREAN * 20).encode()
    assert detect(data[:30] + b"\xff" + data[30:]).encoding == "utf-8"


def test_a_head_may_end_inside_a_character() -> None:
    for encoding in ("utf-8", "cp949"):
        data = (_KOREAN * 3).encode(encoding)
        assert {detect(data[:n]).encoding for n in range(60, 70)} == {encoding}
