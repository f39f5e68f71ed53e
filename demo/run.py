"""The demonstration: two small corpora become one index, three questions find their answers.

The corpora are CPython's own language reference (`pydoc_data.topics`, on every machine that has Python) and `ko.jsonl`
beside this file. `python demo/run.py` runs the commands a user would type and shows them; with `--svg FILE` the
searches are also drawn into a picture.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from pydoc_data.topics import topics

HERE = Path(__file__).parent
CELL = 12.2  # the width rich draws a character with
SEARCHES = (
    ["search", "강아지가 초콜릿을 먹으면 왜 위험한가", "-k", "3"],
    ["search", "an anonymous function written inside an expression", "-k", "3"],
    ["search", "파이썬에서 모듈을 불러올 때 어떤 일이 일어나나", "-k", "3", "--where", "lang = 'en'"],
)


def write_topics(path: Path) -> None:
    """One document per topic of the language reference; a topic's first line is its title, underlined in the source."""
    with path.open("w", encoding="utf-8") as file:
        for name, text in sorted(topics.items()):
            title = text.strip().splitlines()[0].strip()
            row = {"id": f"python/{name}", "title": title, "text": text, "lang": "en", "category": "Python"}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def shown(path: Path) -> str:
    """A path as a user here would type it."""
    return os.path.relpath(path)


def typed(arguments: Sequence[str]) -> str:
    """The command as a user would type it."""
    return " ".join(["yusa", *(f'"{argument}"' if " " in argument else argument for argument in arguments)])


def yusa(*arguments: str) -> None:
    """Shows a command and runs it."""
    print(f"$ {typed(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "yusa", *arguments], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    print(flush=True)


def draw(index: str, path: Path) -> None:
    """The same searches as one SVG picture of a terminal."""
    from rich.console import Console

    import yusa as library
    from yusa.service.cli.render import print_hits

    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with library.open(index) as opened:
        for _, query, *options in SEARCHES:
            where = options[options.index("--where") + 1] if "--where" in options else None
            console.print(f"$ {typed(('search', query, *options))}", style="bold", highlight=False, markup=False)
            print_hits(console, opened.search(query, top_k=3, where=where))
            console.print()
    path.write_text(tidied(console.export_svg(title="yusa")), encoding="utf-8")
    print(path)


def tidied(picture: str) -> str:
    """A terminal's picture without web fonts, so that it asks nobody for anything, and with indents as positions.

    Viewers without the font have spaces of another width, and Korean of another width than two of them.
    """
    picture = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    return re.sub(r'x="([\d.]+)" (y="[\d.]+") textLength="([\d.]+)"([^>]*)>((?:&#160;)+)(?=[^<])', _moved, picture)


def _moved(text: re.Match[str]) -> str:
    shift = text[5].count(";") * CELL
    return f'x="{float(text[1]) + shift:.1f}" {text[2]} textLength="{float(text[3]) - shift:.1f}"{text[4]}>'


def main() -> None:
    """Runs the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-i", "--index", default="demo-index", help="where the index is made (default: %(default)s)")
    parser.add_argument("--svg", type=Path, help="also draw the searches into this file")
    arguments = parser.parse_args()
    reference = HERE / "python.jsonl"
    write_topics(reference)
    yusa("index", shown(HERE / "ko.jsonl"), shown(reference), "-i", arguments.index)
    for search in SEARCHES:
        yusa(*search, "-i", arguments.index)
    if arguments.svg:
        draw(arguments.index, arguments.svg)


if __name__ == "__main__":
    main()
