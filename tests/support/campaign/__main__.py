"""`python -m campaign`: kills writers and prints what came of it; exit status 1 where something was found.

A seed replays: `--seed S --kills N`. Rounds are independent, so `--round R` replays one of them alone; odd rounds are
killed at named points only and replay exactly, the others also at random moments.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import syscalls

_READY = "YUSA_TORTURE_READY"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--round", type=int, default=0, help="the first round; 0")
    parser.add_argument("--json", type=Path, help="where the result is written")
    parser.add_argument("--directory", type=Path, help="where the indexes are made; by default a temporary one")
    parser.add_argument("--python", action="store_true", help="kill at Python's file operations alone, not SQLite's")
    parser.add_argument("--point", action="append", default=[], help="kill at this kind of named point alone")
    parser.add_argument("--broken", help="break the product on purpose; one of campaign.sabotage")
    parser.add_argument("--stop", action="store_true", help="end with the first finding")
    arguments = parser.parse_args()
    if _READY not in os.environ:
        _again(preload=not arguments.python)
    directory = Path(tempfile.mkdtemp(prefix="yusa-torture-", dir=arguments.directory)).resolve()
    os.environ["YUSA_CACHE"] = str(directory / "cache")
    from campaign import sabotage
    from campaign.parent import Campaign
    from campaign.points import kinds

    broken: Callable[[], None] | None = getattr(sabotage, arguments.broken) if arguments.broken else None
    means = "system calls" if syscalls.loaded() else "Python's file operations"
    _say(f"seed {arguments.seed}, {arguments.kills} kills at {means} and at random moments, in {directory}")
    if unknown := set(arguments.point) - set(kinds()):
        parser.error(f"no such kind of point: {', '.join(unknown)}; there are {', '.join(kinds())}")
    campaign = Campaign(directory, arguments.seed, stop=arguments.stop, only=arguments.point, broken=broken, say=_say)
    tally = campaign.run(arguments.kills, first_round=arguments.round)
    _say(tally.table())
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        result = {"seed": arguments.seed, "means": means, **tally.to_dict()}
        arguments.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if not tally.findings:
        shutil.rmtree(directory)
    return bool(tally.findings)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _again(*, preload: bool) -> None:
    """Start this program once more with the shim preloaded, one thread for each sum, and the support modules found."""
    library = syscalls.library() if preload else None
    support = str(Path(__file__).parents[1])
    others = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([support, *others]), "OMP_NUM_THREADS": "1"}
    if library is not None:
        environment["LD_PRELOAD"] = str(library)
    environment[_READY] = "1"
    os.execve(sys.executable, [sys.executable, "-m", "campaign", *sys.argv[1:]], environment)


if __name__ == "__main__":
    raise SystemExit(main())
