"""The README's commands work as they stand: every `yusa …` line and every Python block, in order, in a fresh folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from yusa.service.cli import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

NOTES = {
    "notes/films.md": "# 영화 메모\n\n어제 본 영화는 너무 지루해서 중간에 잠들었다.\n\n"
    "주말에 본 코미디는 웃느라 배가 아팠다.\n",
    "notes/garden.txt": "Tomatoes want sun and a lot of water. 고추는 5월에 심는다.\n",
    "reviews.jsonl": '{"id": "r1", "text": "배우의 연기가 훌륭했다.", "year": 2021, "lang": "ko"}\n'
    '{"id": "r2", "text": "The plot was slow and dull.", "year": 2023, "lang": "en"}\n',
    "questions.csv": "question,id\n지루한 영화,films.md\n고추 심는 때,garden.txt\n어떤 영화가 웃긴가,films.md\n"
    "when do tomatoes need water,garden.txt\n무슨 영화를 보다가 잤나,films.md\n",
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    for name, text in NOTES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def blocks(language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(README) if kind == language]


def commands() -> list[list[str]]:
    lines = (line for body in blocks("sh") for line in body.splitlines())
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("yusa ")]


def test_the_readme_shows_commands_and_code() -> None:
    assert len(commands()) >= 8
    assert len(blocks("python")) >= 1


def test_every_command_works(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    for command in commands():
        done = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert done.exit_code == 0, f"yusa {shlex.join(command)}\n{done.output}"


def test_every_python_block_works(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    for body in blocks("python"):
        exec(compile(body, "README.md", "exec"), {})


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", README))
    assert named
    assert named <= targets
