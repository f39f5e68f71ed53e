from __future__ import annotations

import io
import os
import signal

import pytest
from rich.console import Console

from yusa.indexer import Progress
from yusa.service.cli.interrupt import stop_on_interrupt
from yusa.service.cli.progress import STOPPING, Lines, Live, describe, duration


def progress(done: int = 10, *, read: int = 100, total: int = 200, seconds: float = 2.0) -> Progress:
    return Progress(20, 1234, 9000, encoded=1, bytes_read=read, bytes_total=total, seconds=seconds, done=done)


def test_lines_come_at_once_and_then_at_most_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 0.0, 4.9, 5.0, 5.0]).__next__
    lines = Lines(clock=now)
    for done in (10, 15, 20):
        lines(progress(done))
    assert capsys.readouterr().err.splitlines() == [
        "10 documents, 1,234 passages, 4,500 tokens/s, 6.0 s left",
        "20 documents, 1,234 passages, 4,500 tokens/s, 2.0 s left",
    ]


@pytest.mark.parametrize(
    "unsure",
    [progress(total=0), progress(done=0), progress(20, read=200), progress(20, read=300), progress(20, total=0)],
)
def test_the_time_left_is_not_guessed(unsure: Progress) -> None:
    assert "left" not in describe(unsure)


def test_a_run_that_just_began_has_no_speed() -> None:
    assert describe(progress(total=0, seconds=0.0)) == "10 documents, 1,234 passages, 0 tokens/s"


def test_a_terminal_gets_a_bar_that_makes_room_for_a_question_and_for_the_stop() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100, legacy_windows=False)
    live = Live(terminal)
    with live.shown():
        live(progress())
        live.stopping()
        live(progress(11))
        with live.paused():
            terminal.print("a question")
    assert isinstance(terminal.file, io.StringIO)
    text = terminal.file.getvalue()
    assert "documents, 1,234 passages" in text
    assert STOPPING in text
    assert "a question" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (12.4, "12 s"), (59.9, "1 min 00 s"), (185, "3 min 05 s"), (7830, "2 h 10 min")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_first_interrupt_asks_and_the_second_stops() -> None:
    told: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with stop_on_interrupt(lambda: told.append("x")) as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert told == ["x"]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_interrupt_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_on_interrupt(lambda: None) as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop.is_set()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
