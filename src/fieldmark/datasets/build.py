"""`fieldmark data build`: cut raw media into the items of a benchmark."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from fieldmark.data.manifest import read_manifest, write_manifest
from fieldmark.data.split import count_items, format_counts
from fieldmark.datasets.checks.pictures import compute_picture_row, describe_as_they_lie, stack_picture_rows
from fieldmark.datasets.excerpts import (
    Frame,
    find_active_intervals,
    find_noise_frames,
    split_into_passages,
    take_spaced_frames,
)
from fieldmark.errors import ManifestError, MediaError, OutOfRangeError, check_failure_share
from fieldmark.media.loaders import load_segments
from fieldmark.media.video import WILDCARD
from fieldmark.origin import name_origins
from fieldmark.types import Decoding, Failure, Form, Item, MediaLimits, Medium, Reporter, SilentReporter, TextContent

_FRAME_SIDE_PIXELS = 256
_NOTHING = "nothing_of_interest"


@dataclass(frozen=True, slots=True)
class BuildReport:
    """The result of a build.

    Args:
        left: Raw items that cannot be decoded or hold nothing of interest, with the reason.
        dropped_frame_count: Frames dropped as noise.
    """

    manifest: Path
    source_count: int
    counts: Mapping[str, Mapping[str, int]]
    left: tuple[Failure, ...]
    frame_count: int
    dropped_frame_count: int

    def json_values(self) -> dict[str, object]:
        """Return the values of the JSON object, by key."""
        return {
            "manifest": self.manifest,
            "source_count": self.source_count,
            "counts": self.counts,
            "left": [{"item_id": each.item_id, "kind": each.kind, "detail": each.message} for each in self.left],
            "frame_count": self.frame_count,
            "dropped_frame_count": self.dropped_frame_count,
        }

    def check_failures(self, *, allowed_share: float | None) -> None:
        """Check that enough raw items could be used; what was made of the others is written.

        Raises:
            TooManyFailuresError: More than the share could not.
        """
        reasons = [f"{each.item_id}: {each.message}" for each in self.left if each.kind != _NOTHING]
        check_failure_share(reasons, total=self.source_count, allowed_share=allowed_share)

    def to_text(self) -> str:
        """Return the counts, and what was left out by kind."""
        lines = [f"{self.manifest}, built from {self.source_count:,} raw items"]
        lines += format_counts(self.counts)
        if self.frame_count:
            lines.append(f"{self.frame_count:,} video frames, {self.dropped_frame_count:,} more dropped as noise")
        for kind, count in Counter(each.kind for each in self.left).items():
            example = next(each for each in self.left if each.kind == kind)
            lines.append(f"left out: {kind}, {count:,}, such as {example.item_id}: {example.message}")
        return "\n".join(lines)


def build_items(
    manifest: Path,
    *,
    out: Path,
    longest_seconds: float = 10.0,
    longest_words: int = 80,
    frame_count: int = 25,
    reporter: Reporter | None = None,
) -> BuildReport:
    """Build a folder of items cut from raw media, with a manifest; photos and short items are taken unchanged.

    Long recordings are cut into intervals that hold sound, which stay in their files. Videos become numbered frames
    without noise. Long texts become passages. An excerpt keeps the group of its source, or gets one named after the
    source, and names the source in `derived_from`.

    Args:
        longest_seconds: Longer recordings are cut into intervals of at most this length.
        longest_words: Longer texts are cut into passages of at most this length.
        frame_count: Equally spaced frames taken of each video, before noise is dropped.

    Raises:
        ManifestError: The manifest is not valid, or the folder has one already.
        OutOfRangeError: A number is outside its range.
    """
    for name, got, smallest, largest in (
        ("longest_seconds", longest_seconds, 1, 600),
        ("longest_words", longest_words, 5, 100_000),
        ("frame_count", frame_count, 1, 1_000),
    ):
        if not smallest <= got <= largest:
            raise OutOfRangeError(name=name, got=got, smallest=smallest, largest=largest)
    if (out / "manifest.csv").exists():
        raise ManifestError(
            f"There is a manifest at '{out / 'manifest.csv'}' already. Choose another folder, or delete it first.",
            kind="manifest_exists",
        )
    raw = _group_files(read_manifest(manifest))
    cutter = _Cutter(out, longest_seconds=longest_seconds, longest_words=longest_words, frame_count=frame_count)
    reporter = reporter or SilentReporter()
    items: list[Item] = []
    left: list[Failure] = []
    for done, item in enumerate(raw, start=1):
        try:
            parts = list(cutter.cut(item))
        except MediaError as error:
            left.append(Failure(item.item_id, error.kind, str(error)))
        else:
            items += parts
            if not parts:
                left.append(Failure(item.item_id, _NOTHING, "No sound rises above the noise floor."))
        reporter.step("build", done=done, total=len(raw))
    write_manifest(items, out / "manifest.csv")
    return BuildReport(
        manifest=out / "manifest.csv",
        source_count=len(raw),
        counts=count_items(items),
        left=tuple(left),
        frame_count=cutter.kept,
        dropped_frame_count=cutter.dropped,
    )


def _group_files(items: Sequence[Item]) -> list[Item]:
    """Return items, several of one file in a group named after the first: their excerpts may lie in other files."""
    paths = Counter(item.path for item in items)
    first_by_origin: dict[str, str] = {}
    grouped = []
    for item, origin in zip(items, name_origins(items), strict=True):
        first = first_by_origin.setdefault(origin, item.item_id)
        is_part = item.path is not None and paths[item.path] > 1 and not item.group
        grouped.append(replace(item, group=f"file {first}") if is_part else item)
    return grouped


class _Cutter:
    """Cuts raw items, and counts the frames kept and dropped."""

    def __init__(self, out: Path, *, longest_seconds: float, longest_words: int, frame_count: int) -> None:
        self._out = out
        self._longest_seconds = longest_seconds
        self._longest_words = longest_words
        self._frame_count = frame_count
        self._limits = MediaLimits()
        self.kept = self.dropped = 0

    def cut(self, item: Item) -> Iterator[Item]:
        """Yield the items made from a raw item.

        Raises:
            MediaError: The item cannot be decoded.
        """
        if item.form is not None:
            yield item
        elif item.medium is Medium.AUDIO:
            yield from self._cut_recording(item)
        elif item.medium is Medium.VIDEO:
            yield self._write_frames(item)
        elif item.medium is Medium.TEXT:
            yield from self._cut_text(item)
        else:
            yield item

    def _cut_recording(self, item: Item) -> Iterator[Item]:
        if self._is_short(item):
            yield item
            return
        for part in find_active_intervals(item, limits=self._limits, longest_seconds=self._longest_seconds):
            name = f"{item.item_id}#t={part.start_seconds:g},{part.end_seconds:g}"
            derived = _derived(item, name, "recording")
            yield replace(derived, start_seconds=part.start_seconds, end_seconds=part.end_seconds)

    def _is_short(self, item: Item) -> bool:
        """Tell whether a recording fits in one interval; no more of it is decoded than needed."""
        decoding = Decoding(segment_seconds=self._longest_seconds, hop_seconds=1.0, sample_rate_hz=8_000)
        segments = load_segments(item, decoding=decoding, limits=self._limits)
        return next(segments, None) is not None and next(segments, None) is None

    def _cut_text(self, item: Item) -> Iterator[Item]:
        segments = load_segments(item, decoding=Decoding(), limits=self._limits)
        text = "\n\n".join(each.content.text for each in segments if isinstance(each.content, TextContent))
        parts = list(split_into_passages(text, longest_words=self._longest_words))
        if len(parts) == 1:
            yield item
            return
        for part in parts:
            derived = _derived(item, f"{item.item_id}#char={part.start_character},{part.end_character}", "page")
            offsets = (("start_character", str(part.start_character)), ("end_character", str(part.end_character)))
            yield replace(derived, path=None, text=part.text, extra=(*derived.extra, *offsets))

    def _write_frames(self, item: Item) -> Item:
        frames = list(
            take_spaced_frames(item, count=self._frame_count, side_pixels=_FRAME_SIDE_PIXELS, limits=self._limits)
        )
        is_noise = _are_noise(frames)
        kept = [frame for frame, noise in zip(frames, is_noise.tolist(), strict=True) if not noise]
        self.kept += len(kept)
        self.dropped += len(frames) - len(kept)
        folder = self._out / "frames" / _folder_name(item.item_id)
        folder.mkdir(parents=True, exist_ok=True)
        for number, (frame, noise) in enumerate(zip(frames, is_noise.tolist(), strict=True)):
            if not noise:
                picture = Image.fromarray(frame.pixels.permute(1, 2, 0).numpy())
                picture.save(folder / f"{number:05d}.jpg", quality=92)
        derived = _derived(item, f"{item.item_id}#frames", "video")
        seconds = " ".join(f"{frame.seconds:g}" for frame in kept)
        extra = (*derived.extra, ("form", Form.FRAMES), ("frame_seconds", seconds))
        return replace(derived, path=folder / f"{WILDCARD}.jpg", start_seconds=None, end_seconds=None, extra=extra)


def _derived(item: Item, item_id: str, kind: str) -> Item:
    """Return an excerpt of an item: the same group, and `derived_from` names the item."""
    extra = (*item.extra, ("derived_from", item.item_id))
    return replace(item, item_id=item_id, group=item.group or f"{kind} {item.item_id}", extra=extra)


def _are_noise(frames: list[Frame]) -> Bool[np.ndarray, " frame"]:
    """Mark plain frames, such as black ones between scenes, and those far from what most of the video shows.

    If most frames are plain, as in fog or at night, none is marked.
    """
    rows = [compute_picture_row(frame.pixels) for frame in frames]
    is_noise = np.array([row is None for row in rows])
    if 2 * is_noise.sum() > len(frames):
        return np.zeros(len(frames), dtype=bool)
    shown = describe_as_they_lie(stack_picture_rows([row for row in rows if row is not None]))
    is_noise[~is_noise] = find_noise_frames(shown.astype(np.float64))
    return is_noise


def _folder_name(item_id: str) -> str:
    """Return a safe folder name for an item id; different ids get different names."""
    readable = re.sub(r"[^A-Za-z0-9-]+", "_", item_id)[:60].strip("_")
    return f"{readable}-{hashlib.sha256(item_id.encode()).hexdigest()[:8]}"
