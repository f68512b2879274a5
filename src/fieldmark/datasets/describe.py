"""`fieldmark data describe`: summarize a data set as text, as JSON and as a datasheet."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import ClassVar

from fieldmark.build import load_known_names
from fieldmark.config import Config
from fieldmark.data.manifest import read_manifest
from fieldmark.data.naming import describe_resolutions, read_name_sources, resolve_classes
from fieldmark.data.split import count_items, list_splits
from fieldmark.datasets.checks.inspection import Inspection, inspect_items
from fieldmark.errors import check_failure_share, write_count
from fieldmark.io import write_text
from fieldmark.names import Resolution
from fieldmark.origin import name_origins
from fieldmark.types import MEDIA, Failure, Item, MediaLimits, Medium, Reporter, SilentReporter

_UNKNOWN = "not stated"
_SHOWN = 12
_MAX_SOURCES = 40


@dataclass(frozen=True, slots=True)
class Distribution:
    """The distribution of some lengths."""

    count: int
    total: float
    smallest: float
    quarter: float
    middle: float
    three_quarters: float
    largest: float

    json_keys: ClassVar = (
        "count",
        "total",
        "min=smallest",
        "quartile_1=quarter",
        "median=middle",
        "quartile_3=three_quarters",
        "max=largest",
    )


@dataclass(frozen=True, slots=True)
class Description:
    """The summary of a manifest.

    Args:
        counts: Items by medium and split.
        class_counts: Items by class, medium and split.
        group_counts: Distinct origins (recordings, pages, videos, files) by medium.
        lengths: Seconds of audio and video, words of texts; undecodable items are left out.
        failure_count: Items that cannot be decoded.
        resolutions: The species that each class stands for; empty where no encoder was asked.
    """

    manifest: Path
    item_count: int
    counts: Mapping[str, Mapping[str, int]]
    class_counts: Mapping[str, Mapping[str, Mapping[str, int]]]
    group_counts: Mapping[str, int]
    lengths: Mapping[str, Distribution]
    licenses: Mapping[str, int]
    sources: Mapping[str, int]
    failures: tuple[Failure, ...]
    resolutions: tuple[Resolution, ...] = ()

    json_keys: ClassVar = (
        "manifest",
        "item_count",
        "class_count",
        "counts",
        "class_counts",
        "group_counts",
        "lengths",
        "licenses",
        "sources",
        "failure_count",
        "names=resolutions",
    )

    @property
    def failure_count(self) -> int:
        """The number of items that cannot be decoded."""
        return len(self.failures)

    def check_failures(self, *, allowed_share: float | None) -> None:
        """Check that enough items can be decoded.

        Raises:
            TooManyFailuresError: More than the share cannot.
        """
        reasons = [f"{each.item_id}: {each.message}" for each in self.failures]
        check_failure_share(reasons, total=self.item_count, allowed_share=allowed_share)

    @property
    def class_count(self) -> int:
        """The number of classes."""
        return len(self.class_counts)

    def to_text(self) -> str:
        """Return a short table for a terminal."""
        lines = [f"{self.item_count:,} items of {len(self.class_counts):,} classes in {self.manifest}"]
        lines += _align_columns(self._media_rows())
        lines += ["", *_align_columns(self._class_rows(limit=_SHOWN))]
        lines += [f"and {len(self.class_counts) - _SHOWN:,} more classes"] if len(self.class_counts) > _SHOWN else []
        lines += ["", "licenses: " + _shorten(self.licenses), "sources: " + _shorten(self.sources)]
        lines += [
            f"{write_count(self.failure_count, 'item')} cannot be decoded; `fieldmark data check` lists them"
        ] * bool(self.failure_count)
        if self.resolutions:
            open_names = describe_resolutions(self.resolutions)
            known = sum(each.is_resolved for each in self.resolutions)
            lines += ["", f"the encoders know {known:,} of {len(self.resolutions):,} classes by name", *open_names]
        return "\n".join(lines)

    def to_datasheet(self) -> str:
        """Return a datasheet in Markdown; what only its maker knows is left to fill in."""
        parts = [
            f"# Datasheet: {self.manifest.stem}",
            "## Motivation",
            "_Why was the data set created, by whom, and who funded it?_",
            "## Composition",
            f"{self.item_count:,} items of {len(self.class_counts):,} classes. Items of one origin form a "
            "group: a recording, a page, a video, or else a file. Lengths are seconds of video and audio, or words of "
            "text.",
            _format_markdown(self._media_rows()),
            f"{write_count(self.failure_count, 'item')} cannot be decoded."
            if self.failure_count
            else "Every item can be decoded from beginning to end.",
            "### Classes",
            _format_markdown(self._class_rows(limit=None)),
            "## Collection",
            "Sources of the items:",
            _format_markdown([("source", "items"), *((name, f"{count:,}") for name, count in self.sources.items())]),
            "## Licenses",
            _format_markdown([("license", "items"), *((name, f"{count:,}") for name, count in self.licenses.items())]),
            "## Uses",
            "_What should the data set be used for, and what not?_",
            "## Maintenance",
            "_Who answers questions, and how are errors corrected?_",
        ]
        return "\n\n".join(parts) + "\n"

    def _media_rows(self) -> list[tuple[str, ...]]:
        splits = list_splits(self.counts)
        rows = [("medium", *splits, "groups", "shortest", "median", "longest", "total")]
        for medium, counts in self.counts.items():
            spread = self.lengths.get(medium)
            figures = (spread.smallest, spread.middle, spread.largest, spread.total) if spread else ()
            lengths = [f"{figure:,.1f}".removesuffix(".0") for figure in figures] or ["-"] * 4
            numbers = [f"{counts.get(split, 0):,}" for split in splits]
            rows.append((medium, *numbers, f"{self.group_counts[medium]:,}", *lengths))
        return rows

    def _class_rows(self, *, limit: int | None) -> list[tuple[str, ...]]:
        """Return the items of each class by medium and split; the header names the order of the splits."""
        splits = list_splits(self.counts)
        rows = [(f"class ({' / '.join(splits)})", *self.counts)]
        for name, media in list(self.class_counts.items())[:limit]:
            cells = [
                " / ".join(f"{media[medium].get(split, 0):,}" for split in splits) if medium in media else "-"
                for medium in self.counts
            ]
            rows.append((name, *cells))
        return rows


def describe(  # noqa: PLR0913 - each option is one that the CLI offers
    manifest: Path,
    *,
    limits: MediaLimits | None = None,
    workers: int = 1,
    cache: Path | None = None,
    reporter: Reporter | None = None,
    config: Config | None = None,
    names_map: Path | None = None,
) -> Description:
    """Count the items of a manifest and measure their lengths.

    Args:
        cache: Folder that caches inspections; after a check nothing is decoded again. None disables it.
        config: Of the encoders by whose names the species of the classes are told; None leaves the names out.
        names_map: The names that somebody decided on.

    Raises:
        ManifestError: The manifest is not valid, or the names map has a class or a name that is not known.
    """
    items = read_manifest(manifest)
    inspections = inspect_items(
        items,
        limits=limits or MediaLimits(),
        workers=workers,
        cache=cache,
        reporter=reporter or SilentReporter(),
    )
    origins = name_origins(items)
    return Description(
        manifest=manifest,
        item_count=len(items),
        counts=count_items(items),
        class_counts=_count_by_class(items),
        group_counts={
            medium.value: len({origin for item, origin in zip(items, origins, strict=True) if item.medium is medium})
            for medium in MEDIA
        },
        lengths=_measure_lengths(items, inspections),
        licenses=_count_names(item.license or _UNKNOWN for item in items),
        sources=_count_sources(items),
        failures=tuple(inspection.failure for inspection in inspections if inspection.failure is not None),
        resolutions=() if config is None else _resolve(items, manifest, config=config, names_map=names_map),
    )


def _resolve(
    items: Sequence[Item], manifest: Path, *, config: Config, names_map: Path | None
) -> tuple[Resolution, ...]:
    known = load_known_names(config.model, media={item.medium for item in items})
    class_names = sorted({item.class_name for item in items if item.class_name is not None})
    return resolve_classes(class_names, known, sources=read_name_sources(manifest, names_map=names_map))


def write_datasheet(description: Description, out: Path) -> None:
    """Write the datasheet atomically."""
    write_text(out, description.to_datasheet())


def _count_by_class(items: Iterable[Item]) -> dict[str, dict[str, dict[str, int]]]:
    by_class: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_class[item.class_name or _UNKNOWN].append(item)
    return {name: count_items(members) for name, members in sorted(by_class.items())}


def _measure_lengths(items: Sequence[Item], inspections: Sequence[Inspection]) -> dict[str, Distribution]:
    lengths: defaultdict[Medium, list[float]] = defaultdict(list)
    for item, inspection in zip(items, inspections, strict=True):
        length = inspection.word_count if item.medium is Medium.TEXT else inspection.duration_seconds
        if length is not None:
            lengths[item.medium].append(float(length))
    return {medium.value: _summarize(lengths[medium]) for medium in MEDIA if lengths[medium]}


def _summarize(values: Sequence[float]) -> Distribution:
    quarters = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return Distribution(len(values), sum(values), min(values), quarters[0], median(values), quarters[2], max(values))


def _count_sources(items: Sequence[Item]) -> dict[str, int]:
    """Count items by the beginning of their source, short enough to leave at most 40 sources."""
    parts = [(item.source or _UNKNOWN).partition("://")[2] or item.source or _UNKNOWN for item in items]
    for depth in (3, 2, 1):
        counts = _count_names("/".join(part.partition("@")[0].split("/")[:depth]) for part in parts)
        if len(counts) <= _MAX_SOURCES:
            break
    return counts


def _count_names(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def _shorten(counts: Mapping[str, int]) -> str:
    shown = [f"{name} ({count:,})" for name, count in list(counts.items())[:_SHOWN]]
    return "; ".join(shown) + (f"; and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else "")


def _align_columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _format_markdown(rows: Sequence[tuple[str, ...]]) -> str:
    cleaned = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cleaned]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
