"""What a hit looks like outside."""

from __future__ import annotations

import json

from yusa.search.hit import Hit, PassageRef


def test_a_hit_as_json_has_exactly_the_documented_members_in_their_order() -> None:
    hit = Hit(2, "d1", 0.5, None, "본문", ((0, 2),), {"year": 2020}, PassageRef(3, 10, 12), {"dense": 0.5}, "files")
    assert json.dumps(hit.to_dict(), ensure_ascii=False) == (
        '{"rank": 2, "score": 0.5, "id": "d1", "title": null, "text": "본문", "highlights": [[0, 2]], '
        '"passage": {"ordinal": 3, "start": 10, "end": 12}, "metadata": {"year": 2020}, "scores": {"dense": 0.5}}'
    )
