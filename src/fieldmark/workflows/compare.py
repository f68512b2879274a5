"""The verb `compare`: two evaluations of the same items, and whether their difference is more than chance."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

from fieldmark.errors import EvaluationError
from fieldmark.evaluation.comparison import (
    LEVEL,
    TaskComparison,
    compare_measurements,
    list_item_differences,
)
from fieldmark.evaluation.metrics import Interval
from fieldmark.evaluation.protocol import ProtocolName, Settings
from fieldmark.evaluation.result import SYMBOLS, format_symbol
from fieldmark.runtime import Runtime
from fieldmark.workflows.evaluate import measure_folder

_AVERAGES = {"bi_modality": "Avg bi", "multi_modality": "Avg all"}
"""Names of the averages in the table."""


@dataclass(frozen=True, slots=True)
class CompareReport:
    """Two runs side by side, direction by direction.

    Args:
        group_count: Units that were drawn and exchanged as a whole: groups, and items without one.
    """

    first_folder: Path
    second_folder: Path
    protocol: str
    directions: tuple[TaskComparison, ...]
    averages: tuple[TaskComparison, ...]
    group_count: int
    seed: int
    cautions: tuple[str, ...]

    def json_values(self) -> dict[str, object]:
        """Return the values of the JSON object, by key."""
        return {
            "first": self.first_folder,
            "second": self.second_folder,
            "protocol": self.protocol,
            "cautions": self.cautions,
            "directions": {each.name: each for each in self.directions},
            "averages": {each.name: each for each in self.averages},
            "test": {
                "kind": "paired t test over groups as queries and in the gallery, two-sided",
                "adjustment": "Holm",
                "test_count": len(self.directions) + len(self.averages),
                "group_count": self.group_count,
                "seed": self.seed,
            },
        }

    def to_text(self) -> str:
        """Return the table, with its columns explained."""
        lines = [
            f"A: {self.first_folder}",
            f"B: {self.second_folder}",
            f"Protocol {self.protocol}, {self.group_count:,} groups",
            "",
            f"{'task':<7} {'A':>6} {'B':>6} {'B - A':>7} {'95 % interval':>17} {'p':>7} {'p Holm':>7} {'queries':>8}",
        ]
        for each in (*self.directions, *self.averages):
            name = _AVERAGES.get(each.name) or format_symbol(each.name)
            verdict = f" {'B' if each.difference > 0 else 'A'} better" if each.is_found else ""
            count, adjusted = (
                ("", "") if each.is_average else (f"{each.query_count:,}", _format_p(each.p_value_adjusted))
            )
            lines.append(
                f"{name:<7} {each.first:6.3f} {each.second:6.3f} {each.difference:+7.3f} "
                f"{_format_span(each.interval_95):>17} {_format_p(each.p_value):>7} {adjusted:>7} "
                f"{count:>8}{verdict}"
            )
        lines += [
            "",
            *textwrap.wrap(
                "A, B: MAP. Interval of the difference, and p: were other groups of these classes drawn, as queries "
                "and for the gallery; - where queries or gallery are of one group, and nothing tells. p Holm: adjusted "
                f"for {len(self.directions)} tasks tested at once; each of the {len(self.averages)} averages is one "
                "test, not adjusted. "
                f"Below {LEVEL}, the better run is named. {SYMBOLS}",
                90,
            ),
            "The test compares these two trained models. To compare two recipes,",
            "train each with several seeds.",
        ]
        for caution in self.cautions:
            lines += textwrap.wrap(caution, 90)
        return "\n".join(lines)


def _format_p(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _format_span(interval: Interval) -> str:
    return "-" if interval is None else f"{interval[0]:+.3f} to {interval[1]:+.3f}"


def compare(
    first_run: Path | str,
    second_run: Path | str,
    *,
    protocol: ProtocolName = "strict",
    seed: int = 0,
    runtime: Runtime | None = None,
) -> CompareReport:
    """Compare two embeddings folders, or runs that hold one, query by query.

    Raises:
        EvaluationError: They do not hold the same items.
        EmbeddingsError: A folder is not complete or damaged.
        EvaluationError: Nothing in one of them can be measured.
        NonFiniteEmbeddingError: Items without a usable vector.
    """
    settings = Settings(protocol=protocol, seed=seed)
    one, other = (measure_folder(run, settings=settings, runtime=runtime) for run in (first_run, second_run))
    reasons = list_item_differences(one.measurement.evaluated, other.measurement.evaluated)
    if reasons:
        raise EvaluationError(
            f"'{one.folder}' and '{other.folder}' cannot be compared: {', '.join(reasons)}. "
            "Embed the same split of the same manifest with both checkpoints."
        )
    compared = compare_measurements(one.measurement, other.measurement)
    return CompareReport(
        first_folder=one.folder,
        second_folder=other.folder,
        protocol=protocol,
        directions=tuple(each for each in compared if not each.is_average),
        averages=tuple(each for each in compared if each.is_average),
        group_count=one.measurement.evaluated.group_count,
        seed=seed,
        cautions=one.evaluation.cautions,
    )
