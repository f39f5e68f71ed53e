"""What a hit looks like outside."""

from __future__ import annotations

import json
from dataclasses import replace

from yusa.search.hit import Hit, Neighbour, PassageRef


def test_a_hit_as_json_has_exactly_the_documented_members_in_their_order() -> None:
    hit = Hit(2, "d1", 0.5, None, "본문", ((0, 2),), {"year": 2020}, PassageRef(3, 10, 12), {"dense": 0.5}, "files")
    members = (
        '{"rank": 2, "score": 0.5, "id": "d1", "title": null, "text": "본문", "highlights": [[0, 2]], '
        '"passage": {"ordinal": 3, "start": 10, "end": 12}, "metadata": {"year": 2020}, "scores": {"dense": 0.5}, '
    )
    assert json.dumps(hit.to_dict(), ensure_ascii=False) == members + '"snippet": [0, 0], "ranks": {}}'
    full = replace(
        hit, snippet=(0, 1), ranks={"dense": 4}, context=(Neighbour(4, 12, 14, "다음"),), collapsed=("d2", "d3")
    )
    assert json.dumps(full.to_dict(), ensure_ascii=False) == members + (
        '"snippet": [0, 1], "ranks": {"dense": 4}, '
        '"context": [{"ordinal": 4, "start": 12, "end": 14, "text": "다음"}], "collapsed": ["d2", "d3"]}'
    )
