"""The half of `benchmarks.txtai_kills` that runs in txtai's own environment: it forks writers, kills them, and looks.

`python txtai_writer.py DIRECTORY TRIALS DOCUMENTS SEED` prints one line of JSON for each trial.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from txtai import Embeddings

DIMENSION = 64
WITHIN = 0.25
ACKNOWLEDGED = 4
"""A writer is killed within `WITHIN` seconds of an acknowledgement, of its first to this one."""
QUESTIONS = 20

State = dict[str, str]


def transform(texts: Sequence[str]) -> NDArray[np.float32]:
    """A unit vector for each text that follows from the text alone."""
    rows = np.empty((len(texts), DIMENSION), dtype=np.float32)
    for number, text in enumerate(texts):
        seed = int.from_bytes(hashlib.sha256(str(text).encode()).digest()[:8], "little")
        row = np.random.default_rng(seed).standard_normal(DIMENSION)
        rows[number] = row / np.linalg.norm(row)
    return rows


def changes(step: int, documents: int) -> list[tuple[str, str]]:
    """Step 0 is the first index; every later one replaces 5 % of the documents and adds as many."""
    if step == 0:
        numbers = list(range(documents))
    else:
        part = max(1, documents // 20)
        held = documents + (step - 1) * part
        chosen = random.Random(step).sample(range(held), part)
        numbers = [*chosen, *range(held, held + part)]
    return [(f"d{number}", f"document {number} as of step {step}") for number in numbers]


def state(step: int, documents: int) -> State:
    """What the index holds after a step."""
    held: State = {}
    for number in range(step + 1):
        held |= dict(changes(number, documents))
    return held


def embeddings() -> Any:
    return Embeddings({"method": "external", "transform": "txtai_writer.transform", "content": True})


def write(path: Path, documents: int, pipe: int) -> None:
    """Index or upsert, save, acknowledge, for ever."""
    index = embeddings()
    step = 0
    while True:
        rows = [(id, text, None) for id, text in changes(step, documents)]
        if step == 0:
            index.index(rows)
        else:
            index.upsert(rows)
        index.save(str(path))
        os.write(pipe, b"%d\n" % step)
        step += 1


def kill_one(path: Path, documents: int, chance: random.Random) -> int:
    """Let a writer live until shortly after an acknowledgement; the last step that it acknowledged."""
    wanted, wait = chance.randint(1, ACKNOWLEDGED), chance.random() * WITHIN
    read, written = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            write(path, documents, written)
        finally:
            os._exit(1)
    os.close(written)
    told = b""
    while told.count(b"\n") < wanted:
        block = os.read(read, 4096)
        if not block:
            raise SystemExit("the writer ended by itself")
        told += block
    deadline = time.monotonic() + wait
    while select.select([read], [], [], max(0.0, deadline - time.monotonic()))[0]:
        told += os.read(read, 4096)
    os.kill(child, signal.SIGKILL)
    while block := os.read(read, 4096):
        told += block
    os.close(read)
    os.waitpid(child, 0)
    return int(told.split()[-1])


def look(path: Path, last: int, documents: int) -> tuple[str, str]:
    """Whether the index is the acknowledged one or the one that was being saved: a word, and why."""
    try:
        index = embeddings()
        index.load(str(path))
        count = index.count()
        rows = index.search("select id, text from txtai", 10 * documents)
    except Exception as error:  # noqa: BLE001  (whatever it is, the index cannot be read)
        return "unreadable", f"{type(error).__name__}: {error}"
    try:
        held = {row["id"]: row["text"] for row in rows}
        possible = [state(step, documents) for step in (last, last + 1)]
        if held not in possible:
            return "inconsistent", f"its {len(held)} texts are neither the acknowledged ones nor the following"
        if count != len(held):
            return "inconsistent", f"{count} vectors, {len(held)} texts"
        for id in random.Random(last).sample(sorted(held), QUESTIONS):
            hits = index.search(held[id], 1)
            if not hits or hits[0]["id"] != id or hits[0]["score"] < 0.999:
                return "inconsistent", f"the text of {id} finds {hits[:1]}"
    except Exception as error:  # noqa: BLE001  (it was opened and cannot answer)
        return "unreadable", f"{type(error).__name__}: {error}"
    return "whole", "as acknowledged" if held == possible[0] else "as the save that was under way"


def looked(path: Path, last: int, documents: int) -> tuple[str, str]:
    """`look` in a process of its own, which a damaged file may bring down."""
    read, written = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            os.write(written, json.dumps(look(path, last, documents)).encode()[:60_000])
        finally:
            os._exit(0)
    os.close(written)
    told = b""
    while block := os.read(read, 65536):
        told += block
    os.close(read)
    _, status = os.waitpid(child, 0)
    if not told:
        return "unreadable", f"reading it ended the process with status {status}"
    word, why = json.loads(told)
    return word, why


def control(path: Path, documents: int) -> None:
    """An index that nobody kills is whole, else the trials would say nothing."""
    index = embeddings()
    for step in range(2):
        rows = [(id, text, None) for id, text in changes(step, documents)]
        (index.upsert if step else index.index)(rows)
        index.save(str(path))
    index.close()
    word, why = looked(path, 1, documents)
    if word != "whole":
        raise SystemExit(f"without a kill the index is {word}: {why}")


def main(directory: Path, trials: int, documents: int, seed: int) -> None:
    control(directory / "control", documents)
    chance = random.Random(seed)
    for number in range(trials):
        path = directory / f"index-{number}"
        last = kill_one(path, documents, chance)
        word, why = looked(path, last, documents)
        print(
            json.dumps(
                {"trial": number, "acknowledged": last, "found": word, "why": why.replace(str(path), "INDEX")[:300]}
            ),
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
