"""The verb `data build`: raw media become the items of a benchmark, each with its group and its place in the source."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from fieldmark.data.manifest import read_manifest, write_manifest
from fieldmark.datasets.checks.findings import count_items, count_lines
from fieldmark.datasets.checks.fingerprint import picture_row
from fieldmark.datasets.excerpts.frames import Frame, spaced_frames, told_apart
from fieldmark.datasets.excerpts.passages import passages
from fieldmark.datasets.excerpts.sound import stretches_of_interest
from fieldmark.errors import ManifestError, MediaError, OutOfRangeError
from fieldmark.media.frames import MARK
from fieldmark.media.loaders import load_segments
from fieldmark.types import Decoding, Failure, Form, Item, MediaLimits, Medium, Reporter, SilentReporter, TextContent

FRAME_SIDE_PIXELS = 256


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What was built, of what, and what came to nothing.

    Args:
        left: Items that could not be used, or hold nothing of interest, with the reason.
        dropped_frame_count: Frames left out as noise.
    """

    manifest: Path
    source_count: int
    counts: Mapping[str, Mapping[str, int]]
    left: tuple[Failure, ...]
    frame_count: int
    dropped_frame_count: int

    def to_json(self) -> dict[str, object]:
        """The plain values that `--json` prints."""
        return {
            "manifest": str(self.manifest),
            "source_count": self.source_count,
            "counts": {medium: dict(splits) for medium, splits in self.counts.items()},
            "left": [{"item_id": each.item_id, "kind": each.kind, "detail": each.message} for each in self.left],
            "frame_count": self.frame_count,
            "dropped_frame_count": self.dropped_frame_count,
        }

    def to_text(self) -> str:
        """The counts, and what was left by kind."""
        lines = [f"{self.source_count:,} raw items became {self.manifest}"]
        lines += count_lines(self.counts)
        if self.frame_count:
            lines.append(f"{self.frame_count:,} frames of videos, {self.dropped_frame_count:,} more left out as noise")
        for kind, count in Counter(each.kind for each in self.left).items():
            example = next(each for each in self.left if each.kind == kind)
            lines.append(f"left: {kind}, {count:,}, such as {example.item_id}: {example.message}")
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
    """Makes a folder with a manifest of items cut from raw media; photos and short items are taken as they are.

    Recordings are cut into stretches of interest, which stay in their files. Videos become numbered pictures, without
    noise frames. Long texts become passages. An item cut from another shares its group, or one made of its id, and
    says in `derived_from` which it was, and where in it the item stands.

    Args:
        longest_seconds: Recordings above this length are cut, and into stretches of at most this.
        longest_words: The same of texts.
        frame_count: Frames taken of a video, equally spaced, before noise is left out.

    Raises:
        ManifestError: The manifest is not valid, or the folder holds one already.
        OutOfRangeError: A number lies outside its range.
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
    raw = read_manifest(manifest)
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
                left.append(Failure(item.item_id, "nothing_of_interest", "Nothing rises above its noise floor."))
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


class _Cutter:
    """Cuts raw items, and counts the frames it keeps and drops."""

    def __init__(self, out: Path, *, longest_seconds: float, longest_words: int, frame_count: int) -> None:
        self._out = out
        self._longest_seconds = longest_seconds
        self._longest_words = longest_words
        self._frame_count = frame_count
        self._limits = MediaLimits()
        self.kept = self.dropped = 0

    def cut(self, item: Item) -> Iterator[Item]:
        """The items made of a raw one.

        Raises:
            MediaError: It cannot be decoded.
        """
        if item.form is not None:
            yield item
        elif item.medium is Medium.AUDIO:
            yield from self._cut_sound(item)
        elif item.medium is Medium.VIDEO:
            yield self._take_frames(item)
        elif item.medium is Medium.TEXT:
            yield from self._cut_text(item)
        else:
            yield item

    def _cut_sound(self, item: Item) -> Iterator[Item]:
        if self._is_short(item):
            yield item
            return
        for part in stretches_of_interest(item, limits=self._limits, longest_seconds=self._longest_seconds):
            name = f"{item.item_id}#t={part.start_seconds:g},{part.end_seconds:g}"
            derived = _derived(item, name, "recording")
            yield replace(derived, start_seconds=part.start_seconds, end_seconds=part.end_seconds)

    def _is_short(self, item: Item) -> bool:
        """Whether a recording need not be cut; only as much of it is decoded as that takes."""
        decoding = Decoding(segment_seconds=self._longest_seconds, hop_seconds=1.0, sample_rate_hz=8_000)
        segments = load_segments(item, decoding=decoding, limits=self._limits)
        return next(segments, None) is not None and next(segments, None) is None

    def _cut_text(self, item: Item) -> Iterator[Item]:
        [segment] = load_segments(item, decoding=Decoding(), limits=self._limits)
        assert isinstance(segment.content, TextContent)  # noqa: S101 - what a text is loaded as
        parts = list(passages(segment.content.text, longest_words=self._longest_words))
        if len(parts) == 1:
            yield item
            return
        for part in parts:
            derived = _derived(item, f"{item.item_id}#char={part.start_character},{part.end_character}", "page")
            place = (("start_character", str(part.start_character)), ("end_character", str(part.end_character)))
            yield replace(derived, path=None, text=part.text, extra=(*derived.extra, *place))

    def _take_frames(self, item: Item) -> Item:
        frames = list(spaced_frames(item, count=self._frame_count, side_pixels=FRAME_SIDE_PIXELS, limits=self._limits))
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
        return replace(derived, path=folder / f"{MARK}.jpg", start_seconds=None, end_seconds=None, extra=extra)


def _derived(item: Item, item_id: str, origin: str) -> Item:
    """An item cut from another, of the same group, that names the other."""
    extra = (*item.extra, ("derived_from", item.item_id))
    return replace(item, item_id=item_id, group=item.group or f"{origin} {item.item_id}", extra=extra)


def _are_noise(frames: list[Frame]) -> Bool[np.ndarray, " frame"]:
    """Plain frames, such as black ones between scenes, and those far from what most of the video shows.

    Where most are plain, as in fog or at night, nothing tells noise from what was filmed, and none is.
    """
    rows = [picture_row(frame.pixels) for frame in frames]
    is_noise = np.array([row is None for row in rows])
    if 2 * is_noise.sum() > len(frames):
        return np.zeros(len(frames), dtype=bool)
    is_noise[~is_noise] = told_apart(np.stack([row for row in rows if row is not None]).astype(np.float64))
    return is_noise


def _folder_name(item_id: str) -> str:
    """A folder for an item, whatever its id holds; two ids never share one."""
    readable = re.sub(r"[^A-Za-z0-9-]+", "_", item_id)[:60].strip("_")
    return f"{readable}-{hashlib.sha256(item_id.encode()).hexdigest()[:8]}"
