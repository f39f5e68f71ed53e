from __future__ import annotations

from yusa.indexer.seen import Seen, Sighting


def test_what_was_added_is_found() -> None:
    seen = Seen()
    assert seen.first([]) == []
    assert seen.first(["a"]) == [None]
    seen.add([], [])
    expected: dict[str, Sighting] = {}
    for batch in range(40):
        ids = [f"문서-{batch}-{i}" for i in range(batch * 7 % 23)]
        sightings = [Sighting(batch * 2**50 + i, batch % 3) for i in range(len(ids))]
        seen.add(ids, sightings)
        expected |= dict(zip(ids, sightings, strict=True))
    ids = list(expected)
    assert seen.first(ids) == list(expected.values())
    assert seen.first([f"{id}x" for id in ids]) == [None] * len(ids)
    assert seen.first([ids[3], "new", ids[3]]) == [expected[ids[3]], None, expected[ids[3]]]


def test_memory_is_28_bytes_an_id() -> None:
    seen = Seen()
    for start in range(0, 20_000, 500):
        seen.add([str(i) for i in range(start, start + 500)], [Sighting(0, 0)] * 500)
    assert sum(run.nbytes for run in seen._runs) == 28 * 20_000
    assert len(seen._runs) <= 6
