"""The audit fails for a vulnerability and for an audit that broke, never for a network that is not there."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def audit() -> Any:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "tools" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _report(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


GOOD = {"name": "good", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "1.0", "vulns": [{"id": "CVE-2026-1", "fix_versions": ["1.1"], "aliases": []}]}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("output", "errors", "code", "said"),
    [
        (_report(GOOD), "", 0, "audit: no known vulnerability in 1 packages"),
        (_report(GOOD, UNKNOWN), "", 0, "no known vulnerability in 1 packages; it does not know unknown"),
        (_report(GOOD, BAD), "Found 1 known vulnerability", 1, "bad 1.0: CVE-2026-1, fixed in 1.1"),
        (_report(UNKNOWN), "", 0, "audit: not done, the advisory service knows none of the 1 packages"),
        (
            "",
            "Traceback\nrequests.exceptions.ProxyError: HTTPSConnectionPool",
            0,
            "not done, the advisory",
        ),
        ("", "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed", 0, "cannot be reached"),
        ("", "pip_audit._service.interface.ServiceError", 0, "cannot be reached"),
        ("", "/bin/python: No module named pip_audit", 2, "audit: failed, and nothing was audited: "),
        ("", "pip-audit: error: unrecognized arguments: --nonsense", 2, "unrecognized arguments"),
        ("[]", "", 2, "it said nothing"),
    ],
)
def test_what_is_said_and_how_it_ends(audit: Any, output: str, errors: str, code: int, said: str) -> None:
    ended, lines = audit.verdict(output, errors)
    assert ended == code
    assert said in "\n".join(lines)


def test_every_package_has_one_exact_version(audit: Any) -> None:
    lines = audit.CONSTRAINTS.read_text("utf-8").splitlines()
    assert len(lines) > 50
    assert all(line.count("==") == 1 for line in lines)
    names = [line.split("==")[0].lower().replace("_", "-") for line in lines]
    assert len(names) == len(set(names))
    assert "pip-audit" in names
