from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from yusa.search.hit import Hit, Neighbour, PassageRef
from yusa.service.cli.console import clean
from yusa.service.cli.render import bar, excerpt, print_document, print_facets, print_hits
from yusa.storage.records import Document, DocumentRow

KOREAN = (
    "어제는 하루 종일 비가 왔다. 그래서 집에서 영화를 보았는데 너무 지루해서 중간에 잠이 들었다.\n" * 5
    + "정말 지루한 영화였다. "
    + "그래도 음악은 좋았다. " * 10
)
MARKED = "정말 지루한 영화였다."


def hit(
    rank: int = 1, text: str = "짧다.", *, id: str = "a", score: float = 0.9, title: str | None = None, marked: str = ""
) -> Hit:
    start = text.index(marked)
    return Hit(
        rank=rank,
        id=id,
        score=score,
        title=title,
        text=text,
        highlights=((start, start + len(marked)),) if marked else (),
        metadata={},
        passage=PassageRef(ordinal=3, start=100, end=100 + len(text)),
        scores={"dense": score},
        source="file:reviews",
    )


def shown(*hits: Hit, width: int = 80, terminal: bool = False, explain: bool = False, colour: bool = True) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=terminal, no_color=not colour, markup=False, emoji=False,
        highlight=False, color_system="truecolor" if terminal else None,
    )  # fmt: skip
    print_hits(console, hits, explain=explain)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_every_line_fits_the_terminal_and_the_marked_sentence_is_whole(width: int) -> None:
    text = shown(
        hit(1, KOREAN, id="reviews/0001.txt", title="비 오는 날의 영화", marked=MARKED),
        hit(2, "word " * 400, id="긴" * 100, score=0.5, marked="word"),
        width=width,
    )
    lines = text.splitlines()
    assert all(cell_len(line) <= width for line in lines)
    assert all(line == line.rstrip() for line in lines)
    assert f"«{MARKED}»" in " ".join(text.split())
    assert "0.9000" in lines[0]
    assert "reviews/0001.txt" in lines[0]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_passage_is_cut_around_its_snippet_not_around_its_first_marked_word(width: int) -> None:
    start = KOREAN.index(MARKED)
    words = [(m.start(), m.end()) for m in re.finditer("영화", KOREAN)]
    assert words[0][1] < start
    one = replace(hit(text=KOREAN), highlights=tuple(words), snippet=(start, start + len(MARKED)))
    text = " ".join(shown(one, width=width).split())
    assert "정말 지루한 «영화»였다." in text


def test_a_snippet_without_marked_words_is_shown_too() -> None:
    start = KOREAN.index(MARKED)
    text = " ".join(shown(replace(hit(text=KOREAN), snippet=(start, start + len(MARKED))), width=40).split())
    assert MARKED in text
    assert "«" not in text


def test_neighbours_hidden_ones_and_the_parts_of_a_score_stand_under_a_hit() -> None:
    one = replace(
        hit(text="짧다."),
        scores={"dense": 0.5, "lexical": 7.25, "rerank": -1.0},
        ranks={"dense": 3, "lexical": 12},
        context=(Neighbour(2, 90, 99, "[앞] 글"), Neighbour(4, 104, 110, "뒤 글\x1b[31m")),
        collapsed=("b", "c\x07"),
    )
    lines = [line.strip() for line in shown(one, width=120, explain=True).splitlines()]
    assert lines[1:] == [
        "짧다.",
        "passage 2  [앞] 글",
        f"passage 4  {clean('뒤 글' + chr(27) + '[31m')}",
        f"and nearly the same in b, {clean('c' + chr(7))}",
        "dense 0.5000 (rank 3), lexical 7.2500 (rank 12), rerank -1.0000 · passage 3, characters 100–103 ·",
        "from file:reviews",
    ]


def test_facets_show_the_most_frequent_and_say_how_many_more() -> None:
    console = Console(file=io.StringIO(), width=80, markup=False, highlight=False)
    print_facets(console, {"year": [(2000 + n, 1500 - n) for n in range(23)], "[x]": [(True, 1)], "none": []})
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert all(cell_len(line) <= 80 for line in printed.splitlines())
    years, flag, none = (" ".join(part.split()) for part in printed.strip().split("\n\n"))
    assert years.startswith("year 2000 1,500 · 2001 1,499 · ")
    assert years.endswith("2019 1,481 · 3 more")
    assert (flag, none) == ("[x] True 1", "none no values")


def test_wide_characters_stay_aligned() -> None:
    lines = shown(hit(1, KOREAN, marked=MARKED), hit(2, "English text here.", score=0.45)).splitlines()
    left = {cell_len(line) - cell_len(line.lstrip()) for line in lines if line.startswith("   ")}
    assert len(left) == 1
    first = next(line for line in lines if "English" in line)
    assert cell_len(first[: first.index("English")]) == left.pop()


def test_the_bar_is_a_share_of_the_best_score() -> None:
    assert bar(0.8, 0.8) == "████████"
    assert bar(0.4, 0.8) == "████"
    assert bar(0.45, 0.8) == "████▌"
    assert bar(-0.2, 0.8) == ""
    assert bar(0.0, 0.0) == ""
    assert bar(-0.1, -0.1) == ""


def test_a_narrow_terminal_leaves_the_bar_out() -> None:
    assert "█" in shown(hit(), width=80)
    assert "█" not in shown(hit(), width=50)


def test_a_terminal_gets_styles_and_a_pipe_gets_marks() -> None:
    one = hit(text="앞. 가운데 문장. 뒤.", marked="가운데 문장.")
    styled = shown(one, terminal=True)
    assert "\x1b[1;33m가운데 문장.\x1b[0m" in styled
    assert "«" not in styled
    assert "«가운데 문장.»" in shown(one)
    assert "\x1b" not in shown(one)


def test_without_colour_the_marked_sentence_is_still_to_be_seen() -> None:
    text = shown(hit(text="앞. 가운데 문장.", marked="가운데 문장."), terminal=True, colour=False)
    assert "\x1b[1m가운데 문장.\x1b[0m" in text
    assert "33m" not in text


def test_explain_shows_the_parts_of_the_score_and_the_place() -> None:
    text = shown(hit(), explain=True, width=120)
    assert "dense 0.9000 · passage 3, characters 100–103 · from file:reviews" in text


def test_nothing_in_a_document_can_steer_the_terminal() -> None:
    text = shown(hit(text="a\x1b[31mred\x07 \x9b2J b", id="x\x1b]0;title\x07", title="t\x1b[2J\u202eabc"))
    assert not set(text) & set("\x1b\x07\x9b\u202e")
    assert clean("tab\tand\nline stay") == "tab\tand\nline stay"


def test_an_excerpt_starts_and_ends_with_an_ellipsis_where_text_is_left_out() -> None:
    text = " ".join(f"word{number}" for number in range(200))
    start = text.index("word100")
    cut = excerpt(text, [(start, start + 7)], 80, styled=False).plain
    assert cut.startswith("…word")
    assert cut.endswith("…")
    assert "«word100»" in cut
    assert cell_len(cut) <= 82
    assert excerpt("short\n\n text", [], 80, styled=False).plain == "short text"


def test_an_excerpt_of_text_without_spaces_is_cut_anywhere() -> None:
    text = "가" * 1000
    cut = excerpt(text, [(500, 510)], 60, styled=False).plain
    assert "«" + "가" * 10 + "»" in cut
    assert cell_len(cut) <= 62


def test_a_marked_sentence_longer_than_the_room_is_shown_from_its_start() -> None:
    text = "before. " + "long " * 100
    cut = excerpt(text, [(8, len(text))], 60, styled=False).plain
    assert cut.startswith("…«long")
    assert cut.endswith("»") or cut.endswith("…")


def test_several_marked_spans_are_all_marked() -> None:
    assert excerpt("one two three", [(0, 3), (8, 13)], 80, styled=False).plain == "«one» two «three»"


def test_hits_can_be_made_into_a_picture() -> None:
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    print_hits(console, [hit(text=KOREAN, marked=MARKED)])
    picture = console.export_svg(title="yusa search")
    assert picture.startswith("<svg")
    assert "지루한" in picture


def test_a_document_is_shown_whole_with_its_passages() -> None:
    console = Console(file=io.StringIO(), width=80, markup=False, highlight=False)
    text = "첫 문장이다. [둘째] 문장이다."
    document = Document("d", text, "제목", {"year": 2024, "tags": ["a", "b"], "source": "mine"})
    print_document(console, DocumentRow(1, document, "file:x", 2), [(0, 7), (8, 18)])
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    for part in ("제목", "2024", '["a", "b"]', "file:x", "mine", text, "passage 1  8–18  [둘째] 문장이다."):
        assert part in printed
