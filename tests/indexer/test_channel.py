from __future__ import annotations

import threading

import pytest

from yusa.indexer.channel import CalledOffError, Channel


def test_items_come_in_order_and_end() -> None:
    channel = Channel[int](2)

    def give() -> None:
        for i in range(100):
            channel.put(i)
        channel.finish()

    giver = threading.Thread(target=give)
    giver.start()
    assert list(channel.items()) == list(range(100))
    giver.join()


def test_calling_off_wakes_the_giver_and_the_taker() -> None:
    full, empty = Channel[int](1), Channel[int](1)
    full.put(0)
    woken: list[str] = []

    def give() -> None:
        try:
            full.put(1)
        except CalledOffError:
            woken.append("giver")

    def take() -> None:
        try:
            list(empty.items())
        except CalledOffError:
            woken.append("taker")

    threads = [threading.Thread(target=give), threading.Thread(target=take)]
    for thread in threads:
        thread.start()
    full.call_off()
    empty.call_off()
    for thread in threads:
        thread.join(10)
    assert sorted(woken) == ["giver", "taker"]
    with pytest.raises(CalledOffError):
        list(full.items())


def test_a_stop_ends_taking_though_nothing_comes() -> None:
    channel = Channel[int](1)
    stop = threading.Event()
    taken: list[int] = []
    taker = threading.Thread(target=lambda: taken.extend(channel.items(stop)))
    taker.start()
    stop.set()
    taker.join(10)
    assert not taker.is_alive()
    channel.put(1)
    assert list(channel.items(stop)) == []
