"""Compares the pinned packages with the advisories that are known: `python tools/audit.py`.

Fails where a package has a known vulnerability, or where the audit itself breaks. Where the advisory service cannot be
reached it says so and does not fail, as nothing is known then. Further arguments go to pip-audit, such as
`--ignore-vuln ID`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
# What pip-audit ends with where the network, and not the audit, is at fault.
_UNREACHED = re.compile(r"^requests\.exceptions\.|\.(?:ServiceError|ConnectionError)\b|ould not connect", re.MULTILINE)


def main(options: list[str]) -> int:
    """Runs pip-audit over constraints.txt and says what came of it."""
    arguments = ["--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip", "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", *arguments, "--progress-spinner", "off", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    code, lines = verdict(done.stdout, done.stderr)
    print("\n".join(lines))
    return code


def verdict(output: str, errors: str) -> tuple[int, list[str]]:
    """The exit code, and what to say: of what pip-audit wrote as JSON and to standard error."""
    try:
        packages = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        if _UNREACHED.search(errors):
            return 0, [f"audit: not done, the advisory service cannot be reached ({last[:200]})"]
        return 2, [errors.strip(), f"audit: failed, and nothing was audited: {last[:200]}"]
    asked = [package for package in packages if "skip_reason" not in package]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    lines = [
        f"{package['name']} {package['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'none'}"
        for package in asked
        for found in package["vulns"]
    ]
    if lines:
        return 1, [*lines, f"audit: {len(lines)} known vulnerabilities in {len(asked)} packages"]
    # pip-audit calls it a success where the service knows none of the packages, as a mirror without advisories does.
    if not asked:
        return 0, [f"audit: not done, the advisory service knows none of the {len(skipped)} packages"]
    left_out = f"; it does not know {', '.join(skipped)}" if skipped else ""
    return 0, [f"audit: no known vulnerability in {len(asked)} packages{left_out}"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
