"""The findings of a check as one page that needs nothing else: thumbnails, spectrograms and players are within."""

import html
import io
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from fieldmark.datasets.check import CheckReport
from fieldmark.datasets.checks.problems import Problem, ProblemKind
from fieldmark.datasets.counts import list_splits
from fieldmark.errors import FieldmarkError
from fieldmark.io import replacing
from fieldmark.media.loaders import load_segments
from fieldmark.media.pictures import data_uri
from fieldmark.reports.contact_sheet import draw_item
from fieldmark.types import AudioContent, Decoding, Item, MediaLimits, Medium, TextContent

SHOWN_FINDINGS, SHOWN_ITEMS = 20, 4
"""Of each kind and medium so many are shown, and of each so many items; the others are listed in words."""
_MOST_MEDIA_BYTES = 40 * 2**20
_MOST_VIDEO_BYTES = 2**20
_SHOWN_CHARACTERS = 600
_HEARD_SECONDS, _RATE_HZ = 10.0, 22_050
_PLAYED = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".mov": "video/mp4"}

_MEANINGS: Mapping[ProblemKind, str] = {
    ProblemKind.BAD_ROW: "rows of the manifest that are not valid",
    ProblemKind.MISSING_FILE: "files that are not there",
    ProblemKind.UNREADABLE: "files that cannot be decoded, or not to their end",
    ProblemKind.EMPTY: "files with nothing in them",
    ProblemKind.MEDIUM_MISMATCH: "files that hold something else than their row or name says",
    ProblemKind.TOO_LONG: "files beyond a limit",
    ProblemKind.GROUP_STRADDLES_SPLITS: "items of one group in several splits",
    ProblemKind.DUPLICATE_ACROSS_SPLITS: "the same content in several splits",
    ProblemKind.NEAR_DUPLICATE_ACROSS_SPLITS: "nearly the same content in several splits",
    ProblemKind.DUPLICATE: "the same content more than once",
    ProblemKind.NEAR_DUPLICATE: "nearly the same content more than once",
    ProblemKind.SILENT: "sounds without sound",
    ProblemKind.TOO_SHORT: "sounds and videos that are over at once",
    ProblemKind.CLASS_WITHOUT_MEDIUM: "classes that lack a medium others have",
}

_STYLE = """
:root { color-scheme: light dark; --ink: #22302b; --paper: #fbfaf7; --faint: #5f6c66; --line: #d9d6cc; --card: #fff }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ebe6; --paper: #161b19; --faint: #a3b0aa; --line: #38423e; --card: #1e2523 }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 64rem; padding: 0 1rem }
a { color: inherit } ul { padding-left: 1.2rem } h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; display: inline }
table { border-collapse: collapse } td, th { padding: .2rem .9rem .2rem 0; text-align: left }
summary { cursor: pointer; padding: .4rem 0 } details { border-top: 1px solid var(--line) }
.badge { font-size: .8rem; padding: .1rem .5rem; border-radius: 1rem; border: 1px solid currentColor;
  display: inline-block }
.error { color: #b3261e } .warning { color: #8a5a00 } .note { color: var(--faint) }
@media (prefers-color-scheme: dark) { .error { color: #ff8a80 } .warning { color: #f2c063 } }
.findings { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 29rem), 1fr)); gap: .6rem;
  margin: .6rem 0 }
.finding { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .6rem .9rem;
  overflow-wrap: anywhere; min-width: 0 }
.items { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .8rem; margin-top: .5rem }
figure { margin: 0; min-width: 0; max-width: 14rem } figcaption { font-size: .8rem; color: var(--faint) }
img, video { width: 100%; aspect-ratio: 1; object-fit: contain; display: block }
audio { width: 100%; margin-top: .3rem }
blockquote { margin: 0 0 .3rem; padding-left: .6rem; border-left: 3px solid var(--line) }
"""


def write_page(report: CheckReport, out: Path, *, title: str) -> None:
    """Writes the page; it appears whole or not at all, and opens without a network.

    Args:
        title: What was checked.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as file:
        for part in _page(report, title):
            file.write(part.encode())


def _page(report: CheckReport, title: str) -> Iterator[str]:
    name = html.escape(title)
    yield f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Check of {name}</title>\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<style>{_STYLE}</style></head>\n<body><main><h1>Check of {name}</h1>\n"
    yield f"<p>{report.item_count:,} items. {html.escape(report.to_text().splitlines()[-1])}.</p>\n"
    splits = list_splits(report.counts)
    yield "<table><tr><th>medium</th>" + "".join(f"<th>{split}</th>" for split in splits) + "</tr>\n"
    for medium, counts in report.counts.items():
        yield f"<tr><td>{medium}</td>" + "".join(f"<td>{counts.get(split, 0):,}</td>" for split in splits) + "</tr>\n"
    yield "</table>\n"
    item_by_id = {item.item_id: item for item in report.items}
    counts_by_kind = Counter(problem.kind for problem in report.problems)
    found = [kind for kind in ProblemKind if counts_by_kind[kind]]
    yield "<ul>" + "".join(
        f'<li><a href="#{kind}">{counts_by_kind[kind]:,} {_MEANINGS[kind]}</a></li>' for kind in found
    )
    yield "</ul>\n"
    budget = _Budget(_MOST_MEDIA_BYTES)
    for kind in found:
        problems = [problem for problem in report.problems if problem.kind is kind]
        yield from _section(kind, problems, item_by_id, budget)
    yield "</main></body></html>\n"


class _Budget:
    """How many bytes of media the page may still take in."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, content: str) -> str:
        """The content where there is room for it, else nothing."""
        if len(content) > self._left:
            return ""
        self._left -= len(content)
        return content


def _section(
    kind: ProblemKind, problems: Sequence[Problem], item_by_id: Mapping[str, Item], budget: _Budget
) -> Iterator[str]:
    severity = problems[0].severity
    yield f'<details open id="{kind}"><summary><h2>{len(problems):,} {_MEANINGS[kind]}</h2> '
    yield f'<span class="badge {severity}">{severity}: {kind}</span></summary>\n'
    yield '<div class="findings">\n'
    counts: Counter[Medium | None] = Counter()
    for problem in problems:
        yield f'<div class="finding">{html.escape(problem.detail)}\n'
        medium = next((item_by_id[each].medium for each in problem.item_ids if each in item_by_id), None)
        counts[medium] += 1
        if counts[medium] <= SHOWN_FINDINGS and problem.item_ids:
            shown = _most_telling([item_by_id[each] for each in problem.item_ids if each in item_by_id])
            yield '<div class="items">' + "".join(_figure(item, budget) for item in shown) + "</div>\n"
            left_out = len(problem.item_ids) - len(shown)
            yield f"<p>and {left_out:,} more</p>\n" if left_out else ""
        elif problem.item_ids:
            yield f'<p class="note">{html.escape(", ".join(problem.item_ids[:20]))}</p>\n'
        yield "</div>\n"
    yield "</div></details>\n"


def _most_telling(items: Sequence[Item]) -> list[Item]:
    """Some of the items of a finding, of each split as many as of the others."""
    places: Counter[str | None] = Counter()
    ranks = []
    for item in items:
        ranks.append(places[item.split])
        places[item.split] += 1
    chosen = sorted(range(len(items)), key=lambda place: (ranks[place], place))[:SHOWN_ITEMS]
    return [items[place] for place in sorted(chosen)]


def _figure(item: Item, budget: _Budget) -> str:
    """An item to be seen or heard, as far as it can be decoded, and what the manifest says of it."""
    facts = [item.item_id, item.class_name, item.split, item.group and f"group {item.group}"]
    caption = "<br>".join(re.sub("(?<=[/_])", "<wbr>", html.escape(str(fact))) for fact in facts if fact)
    try:
        content = "".join(budget.take(part) for part in _media(item))
    except (FieldmarkError, OSError):
        content = ""
    return f"<figure>{content}<figcaption>{caption}</figcaption></figure>"


def _media(item: Item) -> Iterable[str]:
    alt = html.escape(f"{item.medium} of {item.class_name or 'no class'}")
    film = _PLAYED.get(item.path.suffix.lower()) if item.medium is Medium.VIDEO and item.path else None
    if film and item.path and item.path.stat().st_size <= _MOST_VIDEO_BYTES:
        next(load_segments(item, decoding=Decoding(), limits=MediaLimits()))  # no player for what does not play
        yield f'<video controls preload="metadata" src="{data_uri(film, item.path.read_bytes())}"></video>'
        return
    if item.medium is Medium.TEXT:
        [segment] = load_segments(item, decoding=Decoding(), limits=MediaLimits())
        assert isinstance(segment.content, TextContent)  # noqa: S101 - what a text is loaded as
        words = textwrap.shorten(segment.content.text, _SHOWN_CHARACTERS, placeholder=" ...")
        yield f"<blockquote>{html.escape(words)}</blockquote>"
        return
    picture = io.BytesIO()
    draw_item(item).save(picture, format="JPEG", quality=80)
    yield f'<img alt="{alt}" src="{data_uri("image/jpeg", picture.getvalue())}">'
    if item.medium is Medium.AUDIO and item.form is None:
        yield f'<audio controls preload="none" src="{data_uri("audio/ogg", _heard(item))}"></audio>'


def _heard(item: Item) -> bytes:
    """The first seconds of a sound, in a format that browsers play."""
    decoding = Decoding(sample_rate_hz=_RATE_HZ, segment_seconds=_HEARD_SECONDS)
    segment = next(load_segments(item, decoding=decoding, limits=MediaLimits()))
    assert isinstance(segment.content, AudioContent)  # noqa: S101 - what sound is loaded as
    content = io.BytesIO()
    soundfile.write(content, np.asarray(segment.content.waveform), _RATE_HZ, format="OGG")
    return content.getvalue()
