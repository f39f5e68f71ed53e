"""Counting what a campaign did and found, as a table and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be, and how to see it again."""

    kind: str
    round: int
    kill: int
    point: str
    operation: str
    sentence: str
    kept: str

    def __str__(self) -> str:
        return (
            f"{self.kind}: round {self.round}, kill {self.kill} ({self.point}, {self.operation}): {self.sentence}\n"
            f"    what was left stands in {self.kept}"
        )


@dataclass
class Tally:
    """Counts of a campaign.

    Attributes:
        left: by the last part of their names, what killed backups and restores left beside the index.
    """

    kills: int = 0
    points: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    commits: int = 0
    finished: int = 0
    written: int = 0
    ahead: int = 0
    left: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    def found(self, *kinds: str) -> int:
        """How many findings are of these kinds."""
        return sum(finding.kind in kinds for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """What is written as JSON."""
        return {
            "kills": self.kills,
            "commits_acknowledged": self.commits,
            "operations_finished": self.finished,
            "commits_kept_without_acknowledgement": self.ahead,
            "checks_that_wrote": self.written,
            "lost_acknowledgements": self.found("lost"),
            "half_changes": self.found("half"),
            "crossed_rows": self.found("crossed"),
            "did_not_reopen": self.found("unopened"),
            "other_findings": self.found("other", "failed"),
            "left_beside": dict(sorted(self.left.items())),
            "seconds": round(self.seconds, 1),
            "kills_by_point": dict(sorted(self.points.items())),
            "kills_by_operation": dict(sorted(self.operations.items())),
            "findings": [asdict(finding) for finding in self.findings],
        }

    def table(self) -> str:
        """What is printed."""
        numbers = self.to_dict()
        lines = [
            f"{name.replace('_', ' '):40}{value:>10}"
            for name, value in numbers.items()
            if isinstance(value, int | float)
        ]
        for name in ("kills_by_point", "kills_by_operation", "left_beside"):
            lines += ["", name.replace("_", " ")]
            lines += [f"  {key:38}{value:>10}" for key, value in numbers[name].items()]
        return "\n".join(lines)
