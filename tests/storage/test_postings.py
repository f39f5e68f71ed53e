"""Blocks of postings: what goes in comes out, however they are cut and merged, and nothing else is read."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from terms import Words

from yusa.storage.files import DamagedFileError
from yusa.storage.postings import Block, build, load, map_block, merged, same_postings, save, term_key
from yusa.storage.tiers import run_start

TEXTS = st.lists(st.lists(st.sampled_from(["가", "학교", "a", "ab", "b" * 40, "b" * 41]), max_size=8), max_size=8)


def _texts(words: list[list[str]]) -> list[str]:
    return [" ".join(line) for line in words]


def _block(words: list[list[str]], first: int = 0) -> Block:
    return build(range(first, first + len(words)), _texts(words), Words())


def _saved(block: Block) -> bytes:
    sink = io.BytesIO()
    save(block, sink.write)
    return sink.getvalue()


def _postings(block: Block) -> dict[bytes, dict[int, int]]:
    """Term to vector id to count, read in the obvious way."""
    return {
        bytes(key): {
            int(block.ids[block.positions[i]]): int(block.counts[i])
            for i in range(int(block.starts[number]), int(block.starts[number + 1]))
        }
        for number, key in enumerate(block.keys)
    }


@given(TEXTS)
def test_a_block_holds_the_counts_of_its_texts(words: list[list[str]]) -> None:
    block = _block(words, first=5)
    expected: dict[bytes, dict[int, int]] = {}
    for number, line in enumerate(words):
        for term, count in Counter(line).items():
            expected.setdefault(term_key(term), {})[number + 5] = count
    assert _postings(block) == expected
    assert block.lengths.tolist() == [len(line) for line in words]
    assert same_postings(load(_saved(block), "block"), block)


@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_merging_pieces_is_building_the_whole(pieces: list[list[list[str]]]) -> None:
    whole = [line for piece in pieces for line in piece]
    generator = np.random.default_rng(len(whole))
    alive = generator.random(len(whole)) < 0.7
    blocks, at = [], 0
    for piece in pieces:
        blocks.append((_block(piece, at), alive[at : at + len(piece)]))
        at += len(piece)
    kept = np.flatnonzero(alive)
    expected = build(kept, [_texts(whole)[i] for i in kept], Words())
    assert same_postings(merged(blocks), expected)
    assert same_postings(merged([(block, None) for block, _ in blocks]), _block(whole))


def test_counts_beyond_255_are_clipped_and_lengths_are_not() -> None:
    block = build([1], ["a " * 70_000], Words())
    assert (block.counts.tolist(), block.lengths.tolist()) == ([255], [70_000])


def test_long_terms_keep_their_beginning_and_never_meet() -> None:
    keys = {term_key("가" * 11 + tail) for tail in ("나", "다", "라")}
    assert len(keys) == 3
    assert all(len(key) <= 32 and key.startswith("가가가가가가".encode()) for key in keys)
    assert term_key("a" * 32) == b"a" * 32


def test_other_programs_read_the_layout(tmp_path: Path) -> None:
    block = _block([["학교", "a"], ["a"]])
    arrays = safetensors.numpy.load(_saved(block))
    assert arrays["ids"].tolist() == [0, 1]
    assert arrays["keys"].shape == (2, 32)
    (tmp_path / "x.postings").write_bytes(_saved(block))
    assert same_postings(map_block(tmp_path / "x.postings"), block)


@pytest.mark.parametrize("cut", [0, 4, 8, 40, -1])
def test_what_is_no_block_is_refused_by_name(tmp_path: Path, cut: int) -> None:
    data = _saved(_block([["학교", "a"], ["a"]]))[:cut]
    with pytest.raises(DamagedFileError, match="thing"):
        load(data, "thing")
    (tmp_path / "thing").write_bytes(data)
    with pytest.raises(DamagedFileError, match="thing"):
        map_block(tmp_path / "thing")


@given(st.integers(1, 3000))
def test_single_commits_leave_few_pieces_and_are_rewritten_seldom(commits: int) -> None:
    sizes: list[int] = []
    written = 0
    for _ in range(commits):
        sizes.append(1)
        if (start := run_start(sizes)) is not None:
            written += sum(sizes[start:])
            sizes[start:] = [sum(sizes[start:])]
    assert sum(sizes) == commits
    assert len(sizes) <= 15 * 3
    assert written <= 3 * commits
