"""The verb `data describe`: what a data set holds, as a table, as JSON, and as a datasheet."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from fieldmark.data.manifest import read_manifest
from fieldmark.data.split import group_of
from fieldmark.datasets.checks.findings import count_items, counted_splits
from fieldmark.datasets.checks.inspection import Inspection
from fieldmark.datasets.inspecting import inspect_items
from fieldmark.io import write_text
from fieldmark.types import MEDIA, Item, MediaLimits, Medium, Reporter, SilentReporter

_UNKNOWN = "not stated"
_SHOWN = 12
_MOST_SOURCES = 40


@dataclass(frozen=True, slots=True)
class Spread:
    """How some lengths are spread."""

    count: int
    total: float
    smallest: float
    quarter: float
    middle: float
    three_quarters: float
    largest: float

    def to_json(self) -> dict[str, int | float]:
        """The plain values that `--json` prints."""
        return {
            "count": self.count,
            "total": self.total,
            "min": self.smallest,
            "quartile_1": self.quarter,
            "median": self.middle,
            "quartile_3": self.three_quarters,
            "max": self.largest,
        }


@dataclass(frozen=True, slots=True)
class Description:
    """What a manifest lists, counted.

    Args:
        counts: Items by medium and split.
        class_counts: Items by class, medium and split.
        group_counts: Different groups (recordings, pages, videos, files) by medium.
        lengths: Seconds of sounds and videos, words of texts, of those items that could be decoded.
        failure_count: Items that could not.
    """

    manifest: Path
    item_count: int
    counts: Mapping[str, Mapping[str, int]]
    class_counts: Mapping[str, Mapping[str, Mapping[str, int]]]
    group_counts: Mapping[str, int]
    lengths: Mapping[str, Spread]
    licenses: Mapping[str, int]
    sources: Mapping[str, int]
    failure_count: int

    def to_json(self) -> dict[str, object]:
        """The plain values that `--json` prints."""
        return {
            "manifest": str(self.manifest),
            "item_count": self.item_count,
            "class_count": len(self.class_counts),
            "counts": {medium: dict(splits) for medium, splits in self.counts.items()},
            "class_counts": {
                name: {medium: dict(splits) for medium, splits in media.items()}
                for name, media in self.class_counts.items()
            },
            "group_counts": dict(self.group_counts),
            "lengths": {medium: spread.to_json() for medium, spread in self.lengths.items()},
            "licenses": dict(self.licenses),
            "sources": dict(self.sources),
            "failure_count": self.failure_count,
        }

    def to_text(self) -> str:
        """A short table for a terminal."""
        lines = [f"{self.item_count:,} items of {len(self.class_counts):,} classes in {self.manifest}"]
        lines += _columns(self._media_rows())
        lines += ["", *_columns(self._class_rows(limit=_SHOWN))]
        lines += [f"and {len(self.class_counts) - _SHOWN:,} more classes"] if len(self.class_counts) > _SHOWN else []
        lines += ["", "licenses: " + _listed(self.licenses), "sources: " + _listed(self.sources)]
        lines += [f"{self.failure_count:,} items cannot be decoded; `fieldmark data check` lists them"] * bool(
            self.failure_count
        )
        return "\n".join(lines)

    def to_datasheet(self) -> str:
        """A datasheet in Markdown; what only its maker can know is left to be filled in."""
        parts = [
            f"# Datasheet: {self.manifest.stem}",
            "## Motivation",
            "_Why was the set made, by whom, and who paid for it?_",
            "## Composition",
            f"{self.item_count:,} items of {len(self.class_counts):,} classes. A group is what items share: one "
            "recording, one page, one video, or else a file. Lengths are seconds of video and audio, words of text.",
            _markdown(self._media_rows()),
            f"{self.failure_count:,} items cannot be decoded."
            if self.failure_count
            else "Every item can be decoded from beginning to end.",
            "### Classes",
            _markdown(self._class_rows(limit=None)),
            "## Collection",
            "Where the items come from:",
            _markdown([("source", "items"), *((name, f"{count:,}") for name, count in self.sources.items())]),
            "## Licenses",
            _markdown([("license", "items"), *((name, f"{count:,}") for name, count in self.licenses.items())]),
            "## Uses",
            "_What is the set fit for, and what not?_",
            "## Maintenance",
            "_Who answers questions, and how are errors mended?_",
        ]
        return "\n\n".join(parts) + "\n"

    def _media_rows(self) -> list[tuple[str, ...]]:
        splits = counted_splits(self.counts)
        rows = [("medium", *splits, "groups", "shortest", "median", "longest", "total")]
        for medium, counts in self.counts.items():
            spread = self.lengths.get(medium)
            figures = (spread.smallest, spread.middle, spread.largest, spread.total) if spread else ()
            lengths = [f"{figure:,.1f}".removesuffix(".0") for figure in figures] or ["-"] * 4
            numbers = [f"{counts.get(split, 0):,}" for split in splits]
            rows.append((medium, *numbers, f"{self.group_counts[medium]:,}", *lengths))
        return rows

    def _class_rows(self, *, limit: int | None) -> list[tuple[str, ...]]:
        """How many items of each class and medium stand in each split, in the order that the first row tells."""
        splits = counted_splits(self.counts)
        rows = [(f"class ({' / '.join(splits)})", *self.counts)]
        for name, media in list(self.class_counts.items())[:limit]:
            cells = [
                " / ".join(f"{media[medium].get(split, 0):,}" for split in splits) if medium in media else "-"
                for medium in self.counts
            ]
            rows.append((name, *cells))
        return rows


def describe(
    manifest: Path,
    *,
    limits: MediaLimits | None = None,
    workers: int = 1,
    cache: Path | None = None,
    reporter: Reporter | None = None,
) -> Description:
    """Counts what a manifest lists, and measures how long its items are.

    Args:
        cache: Folder where inspections are kept; after a check nothing is decoded again.

    Raises:
        ManifestError: The manifest is not valid.
    """
    items = read_manifest(manifest)
    inspections = inspect_items(
        items,
        limits=limits or MediaLimits(),
        workers=workers,
        cache=cache,
        reporter=reporter or SilentReporter(),
    )
    return Description(
        manifest=manifest,
        item_count=len(items),
        counts=count_items(items),
        class_counts=_class_counts(items),
        group_counts={
            medium.value: len({group_of(item) for item in items if item.medium is medium}) for medium in MEDIA
        },
        lengths=_lengths(items, inspections),
        licenses=_most_first(item.license or _UNKNOWN for item in items),
        sources=_sources(items),
        failure_count=sum(inspection.failure is not None for inspection in inspections),
    )


def write_datasheet(description: Description, out: Path) -> None:
    """Writes the datasheet; the file appears whole or not at all."""
    write_text(out, description.to_datasheet())


def _class_counts(items: Iterable[Item]) -> dict[str, dict[str, dict[str, int]]]:
    by_class: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_class[item.class_name or _UNKNOWN].append(item)
    return {name: count_items(members) for name, members in sorted(by_class.items())}


def _lengths(items: Sequence[Item], inspections: Sequence[Inspection]) -> dict[str, Spread]:
    lengths: defaultdict[Medium, list[float]] = defaultdict(list)
    for item, inspection in zip(items, inspections, strict=True):
        length = inspection.word_count if item.medium is Medium.TEXT else inspection.duration_seconds
        if length is not None:
            lengths[item.medium].append(float(length))
    return {medium.value: _spread(lengths[medium]) for medium in MEDIA if lengths[medium]}


def _spread(values: Sequence[float]) -> Spread:
    quarters = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return Spread(len(values), sum(values), min(values), quarters[0], median(values), quarters[2], max(values))


def _sources(items: Sequence[Item]) -> dict[str, int]:
    """The works that items come from: as much of their addresses as leaves few enough of them to read."""
    parts = [(item.source or _UNKNOWN).partition("://")[2] or item.source or _UNKNOWN for item in items]
    for depth in (3, 2, 1):
        counts = _most_first("/".join(part.partition("@")[0].split("/")[:depth]) for part in parts)
        if len(counts) <= _MOST_SOURCES:
            break
    return counts


def _most_first(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def _listed(counts: Mapping[str, int]) -> str:
    shown = [f"{name} ({count:,})" for name, count in list(counts.items())[:_SHOWN]]
    return "; ".join(shown) + (f"; and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else "")


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _markdown(rows: Sequence[tuple[str, ...]]) -> str:
    cleaned = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cleaned]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
