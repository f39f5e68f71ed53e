"""The report: whole, escaped, and the same wherever it is made."""

from __future__ import annotations

import builtins
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from yusa.errors import MissingDependencyError
from yusa.search.datasets import Dataset
from yusa.search.evaluation import Run, compare, evaluate
from yusa.search.hit import Hit, PassageRef
from yusa.search.report import render
from yusa.search.searcher import Mode
from yusa.search.setting import Setting

EVIL = "<script>alert('비')</script>&\""
DATASET = Dataset(
    EVIL,
    "dev",
    {"q1": EVIL, "q2": "둘", "q3": "셋"},
    {"q1": {"right": 1}, "q2": {"right": 1}, "q3": {EVIL: 1}},
    None,
)
MADE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def search(questions: Sequence[str], setting: Setting) -> list[list[Hit]]:
    ids = ["right", EVIL] if setting.mode == "dense" else [EVIL, "right"]
    return [
        [
            Hit(rank, id, 1.0, EVIL, f"{EVIL} {'글' * 500}", (), {}, PassageRef(0, 0, 1), {}, "test")
            for rank, id in enumerate(ids[: setting.top_k], start=1)
        ]
        for _ in questions
    ]


def runs(*modes: Mode, top_k: int = 100) -> list[Run]:
    return [evaluate(search, DATASET, Setting(mode, encoder=EVIL, top_k=top_k)) for mode in modes]


def page(found: list[Run]) -> str:
    return render(DATASET, found, compare(found), [f"a note {EVIL}"], made=MADE)


class Reader(HTMLParser):
    """Keeps tags and text, and fails on tags that do not close."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "path", "use", "rect", "line", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def test_it_holds_what_was_measured() -> None:
    found = runs("dense", "lexical")
    reader = read(page(found))
    text = " ".join(" ".join(reader.words).split())
    for run in found:
        for value in run.metrics.values():
            assert f"{value:.4f}" in text
    for heading in ("Every measure", "Where the first right document stands", "How deep one must look",
                    "Question by question", "Against dense", "The worst questions of dense"):  # fmt: skip
        assert heading in text
    assert "2026-01-02 03:04 UTC" in text
    assert sum(tag == "svg" for tag, _ in reader.tags) == 4


def test_what_documents_say_is_no_markup() -> None:
    html = page(runs("dense", "lexical"))
    assert "<script" not in html
    assert EVIL in "".join(read(html).words)


def test_it_needs_nothing_beside_it() -> None:
    html = page(runs("dense"))
    for _, attributes in read(html).tags:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href"):
                assert (value or "").startswith("#")
    assert not re.search(r"url\((?!#)|@import", html)


def test_plots_take_the_colours_of_the_page() -> None:
    html = page(runs("dense", "lexical"))
    assert "currentColor" in html
    assert "#010203" not in html
    assert "prefers-color-scheme: dark" in html


def test_it_is_the_same_when_made_again_and_leaves_matplotlib_as_it_was() -> None:
    import matplotlib as mpl

    # Looking at `backend` is what sets it, and imports pyplot.
    names = [name for name in mpl.rcParams if name != "backend"]
    before = [mpl.rcParams[name] for name in names]
    found = runs("dense", "lexical")
    assert page(found) == page(found)
    assert [mpl.rcParams[name] for name in names] == before


def test_plots_of_one_page_share_no_ids() -> None:
    html = page(runs("dense", "lexical", "hybrid"))
    for reference in re.findall(r"url\(#([^)]+)\)", html):
        assert html.count(f'id="{reference}"') == 1


@pytest.mark.parametrize("top_k", [1, 2, 3, 10])
def test_shallow_rankings(top_k: int) -> None:
    assert "<svg" in page(runs("dense", "lexical", top_k=top_k))


def test_the_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = runs("dense")
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "jinja2":
            raise ImportError(name, name=name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r"jinja2.*pip install 'yusa\[eval\]'"):
        page(found)


def test_nothing_is_imported_before_there_is_a_report() -> None:
    code = (
        "import sys, yusa.search.report, yusa.search.tuning\n"
        "print([name for name in ('matplotlib', 'jinja2', 'scipy', 'pytrec_eval', 'torch') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_report_needs_no_pyplot() -> None:
    code = "import sys; from yusa.search.plots import ranks; ranks([[1, None]], 10); print(sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'matplotlib.figure'" in result.stdout
    assert "'matplotlib.pyplot'" not in result.stdout
