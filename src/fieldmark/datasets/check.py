"""The verb `data check`: decode everything, and say what is broken, repeated or leaking."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fieldmark.data.manifest import read_rows, write_manifest
from fieldmark.data.table import write_csv
from fieldmark.datasets.checks.findings import Problem, ProblemKind, Severity, count_items, count_lines, find_problems
from fieldmark.datasets.checks.inspection import Inspection
from fieldmark.datasets.checks.mending import Mended, mend
from fieldmark.datasets.inspecting import inspect_items
from fieldmark.errors import first
from fieldmark.io import replacing
from fieldmark.types import Item, MediaLimits, Reporter, SilentReporter

_MOST_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `data check` found.

    Args:
        items: Of the rows that could be read.
        inspections: What decoding showed of each of them.
        counts: Items by medium and split.
    """

    items: tuple[Item, ...]
    inspections: tuple[Inspection, ...]
    problems: tuple[Problem, ...]
    counts: Mapping[str, Mapping[str, int]]

    @property
    def item_count(self) -> int:
        """Rows of the manifest that could be read."""
        return len(self.items)

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
        lines += count_lines(self.counts)
        found = Counter((problem.severity, problem.kind) for problem in self.problems)
        for (severity, kind), count in found.items():
            lines.append(f"{severity.value}: {kind.value}, {count:,}")
            shown = [problem for problem in self.problems if problem.kind is kind][:3]
            lines += [
                f"  {problem.detail}" + (f" ({first(problem.item_ids, limit=3)})" if problem.item_ids else "")
                for problem in shown
            ]
            lines += [f"  and {count - 3:,} more; --json lists all"] if count > 3 else []
        return "\n".join([*lines, self._verdict()])

    def _verdict(self) -> str:
        counts = Counter(problem.severity for problem in self.problems)
        return ", ".join(f"{counts[severity]:,} {severity.value}s" for severity in Severity)


def check(
    manifest: Path | str,
    *,
    limits: MediaLimits | None = None,
    workers: int = 1,
    cache: Path | None = None,
    reporter: Reporter | None = None,
) -> CheckReport:
    """Decodes every item of a manifest from beginning to end and reports all findings at once.

    Args:
        workers: Processes that decode; 1 decodes in this one. More are spawned, so the calling script must not do its
            work on import.
        cache: Folder where what was seen is kept by content, so that the next check decodes only what is new; None
            keeps nothing.

    Raises:
        ManifestError: The file is no manifest; bad rows of a good file are findings.
    """
    rows = read_rows(Path(manifest))
    reporter = reporter or SilentReporter()
    inspections = inspect_items(
        rows.items, limits=limits or MediaLimits(), workers=workers, cache=cache, reporter=reporter
    )
    bad_rows = tuple(Problem(ProblemKind.BAD_ROW, (), detail) for detail in rows.problems)
    return CheckReport(
        items=rows.items,
        inspections=tuple(inspections),
        problems=bad_rows + find_problems(rows.items, inspections),
        counts=count_items(rows.items),
    )


def write_clean(report: CheckReport, out: Path) -> Mended:
    """Writes a manifest without the faults found, and beside it a list of what was dropped or moved, and why.

    The list bears the name of the manifest with `.changes.csv` at its end.
    """
    mended = mend(report.items, report.problems)
    for _ in range(_MOST_ROUNDS):  # a group that was moved may bring an item beside its like in another split
        left = find_problems(mended.items, report.inspections)
        if not any(problem.severity is Severity.ERROR for problem in left):
            break
        again = mend(mended.items, left)
        mended = Mended(again.items, mended.changes + again.changes)
    write_manifest(mended.items, out)
    with replacing(out.with_suffix(".changes.csv")) as file:
        rows = ([each.item_id, each.action, each.kind, each.detail] for each in mended.changes)
        write_csv(file, names=["item_id", "action", "kind", "detail"], rows=rows)
    return mended
