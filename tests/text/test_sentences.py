from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yusa.text.sentences import sentences

_CASES: list[list[str]] = [
    ["Dr. Smith paid $3.14 to Mr. Kim.", "He left."],
    ["We met in the U.S.", "The army left.", "The U.S. Army came at 5 p.m. yesterday."],
    ["See e.g. foo.txt or a@b.com.", "Visit https://x.com/a.html.", "Done."],
    ["J. R. R. Tolkien wrote it.", "Take vitamin C.", "The end."],
    ["Apples, pears, etc. are fruit.", "Tea, milk, etc.", "They sell it.", "Acme Inc. makes it."],
    ["Wait... what?", "No. 5 is alive.", "Yes.", "No.", "Maybe."],
    ['He said "Stop!" and ran.', '"Why?" she asked.', '"It ended."', "Then nothing."],
    ["Really?!", "(It is so.)", "[Yes.]", "So it goes."],
    ["It grew by 2.5 percent.", "Python 3.11.7 is out.", "Use os.path.join here."],
    ["안녕하세요.", "저는 학생입니다!", "당신은요?", "네…", "좋아요."],
    ['그는 "나는 간다."라고 말했다.', "그리고 갔다."],
    ['그는 "나는 간다." 라고 말했다.', "끝."],
    ["「정말이냐?」고 물었다.", "답이 없었다."],
    ["2024. 3. 15.", "회의가 있었다.", "버전 2.0이 나왔다."],  # a day's period looks like an end
    ["1. First item.", "2. Second item."],
    ["你好。", "世界！"],
    ["말했다。", "끝！"],
]


@pytest.mark.parametrize("expected", _CASES)
def test_running_text(expected: list[str]) -> None:
    text = " ".join(expected)
    assert [text[s.start : s.end] for s in sentences(text)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("좋았다.그런데 재미없다.왜?", ["좋았다.", "그런데 재미없다.", "왜?"]),
        ("# 제목\n본문이다. 다음.\n- 하나\n- 둘", ["# 제목", "본문이다.", "다음.", "- 하나", "- 둘"]),
        ("가. 첫째\n나. 둘째\n1) 셋째", ["가. 첫째", "나. 둘째", "1) 셋째"]),
        ("A title\n\nA text without a period", ["A title", "A text without a period"]),
        ("시의 한 줄\n시의 두 줄\n시의 세 줄", ["시의 한 줄", "시의 두 줄", "시의 세 줄"]),
        (
            "This is a hard wrapped line of English text that goes on\nTo the next line and\nends here. Next.\n\nEnd",
            [
                "This is a hard wrapped line of English text that goes on\nTo the next line and\nends here.",
                "Next.",
                "End",
            ],
        ),
        (
            "- an item that is wrapped\n  goes on\n- another item",
            ["- an item that is wrapped\n  goes on", "- another item"],
        ),
        (
            "이 줄은 한국어로 된 글을 칠십 칸쯤에서 자른 줄이라서 다음 줄로 그대로\n이어진다. 끝이다.",
            ["이 줄은 한국어로 된 글을 칠십 칸쯤에서 자른 줄이라서 다음 줄로 그대로\n이어진다.", "끝이다."],
        ),
        ("", []),
        (" \n\t ", []),
        ("\n\n  one  \n\n", ["one"]),
        ("...", ["..."]),
    ],
)
def test_lines(text: str, expected: list[str]) -> None:
    assert [text[s.start : s.end] for s in sentences(text)] == expected


@given(st.text(st.sampled_from(list("aA1가다라고.!?…。\"'”() \n\t-#\u200b\u0301😀ا")), max_size=80) | st.text())
def test_spans_are_ordered_stripped_and_cover(text: str) -> None:
    spans = sentences(text)
    end = 0
    for span in spans:
        assert not text[end : span.start].strip()
        assert span.start < span.end
        assert text[span.start : span.end].strip() == text[span.start : span.end]
        end = span.end
    assert not text[end:].strip()


@pytest.mark.parametrize("unit", ["U.S. ", "a.", '."', "\n", "! ", "- a\n", "x" * 60 + "\n", "다.", " \n ", '." 라고 '])
def test_hostile_repetition_takes_linear_time(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        best = 1e9
        for _ in range(2):
            begun = time.process_time()
            sentences(text)
            best = min(best, time.process_time() - begun)
        return best

    assert seconds(80_000) < 40 * (seconds(8_000) + 0.001)
