"""`fieldmark data synthesize`: write a synthetic data set of four media, its manifest and its taxonomy."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import soundfile
from av.video.stream import VideoStream
from numpy.random import Generator

from fieldmark.data.manifest import write_manifest
from fieldmark.data.taxonomy import Taxonomy, write_taxonomy
from fieldmark.datasets.aviary.figure import Bird
from fieldmark.datasets.aviary.scene import FRAMES_PER_SECOND, Frames, create_individual, draw_bird, draw_clip
from fieldmark.datasets.aviary.song import RATE_HZ, synthesize_song
from fieldmark.datasets.aviary.species import Species, draw_species, write_description
from fieldmark.errors import ManifestError, OutOfRangeError
from fieldmark.runtime import start_processes
from fieldmark.types import MEDIA, Item, Medium, Reporter, Split

PHOTO_PIXELS, FRAME_PIXELS = 176, 128
_TRAIN_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class _Origin:
    """One photo, page, clip or recording, the origin of one or two items.

    Args:
        first: The number of the first item within class and medium.
        sex: Of the bird shown; empty if none is.
    """

    folder: Path
    species: Species
    medium: Medium
    split: Split
    first: int
    item_count: int
    seed: int
    difficulty: float
    sex: str = ""

    def make_path(self, suffix: str, *, index: int = 0) -> Path:
        """Return the path for the file of an item."""
        return self.folder / self.medium / self.species.class_name / f"{self.first + index:04d}{suffix}"

    def make_item(
        self,
        index: int = 0,
        *,
        path: Path | None = None,
        text: str | None = None,
        span: Sequence[float | None] = (None, None),
    ) -> Item:
        """Return an item of this origin."""
        stem = f"{self.species.class_name}-{self.medium}"
        return Item(
            item_id=f"{stem}-{self.first + index:04d}",
            medium=self.medium,
            path=path,
            text=text,
            class_name=self.species.class_name,
            split=self.split,
            group=f"{stem}-{self.first:04d}",
            start_seconds=span[0],
            end_seconds=span[1],
            source=f"synthetic aviary, seed {self.seed}, difficulty {self.difficulty:g}",
            license="CC0-1.0",
            extra=(
                ("field_marks", "; ".join(f"{mark}={value}" for mark, value in self.species.field_marks.items())),
                ("sex", self.sex),
            ),
        )


def _plan(item_count: int, rng: Generator, *, is_shared: bool) -> list[tuple[int, int, Split]]:
    """Return the first number, the size (two at most, one unless shared) and the split of each group."""
    sizes: list[int] = []
    while (left := item_count - sum(sizes)) > 0:
        # Both splits need a group, so two items never make one.
        sizes.append(min(left, int(rng.integers(1, 3))) if is_shared and item_count > 2 else 1)
    train_count = min(max(round(_TRAIN_SHARE * len(sizes)), 1), len(sizes) - 1)
    is_train = rng.permutation(len(sizes)) < train_count
    firsts = np.cumsum([0, *sizes[:-1]]).tolist()
    return [
        (first, size, Split.TRAIN if train else Split.TEST)
        for first, size, train in zip(firsts, sizes, is_train, strict=True)
    ]


def _create_individual(origin: _Origin, rng: Generator) -> tuple[Bird, _Origin]:
    """Create an individual and record its sex in the origin."""
    is_female = bool(rng.random() < 0.5)
    bird = create_individual(origin.species.plumage, is_female=is_female, difficulty=origin.difficulty, rng=rng)
    return bird, replace(origin, sex="female" if is_female else "male")


def _photograph(origin: _Origin, rng: Generator) -> list[Item]:
    path = origin.make_path(".jpg")
    bird, origin = _create_individual(origin, rng)
    photo = draw_bird(bird, side_pixels=PHOTO_PIXELS, difficulty=origin.difficulty, rng=rng)
    photo.save(path, quality=int(rng.integers(80, 96)))
    return [origin.make_item(path=path)]


def _write_page(origin: _Origin, rng: Generator) -> list[Item]:
    """Write the texts of one page; a quarter of the pages are stored in the manifest itself."""
    is_inline, items = rng.random() < 0.25, []
    for index in range(origin.item_count):
        text, path = (
            write_description(origin.species, difficulty=origin.difficulty, rng=rng),
            origin.make_path(".txt", index=index),
        )
        if not is_inline:
            path.write_text(text + "\n", encoding="utf-8")
        items.append(origin.make_item(index, text=text) if is_inline else origin.make_item(index, path=path))
    return items


def _film(origin: _Origin, rng: Generator) -> list[Item]:
    path = origin.make_path(".mp4")
    bird, origin = _create_individual(origin, rng)
    write_clip(draw_clip(bird, side_pixels=FRAME_PIXELS, difficulty=origin.difficulty, rng=rng), path)
    return [origin.make_item(path=path)]


def _record(origin: _Origin, rng: Generator) -> list[Item]:
    """Write one recording; if it contains two bouts, each item is a part of it."""
    path = origin.make_path(str(rng.choice([".ogg", ".flac"])))
    bouts = synthesize_song(origin.species.song, bout_count=origin.item_count, difficulty=origin.difficulty, rng=rng)
    soundfile.write(path, np.concatenate(bouts), RATE_HZ)
    if len(bouts) == 1:
        return [origin.make_item(path=path)]
    ends = np.cumsum([bout.size / RATE_HZ for bout in bouts]).round(3).tolist()
    spans = zip([0.0, *ends], ends, strict=False)
    return [origin.make_item(index, path=path, span=span) for index, span in enumerate(spans)]


_MAKERS: dict[Medium, Callable[[_Origin, Generator], list[Item]]] = {
    Medium.IMAGE: _photograph,
    Medium.TEXT: _write_page,
    Medium.VIDEO: _film,
    Medium.AUDIO: _record,
}


def write_clip(frames: Frames, path: Path) -> None:
    """Write an MP4: H.264 if the installed FFmpeg has an encoder for it, else MPEG-4."""
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(FRAMES_PER_SECOND))
        assert isinstance(stream, VideoStream)  # noqa: S101  for the type checker: both codecs are of video
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        stream.options = {"preset": "veryfast", "crf": "21"} if codec == "libx264" else {"qscale": "4"}
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def synthesize(  # noqa: PLR0913 - users set each of them independently
    folder: Path | str,
    *,
    class_count: int,
    items_per_medium: int,
    seed: int,
    difficulty: float = 0.5,
    workers: int = 1,
    report: Reporter | None = None,
) -> Path:
    """Write a data set of invented birds in four media and return the path of its manifest.

    Every photo, page, clip and recording is a group, and each group is in one split; a page has one or two texts, a
    recording one or two items. The extra columns `field_marks` and `sex` give the true marks; `taxonomy.csv` beside the
    manifest gives genera, families and orders. The same arguments, apart from `workers`, give the same manifest, and
    the same pixels, samples and words before encoding.

    Args:
        class_count: Number of species, 2 to `LARGEST_CLASS_COUNT`.
        items_per_medium: Items of each species in each medium, over both splits; at least 2.
        difficulty: 0 to 1; how much individuals, light, sound and wording vary.
        workers: Processes that draw and synthesize. More than 1 are spawned, so the calling script must not do its work
            on import.

    Raises:
        OutOfRangeError: A number is outside its range.
        ManifestError: The folder has a manifest already.

    Example:
        >>> manifest = synthesize("aviary", class_count=20, items_per_medium=30, seed=7)  # doctest: +SKIP
    """
    for name, got, smallest, largest in (
        ("items_per_medium", items_per_medium, 2, 9_999),
        ("seed", seed, 0, 2**63 - 1),
        ("difficulty", difficulty, 0, 1),
    ):
        if not smallest <= got <= largest:
            raise OutOfRangeError(name=name, got=got, smallest=smallest, largest=largest)
    folder = Path(folder)
    flock, manifest = draw_species(class_count, seed=seed), folder / "manifest.csv"
    if manifest.exists():
        raise ManifestError(
            f"There is a manifest at '{manifest}' already. Choose another folder, or delete it first.",
            kind="manifest_exists",
        )
    make = partial(_make_class, folder, items_per_medium=items_per_medium, seed=seed, difficulty=difficulty)
    items: list[Item] = []
    for species, made in zip(flock, _make_each(make, list(enumerate(flock)), workers=workers), strict=True):
        items += made
        if report:
            total = class_count * len(MEDIA) * items_per_medium
            report.step("synthesize", done=len(items), total=total, note=species.class_name)
    write_taxonomy(Taxonomy(tuple(species.taxon for species in flock)), folder / "taxonomy.csv")
    write_manifest(items, manifest)
    return manifest


def _make_class(
    folder: Path, numbered: tuple[int, Species], *, items_per_medium: int, seed: int, difficulty: float
) -> list[Item]:
    """Make the items of one species in all media; `numbered` is its label and the species."""
    label, species = numbered
    items: list[Item] = []
    for code, medium in enumerate(MEDIA):
        (folder / medium / species.class_name).mkdir(parents=True, exist_ok=True)
        planner = np.random.default_rng([seed, 1, label, code])
        for first, size, split in _plan(items_per_medium, planner, is_shared=medium in {Medium.TEXT, Medium.AUDIO}):
            origin = _Origin(folder, species, medium, split, first, size, seed, difficulty)
            items += _MAKERS[medium](origin, np.random.default_rng([seed, 2, label, code, first]))
    return items


def _make_each(
    make: Callable[[tuple[int, Species]], list[Item]], flock: Sequence[tuple[int, Species]], *, workers: int
) -> Iterator[list[Item]]:
    """Yield the items of each species, in order."""
    if workers == 1:
        yield from map(make, flock)
        return
    with start_processes(workers) as pool:
        yield from pool.map(make, flock)
