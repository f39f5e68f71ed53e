"""Any sequence of operations on an index against a dictionary: reports, searches in every mode, filters, facets."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from index_model import DIMENSION, TOKENS, Held, check, encoded, held
from stubs import StubEncoder

import yusa
from yusa.storage import compact, publish

SOURCES: Final = ("python", "웹")
IDS: Final = [f"d{number}" for number in range(10)] + ["한글", "../up", "id' OR '1'='1"]
WORDS: Final = ["가을에", "바다가", "바다", "sea.", "Trees", "tree", "rare", "학교를", "갔다. ", "\n\n"]
texts = st.lists(st.sampled_from(WORDS), max_size=16).map(" ".join)
metadata = st.fixed_dictionaries(
    {},
    optional={
        "year": st.integers(2019, 2023) | st.just(2020.5),
        "tags": st.lists(st.sampled_from(["x", "y", "xy"]), max_size=3),
        "ok": st.booleans(),
        "title": st.sampled_from(["tree", "바다 여행", ""]),
    },
)
rows = st.builds(lambda id, text, data: {"id": id, "text": text, **data}, st.sampled_from(IDS), texts, metadata)
batches = st.lists(rows, max_size=6)


class IndexMachine(RuleBasedStateMachine):
    """One index that changes and another, opened once, that looks only now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(publish, "TAIL_LIMIT", 12)
        self.patch.setattr(compact, "_WAIT", 0.0)
        self.folder = Path(tempfile.mkdtemp(prefix="yusa-machine-"))
        self.encoder = StubEncoder(DIMENSION)
        self.index = yusa.create(self.folder / "index", encoder=self.encoder, passage_tokens=TOKENS, overlap=2)
        self.late = yusa.open(self.folder / "index", encoder=StubEncoder(DIMENSION))
        self.model: dict[str, Held] = {}
        self.looked = 0
        # Loading compares it with the index, once for each runtime, by encoding a few texts.
        assert self.index.encoder is self.encoder

    def teardown(self) -> None:
        report = self.index.verify(deep=True)
        assert report.problems == ()
        self.look_late()
        self.late.close()
        self.index.close()
        shutil.rmtree(self.folder)
        self.patch.undo()

    @rule(batch=batches, source=st.sampled_from(SOURCES), prune=st.booleans())
    def add(self, batch: list[dict[str, Any]], source: str, prune: bool) -> None:
        expected = Counter[str]()
        fresh: dict[str, Held] = {}
        named: set[str] = set()
        for row in batch:
            id = str(row["id"])
            named.add(id)
            if not row["text"].strip():
                expected["rejected"] += 1
                continue
            made = held(row, source)
            if id in fresh:
                # The first one counts; the same once more is no mistake.
                same = fresh[id].document == made.document
                expected["same" if same else "rejected"] += 1
                continue
            fresh[id] = made
            before = self.model.get(id)
            if before is None:
                expected["added"] += 1
            elif before.source != source:
                expected["rejected"] += 1
            else:
                expected["unchanged" if before.document == made.document else "updated"] += 1
        taken = {id: made for id, made in fresh.items() if id not in self.model or self.model[id].source == source}
        gone = {id for id, one in self.model.items() if one.source == source and id not in named} if prune else set()
        known = {encoded(one) for one in self.model.values()}
        new = {
            encoded(one): one.texts
            for id, one in taken.items()
            if encoded(one) not in known and (id not in self.model or self.model[id].document != one.document)
        }
        self.encoder.encoded_texts.clear()
        report = self.index.add(batch, source=source, prune=prune, confirm=lambda *_: True)
        assert (report.added, report.updated, report.pruned) == (expected["added"], expected["updated"], len(gone))
        assert report.unchanged == expected["unchanged"] + expected["same"]
        assert report.rejected == expected["rejected"]
        assert sorted(self.encoder.encoded_texts) == sorted(text for texts in new.values() for text in texts)
        self.model = {id: one for id, one in (self.model | taken).items() if id not in gone}

    @rule(batch=batches)
    def nothing_is_stored_where_a_row_is_bad_or_nothing_is_meant(self, batch: list[dict[str, Any]]) -> None:
        before = self.settled()
        with pytest.raises(yusa.errors.RejectedInputError):
            self.index.add([*batch, {"id": "bad", "text": None}], strict=True)
        self.index.add(batch, dry_run=True, prune=True)
        assert self.index.refresh() == before

    @precondition(lambda self: self.model)
    @rule()
    def add_what_is_there(self) -> None:
        before = self.settled()
        self.encoder.encoded_texts.clear()
        for source in SOURCES:
            documents = [one.document for one in self.model.values() if one.source == source]
            report = self.index.add(documents, source=source, prune=bool(documents))
            assert (report.unchanged, report.updated, report.pruned) == (len(documents), 0, 0)
        assert self.encoder.encoded_texts == []
        assert self.index.refresh() == before

    def settled(self) -> int:
        """The number of the last commit, after which a writer that changes nothing finds nothing to rebuild either."""
        self.index.delete([])
        return self.index.refresh()

    @rule(ids=st.lists(st.sampled_from(IDS), max_size=6))
    def delete(self, ids: list[str]) -> None:
        assert self.index.delete(ids) == [id for id in dict.fromkeys(ids) if id in self.model]
        self.model = {id: one for id, one in self.model.items() if id not in ids}

    @rule()
    def compact(self) -> None:
        self.index.compact()

    @rule(weight=st.sampled_from([None, 0.0, 1.0]))
    def tune(self, weight: float | None) -> None:
        self.index.tune({} if weight is None else {"weight": weight, "mode": "dense"})
        assert self.late.tuned() == self.index.tuned()

    @rule()
    def reopen(self) -> None:
        self.index.close()
        self.index = yusa.open(self.folder / "index", encoder=self.encoder)

    @rule(number=st.integers(0, 9))
    def lose_a_segment_file(self, number: int) -> None:
        for path in sorted((self.folder / "index" / "segments").glob("*"))[number : number + 1]:
            path.unlink()

    @rule()
    def back_up(self) -> None:
        self.index.backup(self.folder / "copy")
        with yusa.open(self.folder / "copy", encoder=self.encoder) as copy:
            check(copy, self.model, self.looked)
        shutil.rmtree(self.folder / "copy")

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def look_at_one(self, data: st.DataObject) -> None:
        one = self.model[data.draw(st.sampled_from(sorted(self.model)))]
        row, passages = self.index.row(one.document.id)
        assert (row.document, row.source) == (one.document, one.source)
        assert [(p.ordinal, p.start, p.end) for p in passages] == [
            (p.ordinal, p.start, p.end) for p in one.entry.passages
        ]
        assert {hit.id for hit in self.index.similar(one.document.id, top_k=100)} == self.model.keys() - {
            one.document.id
        }

    @rule()
    def look_late(self) -> None:
        check(self.late, self.model, self.looked)

    @invariant()
    def answers_as_the_model(self) -> None:
        self.looked += 1
        check(self.index, self.model, self.looked)


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        IndexMachine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_any_sequence_of_operations() -> None:
    _run(6, 15)


@pytest.mark.slow
def test_many_long_sequences_of_operations() -> None:
    _run(25, 40)
