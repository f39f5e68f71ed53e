"""What a kill leaves of an index that txtai saves: the figure beside `make torture`.

`python -m benchmarks.txtai_kills --txtai-python PATH` where PATH is the Python of an environment with `txtai>=9,<10`;
without the option YUSA_TXTAI_PYTHON names it.

In each trial a writer indexes, then upserts again and again, saves to one path after each and acknowledges each save.
It is killed within 0.25 s of an acknowledgement. Then a fresh process loads the index, which should hold what was
acknowledged last or what was being saved, and should find each of 20 texts by its own vector.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.report import write

_WRITER = Path(__file__).with_name("txtai_writer.py")
_VERSION = "from importlib.metadata import version; print(version('txtai'))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--txtai-python", default=os.environ.get("YUSA_TXTAI_PYTHON"))
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    python = arguments.txtai_python
    if not python:
        parser.error("--txtai-python or YUSA_TXTAI_PYTHON has to name the Python of an environment with txtai 9")
    trials = []
    # txtai keeps the name of the function that makes the vectors, and follows it only if it may.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ALLOW_RESOLVE_TRANSFORM": "True"}
    version = subprocess.run([python, "-c", _VERSION], capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-W", "ignore", str(_WRITER), folder]
        command += [str(value) for value in (arguments.trials, arguments.documents, arguments.seed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            for line in process.stdout:
                trials.append(json.loads(line))
                print(line, end="", flush=True)
    if process.returncode:
        raise SystemExit(process.returncode)
    found = Counter(trial["found"] for trial in trials)
    counts = {word: found[word] for word in ("unreadable", "inconsistent", "whole")}
    print(counts)
    settings = {"txtai": version, "documents": arguments.documents, "seed": arguments.seed}
    print(write("txtai-kills", {**settings, "trials": len(trials), **counts, "each": trials}))


if __name__ == "__main__":
    main()
