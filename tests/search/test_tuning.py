"""Cross-validation against its definition, and choices that must and must not be made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from yusa.errors import InputError
from yusa.search.datasets import Dataset
from yusa.search.hit import Hit, PassageRef
from yusa.search.setting import Setting
from yusa.search.tuning import DEPTHS, WEIGHTS, candidates, choose, fold, tune

SETTINGS = [Setting(), Setting("dense"), Setting("lexical")]


def dataset(count: int) -> Dataset:
    ids = [f"q{number}" for number in range(count)]
    return Dataset("set", None, {id: id for id in ids}, {id: {id: 1} for id in ids}, None)


def search_with(ranks: dict[str, int]) -> object:
    """A search function that puts the right document of every question on the rank of the mode."""

    def search(questions: Sequence[str], setting: Setting) -> list[list[Hit]]:
        at = ranks[setting.mode]
        return [
            [
                Hit(rank, one if rank == at else f"other {rank}", 1.0, None, "", (), {}, PassageRef(0, 0, 0), {}, "")
                for rank in range(1, 6)
            ]
            for one in questions
        ]

    return search


def test_the_candidates() -> None:
    plain = candidates(["dense", "lexical", "hybrid"])
    assert plain[0] == Setting("hybrid", 0.6)
    assert [one.weight for one in plain if one.mode == "hybrid"] == [0.6, *(w for w in WEIGHTS if w != 0.6)]
    assert len(plain) == len(set(plain)) == 13
    reranked = candidates(["dense", "hybrid"], "m")[len(candidates(["dense", "hybrid"])) :]
    assert [(one.mode, one.rerank, one.rerank_depth) for one in reranked] == [
        (mode, "m", depth) for depth in DEPTHS for mode in ("dense", "hybrid")
    ]


def test_the_default_is_there_whatever_is_chosen_among() -> None:
    assert candidates(["dense"]) == [Setting("hybrid", 0.6), Setting("dense")]


def test_cross_validation_by_definition() -> None:
    dice = np.random.default_rng(4)
    values, parts = dice.random((3, 57)), dice.integers(0, 5, 57)
    found = choose("ndcg@10", SETTINGS, values, parts)
    for question in range(57):
        others = [other for other in range(57) if parts[other] != parts[question]]
        means = [sum(values[setting][other] for other in others) / len(others) for setting in range(3)]
        assert found.held_out[question] == values[means.index(max(means))][question]
    assert found.choice == int(values.mean(axis=1).argmax())
    assert len(found.by_fold) == 5


def test_a_clear_gain_is_found() -> None:
    found = tune(search_with({"hybrid": 3, "dense": 1, "lexical": 2}), dataset(40), SETTINGS)  # type: ignore[arg-type]
    assert found.settings[found.choice].mode == "dense"
    assert found.better
    assert found.held_out.mean() == 1.0
    assert found.gain.mean == pytest.approx(0.5)
    assert found.gain.p_value < 0.001
    assert set(found.by_fold) == {1}
    row = found.to_dict()
    assert row["choice"] == {"mode": "dense"}
    assert row["default"]["mean"] == pytest.approx(0.5)
    assert [one["settings"]["mode"] for one in row["candidates"]] == ["hybrid", "dense", "lexical"]


def test_of_equals_the_default_stays() -> None:
    found = tune(search_with({"hybrid": 2, "dense": 2, "lexical": 2}), dataset(40), SETTINGS)  # type: ignore[arg-type]
    assert (found.choice, found.better) == (0, False)


def test_noise_is_not_taken_for_a_gain() -> None:
    """The best of 200 settings that differ by chance alone looks better on its own questions, not on others."""
    dice = np.random.default_rng(8)
    settings = [Setting("hybrid", weight) for weight in np.linspace(0, 1, 200).tolist()]
    apparent, held_out = [], []
    for _ in range(20):
        values = dice.random((200, 30))
        found = choose("ndcg@10", settings, values, np.arange(30) % 5)
        apparent.append(values[found.choice].mean() - values[0].mean())
        held_out.append(found.held_out.mean() - values[0].mean())
    assert np.mean(apparent) > 0.1
    assert abs(np.mean(held_out)) < 0.05


def test_folds_depend_on_the_id_alone() -> None:
    assert [fold(f"q{number}", 5) for number in range(8)] == [fold(f"q{number}", 5) for number in range(8)]
    counts = np.bincount([fold(f"q{number}", 5) for number in range(5_000)], minlength=5)
    assert counts.min() > 900


def test_too_few_questions() -> None:
    with pytest.raises(InputError, match="too few to tune on"):
        tune(search_with({"hybrid": 1}), dataset(1), SETTINGS[:1])  # type: ignore[arg-type]
