"""`python -m benchmarks`: every benchmark that can run here, one after another.

Labelled sets are looked for in YUSA_DATA, txtai and sentence-transformers in the environment whose Python
YUSA_TXTAI_PYTHON names.
"""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.report import data_directory


def main() -> int:
    peer = os.environ.get("YUSA_TXTAI_PYTHON")
    beside = ["--peer-python", peer] if peer else []
    runs = [
        ["benchmarks.storage"],
        ["benchmarks.opening"],
        ["benchmarks.encode", *beside],
        ["benchmarks.query", *beside],
    ]
    if peer:
        runs.append(["benchmarks.txtai_kills"])
    if data_directory().is_dir():
        runs += [
            ["benchmarks.quality"],
            ["benchmarks.maxsim"],
            ["benchmarks.ingest", *(["--txtai-python", peer] if peer else [])],
        ]
    else:
        print(f"{data_directory()} is not here; quality, maxsim and ingest are left out", file=sys.stderr)
    return max(subprocess.run([sys.executable, "-m", *run], check=False).returncode for run in runs)


if __name__ == "__main__":
    raise SystemExit(main())
