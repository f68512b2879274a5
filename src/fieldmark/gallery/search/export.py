"""Hits as files that other programs read: CSV, Raven selections, Audacity labels, Darwin Core occurrences."""

import csv
import io
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import assert_never

from fieldmark.gallery.search.result import RankedHit
from fieldmark.types import Item, Medium

HIGHEST_HZ = 15_000.0
"""Raven wants a box; a search knows no band, so the box spans 0 Hz to this, the band that BirdNET hears."""
UNKNOWN = "unknown"
"""The label of a moment without a class: readers of selections and of labels refuse an empty one."""


class ExportFormat(StrEnum):
    """What a list of hits can be written as."""

    CSV = "csv"
    RAVEN = "raven"
    AUDACITY = "audacity"
    DARWIN_CORE = "dwc"


def export_marks(found: Sequence[RankedHit | Item], *, format: ExportFormat) -> str:  # noqa: A002 - the faces' word
    """The text of a file with these hits or items, in their order.

    Raven and Audacity mark moments of sounds and of videos: what has no moment is left out.
    """
    match format:
        case ExportFormat.CSV:
            return _csv(found)
        case ExportFormat.RAVEN:
            return _raven(found)
        case ExportFormat.AUDACITY:
            return _audacity(found)
        case ExportFormat.DARWIN_CORE:
            return _darwin_core(found)
        case _:
            assert_never(format)


CSV_COLUMNS = (
    *("rank", "score", "probability", "item_id", "medium", "class_name", "set_name", "group", "path"),
    *("start_seconds", "end_seconds", "text", "source", "license", "margin", "look_alike"),
)


def _csv(found: Iterable[RankedHit | Item]) -> str:
    """The columns of a hit's JSON; an item has those that it knows."""
    return _table(CSV_COLUMNS, ([getattr(each, name, None) for name in CSV_COLUMNS] for each in found), separator=",")


def _raven(found: Iterable[RankedHit | Item]) -> str:
    """A selection table of Raven Pro: one selection for each moment, times within its own file."""
    names = ("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)")
    more = ("Begin Path", "File Offset (s)", "Species", "Score")
    rows: list[tuple[object, ...]] = []
    for each in _moments(found):
        start, end = f"{each.start_seconds:.6f}", f"{each.end_seconds:.6f}"
        score = f"{each.score:.4f}" if isinstance(each, RankedHit) else ""
        box = (len(rows) + 1, "Spectrogram 1", 1, start, end, 0.0, HIGHEST_HZ)
        rows.append((*box, each.path or "", start, each.class_name or UNKNOWN, score))
    return _table((*names, *more), rows, separator="\t")


def _audacity(found: Iterable[RankedHit | Item]) -> str:
    """A label file of Audacity: start, end, label, without a header; the label names the file."""
    lines = []
    for each in _moments(found):
        label = _tab_cell(f"{each.class_name or UNKNOWN} [{Path(each.path or each.item_id).name}]")
        lines.append(f"{each.start_seconds:.6f}\t{each.end_seconds:.6f}\t{label}\n")
    return "".join(lines)


def _darwin_core(found: Iterable[RankedHit | Item]) -> str:
    """Occurrences in Darwin Core terms; where and when each was, the gallery does not know.

    A text is an observation that a person wrote down; all other media are machine observations. An item is one
    occurrence, however many of its moments were found: an id stands in one row, that of the first hit. Every row is
    one line, since many readers go line by line.
    """
    names = (
        *("occurrenceID", "basisOfRecord", "occurrenceStatus", "vernacularName", "associatedMedia", "datasetName"),
        *("license", "references", "identificationRemarks", "occurrenceRemarks"),
    )
    rows: dict[str, list[str]] = {}
    for each in found:
        basis = "HumanObservation" if each.medium is Medium.TEXT else "MachineObservation"
        name = (each.class_name or "").replace("_", " ")
        data_set = each.set_name if isinstance(each, RankedHit) else None
        likely = each.probability if isinstance(each, RankedHit) else None
        remarks = "" if likely is None else f"fieldmark: {likely:.3f} likely of the query's class"
        row = (each.item_id, basis, "present", name, each.path, data_set, each.license, each.source, remarks, each.text)
        rows.setdefault(each.item_id, ["" if value is None else _one_line(str(value)) for value in row])
    return _table(names, rows.values(), separator=",")


def _moments(found: Iterable[RankedHit | Item]) -> Iterable[RankedHit | Item]:
    timed = (Medium.AUDIO, Medium.VIDEO)
    return (e for e in found if e.medium in timed and e.start_seconds is not None and e.end_seconds is not None)


def _table(names: Sequence[str], rows: Iterable[Sequence[object]], *, separator: str) -> str:
    text = io.StringIO()
    if separator == ",":
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(["" if value is None else value for value in row] for row in rows)
    else:
        for row in (names, *rows):
            text.write(separator.join(_tab_cell(str(value)) for value in row) + "\n")
    return text.getvalue()


def _tab_cell(text: str) -> str:
    """A cell that reads the same whether a program knows quotes or not: none begins with one."""
    line = _one_line(text)
    return line.replace('"', "'") if line.startswith('"') else line


def _one_line(text: str) -> str:
    return " ".join(text.split())
