"""The page of a check's findings: one HTML file that opens without a network, with pictures and players inside."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fieldmark.errors import FieldmarkError
from fieldmark.io import open_replacement
from fieldmark.media.loaders import load_segments
from fieldmark.media.preview import Card, make_card, make_data_uri
from fieldmark.media.signatures import HEAD_BYTES, choose_mime_type
from fieldmark.reports.render import stream_template
from fieldmark.types import Decoding, Item, MediaLimits, Medium

_SHOWN_FINDINGS, _SHOWN_ITEMS = 20, 4  # findings of each kind and medium, and items of each; others are only listed
_TILE_PIXELS = 200
_MAX_MEDIA_CHARACTERS = 40 * 2**20
_MAX_VIDEO_BYTES = 2**20
_PLAYED_EXTENSIONS = {".mp4", ".m4v", ".mov", ".webm"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Args:
        items: The items it concerns, as far as the manifest has them.
    """

    detail: str
    item_ids: tuple[str, ...]
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """The findings of one kind.

    Args:
        meaning: The kind in words, in the plural.
    """

    kind: str
    severity: str
    meaning: str
    findings: tuple[Finding, ...]


def write_findings_page(
    out: Path, *, title: str, summary: str, counts: Mapping[str, Mapping[str, int]], groups: Sequence[FindingGroup]
) -> None:
    """Write the page atomically.

    Args:
        title: The name of what was checked.
        counts: Items by medium and split.
    """
    parts = stream_template(
        "findings_page.html",
        title=title,
        summary=summary,
        splits=list(dict.fromkeys(split for by_split in counts.values() for split in by_split)),
        counts=counts,
        groups=groups,
        select=_select_shown,
        show=_make_shower(),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with open_replacement(out) as file:
        for part in parts:
            file.write(part.encode())


def _select_shown(group: FindingGroup) -> Iterator[tuple[Finding, list[Item]]]:
    """Yield each finding with the items to show: some of the first findings of each medium, none of the others."""
    counts: Counter[Medium | None] = Counter()
    for finding in group.findings:
        medium = finding.items[0].medium if finding.items else None
        counts[medium] += 1
        yield finding, _choose_items(finding.items) if counts[medium] <= _SHOWN_FINDINGS else []


def _choose_items(items: Sequence[Item]) -> list[Item]:
    """Choose some items, evenly from each split, in order."""
    counts: Counter[str | None] = Counter()
    ranks = []
    for item in items:
        ranks.append(counts[item.split])
        counts[item.split] += 1
    chosen = sorted(range(len(items)), key=lambda index: (ranks[index], index))[:_SHOWN_ITEMS]
    return [items[index] for index in sorted(chosen)]


def _make_shower() -> Callable[[Item], Card]:
    """Return a function that makes the card of an item until the page is full, and empty cards after that."""
    left = _MAX_MEDIA_CHARACTERS

    def show(item: Item) -> Card:
        nonlocal left
        try:
            card = replace(_make_card(item), problem=None)  # the finding says it
        except (FieldmarkError, OSError):
            return Card()
        size = sum(len(part) for part in (card.picture, card.sound, card.clip, card.text) if part)
        if size > left:
            return Card()
        left -= size
        return card

    return show


def _make_card(item: Item) -> Card:
    """Return the picture, player or words of an item; a small video that browsers play is taken as it is."""
    is_played = item.medium is Medium.VIDEO and item.path and item.path.suffix.lower() in _PLAYED_EXTENSIONS
    if is_played and item.path and item.path.stat().st_size <= _MAX_VIDEO_BYTES:
        next(load_segments(item, decoding=Decoding(), limits=MediaLimits()))  # no player for what does not decode
        content = item.path.read_bytes()
        return Card(clip=make_data_uri(choose_mime_type(content[:HEAD_BYTES], medium=Medium.VIDEO), content))
    return make_card(item, side_pixels=_TILE_PIXELS, with_player=item.medium is Medium.AUDIO)
