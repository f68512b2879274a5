"""The published results on PKU FG-XMedia, with caveats for comparing with them."""

import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pydantic import TypeAdapter

from fieldmark.evaluation.result import Evaluation, format_symbol
from fieldmark.types import Medium

_SHOWN_METHODS = ("FGCrossNet", "DBFC-Net, cosine+", "SAFGCMHN", "GASA")
"""In tables for people: the paper's own network and those that followed. `published.toml` has all."""

_SHORT_NAMES = {"DBFC-Net, cosine+": "DBFC-Net+"}
_OURS = "this run"


@dataclass(frozen=True, slots=True)
class Caveat:
    """A remark that a reader of the published numbers must know."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the published tables.

    Args:
        map: By direction, as printed; directions that were not measured are missing.
        average: As printed.
        in_doubt: Directions whose columns were probably exchanged in print.
    """

    name: str
    source: str
    map: Mapping[str, float]
    average: Mapping[str, float]
    in_doubt: tuple[str, ...] = ()
    year: int | None = None

    json_keys: ClassVar = (
        "name",
        "year",
        "source",
        "map",
        "map_average=average",
        "in_doubt",
    )


@dataclass(frozen=True, slots=True)
class Published:
    """The published tables.

    Args:
        counts: Test items of each medium, as the benchmark's paper states them.
        protocol: That all methods were measured with.
    """

    benchmark: str
    class_count: int
    counts: Mapping[Medium, int]
    protocol: str
    methods: tuple[Method, ...]
    caveats: tuple[Caveat, ...] = field(default=())

    def json_values(self) -> dict[str, object]:
        """Return the values of the JSON object, by key."""
        return {
            "benchmark": self.benchmark,
            "counts": self.counts,
            "protocol": self.protocol,
            "caveats": {caveat.kind: caveat.text for caveat in self.caveats},
            "methods": self.methods,
        }


def read_published() -> Published:
    """Read the tables in the package."""
    with Path(__file__).with_name("published.toml").open("rb") as file:
        return TypeAdapter(Published).validate_python(tomllib.load(file))


def list_setting_differences(evaluation: Evaluation, published: Published) -> tuple[str, ...]:
    """Return the reasons why an evaluation is not comparable with the published numbers; empty if it is."""
    reasons = []
    if evaluation.item_count != published.counts or evaluation.class_count != published.class_count:
        ours, theirs = (
            ", ".join(f"{count:,} {medium}" for medium, count in counts.items())
            for counts in (evaluation.item_count, published.counts)
        )
        reasons.append(
            f"Different test items: {ours} of {evaluation.class_count:,} classes here; {theirs} of "
            f"{published.class_count:,} classes of {published.benchmark} there. Fewer classes make every task easier, "
            "so this run cannot be compared directly with the published methods."
        )
    if evaluation.protocol.name != published.protocol:
        reasons.append(
            f"Different rules: protocol {evaluation.protocol.name} here, {published.protocol} there; "
            f"--protocol {published.protocol} measures by theirs."
        )
    counts = evaluation.task_counts
    if evaluation.absent:
        reasons.append(
            f"Fewer tasks: the averages of this run are over {counts['bi_modality']} of the 12 tasks between two media "
            f"and {counts['multi_modality']} of the 4 to all media."
        )
    return tuple(reasons)


def select_shown_methods(published: Published) -> tuple[Method, ...]:
    """Return the methods shown in tables, in their order."""
    by_name = {method.name: method for method in published.methods}
    return tuple(by_name[name] for name in _SHOWN_METHODS)


def format_beside(evaluation: Evaluation, published: Published) -> str:
    """Format an evaluation beside the published methods, with every caveat, in at most 80 columns."""
    methods = select_shown_methods(published)
    names = [_OURS, "chance", *(_SHORT_NAMES.get(method.name, method.name) for method in methods)]
    lines = [f"{'task':<6} " + " ".join(f"{name:>10}" for name in names)]
    ours = {d.name: (d.mean_average_precision, d.chance) for d in evaluation.directions}
    order = list(ours) + [name for name in methods[0].map if name not in ours]
    for name in order:
        own = [f"{value:.3f}" for value in ours[name]] if name in ours else ["-", "-"]
        theirs = [format_published(method, name) for method in methods]
        lines.append(f"{format_symbol(name):<6} " + " ".join(f"{cell:>10}" for cell in (*own, *theirs)).rstrip())
    for name, value in evaluation.averages.items():
        cells = ["-" if value is None else f"{value:.3f}", "", *(f"{m.average[name]:.3f} " for m in methods)]
        title = "bi" if name == "bi_modality" else "multi"
        lines.append(f"{title:<6} " + " ".join(f"{cell:>10}" for cell in cells).rstrip())
    lines.append("bi, multi: averages of the 12 tasks between two media and of the 4 to all media.")
    notes = (*list_setting_differences(evaluation, published), *(caveat.text for caveat in published.caveats))
    for number, note in enumerate(notes, start=1):
        lines += textwrap.wrap(f"{number}. {note}", 80, subsequent_indent="   ")
    return "\n".join(lines)


def format_published(method: Method, name: str) -> str:
    """Format a published number, followed by a star if it is in doubt, else by a blank."""
    if name not in method.map:
        return "- "
    return f"{method.map[name]:.3f}" + ("*" if name in method.in_doubt else " ")
