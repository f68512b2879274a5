"""The verb `data check`: decode everything, and say what is broken, repeated or leaking."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from fieldmark.checks.findings import (
    Inspection,
    Problem,
    ProblemKind,
    Severity,
    count_items,
    find_problems,
    inspect_item,
)
from fieldmark.data.manifest import read_rows
from fieldmark.errors import first
from fieldmark.types import Item, MediaLimits, Reporter, SilentReporter

CHUNK_ITEMS = 16
"""Items handed to a process at once."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `data check` found.

    Args:
        item_count: Rows of the manifest that could be read.
        counts: Items by medium and split.
    """

    item_count: int
    problems: tuple[Problem, ...]
    counts: Mapping[str, Mapping[str, int]]

    @property
    def has_errors(self) -> bool:
        """Whether anything found makes an item unusable or a result untrue."""
        return any(problem.severity is Severity.ERROR for problem in self.problems)

    def to_json(self) -> dict[str, object]:
        """The plain values that `--json` prints."""
        return {
            "item_count": self.item_count,
            "problems": [
                {
                    "kind": problem.kind.value,
                    "severity": problem.severity.value,
                    "item_ids": list(problem.item_ids),
                    "detail": problem.detail,
                }
                for problem in self.problems
            ],
            "counts": {medium: dict(splits) for medium, splits in self.counts.items()},
        }

    def to_text(self) -> str:
        """The counts, then each kind of finding with its first few items."""
        lines = [f"{self.item_count:,} items"]
        lines += [
            f"  {medium:<6} " + ", ".join(f"{split} {count:,}" for split, count in splits.items())
            for medium, splits in self.counts.items()
        ]
        found = Counter((problem.severity, problem.kind) for problem in self.problems)
        for (severity, kind), count in found.items():
            lines.append(f"{severity.value}: {kind.value}, {count:,}")
            shown = [problem for problem in self.problems if problem.kind is kind][:3]
            lines += [f"  {problem.detail} ({first(problem.item_ids, limit=3)})" for problem in shown]
            lines += [f"  and {count - 3:,} more; --json lists all"] if count > 3 else []
        return "\n".join([*lines, self._verdict()])

    def _verdict(self) -> str:
        counts = Counter(problem.severity for problem in self.problems)
        return ", ".join(f"{counts[severity]:,} {severity.value}s" for severity in Severity)


def check(
    manifest: Path, *, limits: MediaLimits | None = None, workers: int = 1, reporter: Reporter | None = None
) -> CheckReport:
    """Decodes every item of a manifest from beginning to end and reports all findings at once.

    Args:
        workers: Processes that decode; 1 decodes in this one. More are spawned, so the calling script must not do its
            work on import.

    Raises:
        ManifestError: The file is no manifest; bad rows of a good file are findings.
    """
    rows = read_rows(Path(manifest))
    inspections = _inspect(
        rows.items, limits=limits or MediaLimits(), workers=workers, reporter=reporter or SilentReporter()
    )
    bad_rows = tuple(Problem(ProblemKind.BAD_ROW, (), detail) for detail in rows.problems)
    return CheckReport(
        item_count=len(rows.items),
        problems=bad_rows + find_problems(rows.items, inspections),
        counts=count_items(rows.items),
    )


def _inspect(items: Sequence[Item], *, limits: MediaLimits, workers: int, reporter: Reporter) -> list[Inspection]:
    """What decoding shows of each item."""
    inspect = partial(inspect_item, limits=limits)
    inspections: list[Inspection] = []
    if workers == 1:
        for item in items:
            inspections.append(inspect(item))
            reporter.step("check", done=len(inspections), total=len(items))
        return inspections
    # Not forked: the parent may hold threads of torch and FFmpeg.
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn")) as pool:
        for inspection in pool.map(inspect, items, chunksize=CHUNK_ITEMS):
            inspections.append(inspection)
            reporter.step("check", done=len(inspections), total=len(items))
    return inspections
