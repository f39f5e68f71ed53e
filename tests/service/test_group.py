"""What all commands share: cold start, help, exit codes, messages, streams."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

from yusa import errors
from yusa.service.cli import COMMANDS, cli, options
from yusa.service.cli.group import LazyGroup

HEAVY = (
    "torch",
    "faiss",
    "sqlalchemy",
    "alembic",
    "rich",
    "numpy",
    "tokenizers",
    "safetensors",
    "transformers",
    "pyarrow",
)


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int | None]], LazyGroup]:
    """Makes a group of one command `run` out of a function."""

    def make(function: Callable[[], int | None]) -> LazyGroup:
        module = ModuleType("stand_in.run")
        module.run = options.command("run", example="yusa run")(function)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "stand_in", ModuleType("stand_in"))
        monkeypatch.setitem(sys.modules, "stand_in.run", module)
        return LazyGroup(name="yusa", package="stand_in", lazy={"run": "Run."}, params=[], callback=None)

    return make


def test_help_and_version_load_nothing_heavy() -> None:
    program = (
        "import sys\nfrom yusa.service.cli import COMMANDS, cli\n"
        "for words in (['--help'], ['--version'], *([name, '--help'] for name in COMMANDS)):\n"
        "    assert cli.main(words, standalone_mode=False) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert result.stderr.strip() == "[]"
    assert "--passage-tokens" in result.stdout


def test_help_answers_in_half_a_second() -> None:
    def once() -> float:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", "from yusa.service.cli import main; main()", "--help"],
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - began

    assert min(once() for _ in range(3)) < 0.5


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_that_its_parser_accepts(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"Usage: yusa {name}" in result.stdout
    example = result.stdout.split("Example:\n")[1].strip()
    assert example.startswith(f"yusa {name}")

    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    import shlex

    for line in example.splitlines():
        command.make_context(name, shlex.split(line.strip())[2:])


def test_the_list_of_commands_has_the_help_of_the_commands() -> None:
    listed = CliRunner().invoke(cli, ["--help"]).stdout
    for name, text in COMMANDS.items():
        assert f"{name} " in listed
        assert text in listed


def test_version_names_what_decides_the_vectors() -> None:
    line = CliRunner().invoke(cli, ["--version"]).stdout
    for name in ("yusa ", "Python ", "SQLite ", "torch ", "faiss-cpu ", "tokenizers "):
        assert name in line


def test_an_unknown_command_is_wrong_usage_and_a_near_one_is_offered() -> None:
    result = CliRunner().invoke(cli, ["serch"])
    assert result.exit_code == 2
    assert "No such command 'serch'" in result.stderr
    assert "search" in result.stderr.split("serch")[-1]
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (errors.InputError("no file a.csv; check the path"), 1, "Error: no file a.csv; check the path"),
        (errors.InputError("no file a\x1b[2Jb"), 1, "Error: no file a\ufffd[2Jb\n"),
        (errors.UsageError("top_k must be at least 1"), 2, "Error: top_k must be at least 1"),
        (errors.RunInterruptedError("stopped"), 130, "Error: stopped"),
        (FileNotFoundError(2, "No such file or directory", "x.txt"), 1, "Error: No such file or directory: x.txt\n"),
        (ZeroDivisionError("division by zero"), 1, "did not expect this: ZeroDivisionError: division by zero"),
    ],
)  # fmt: skip
def test_failures_become_messages_and_exit_codes(
    group: Callable[[Callable[[], None]], LazyGroup], error: Exception, code: int, message: str
) -> None:
    def fail() -> None:
        raise error

    result = CliRunner().invoke(group(fail), ["run"])
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    if not isinstance(error, errors.YusaError):
        assert "YUSA_DEBUG=1" in result.stderr


@pytest.mark.parametrize("how", ["-v before", "-v after", "YUSA_DEBUG"])
def test_the_traceback_is_shown_to_who_asks(group: Callable[[Callable[[], None]], LazyGroup], how: str) -> None:
    def fail() -> None:
        raise ZeroDivisionError("division by zero")

    arguments = ["run", "-v"] if how == "-v after" else ["run"]
    environment = {"YUSA_DEBUG": "1"} if how == "YUSA_DEBUG" else {}
    made = group(fail)
    if how == "-v before":
        options.verbose(made)
        arguments = ["-v", "run"]
    result = CliRunner().invoke(made, arguments, env=environment)
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "raise ZeroDivisionError" in result.stderr


def test_exit_codes_of_commands_are_passed_on(group: Callable[[Callable[[], int | None]], LazyGroup]) -> None:
    assert CliRunner().invoke(group(lambda: None), ["run"]).exit_code == 0
    assert CliRunner().invoke(group(lambda: 1), ["run"]).exit_code == 1


def test_an_interrupt_ends_with_130(group: Callable[[Callable[[], None]], LazyGroup]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    result = CliRunner().invoke(group(interrupted), ["run"])
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_reader_that_went_away_is_no_reason_to_say_anything() -> None:
    read, write = os.pipe()
    os.close(read)
    program = "from yusa.service.cli import main; main()"
    try:
        result = subprocess.run(
            [sys.executable, "-c", program, "--help"], stdout=write, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(write)
    assert result.stderr == b""
    assert result.returncode == 1


def test_output_is_utf8_whatever_the_locale() -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    environment.pop("PYTHONIOENCODING", None)
    result = subprocess.run(
        [sys.executable, "-c", "from yusa.service.cli import main; main()", "--help"],
        capture_output=True,
        env=environment,
        check=True,
    )
    assert "지루한 영화" in result.stdout.decode("utf-8")
