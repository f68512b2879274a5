"""The synthetic aviary on disk: files of four media, their manifest and their taxonomy."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import soundfile
from av.video.stream import VideoStream
from numpy.random import Generator

from fieldmark.data.manifest import write_manifest
from fieldmark.data.taxonomy import Taxonomy, write_taxonomy
from fieldmark.datasets.aviary.figure import Bird
from fieldmark.datasets.aviary.scene import FRAMES_PER_SECOND, Frames, draw_bird, draw_clip, raise_bird
from fieldmark.datasets.aviary.song import RATE_HZ, sing
from fieldmark.datasets.aviary.species import Species, invent_species
from fieldmark.datasets.aviary.wording import describe
from fieldmark.errors import ManifestError, OutOfRangeError
from fieldmark.types import MEDIA, Item, Medium, Reporter, Split

PHOTO_PIXELS, FRAME_PIXELS = 176, 128
TRAIN_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class _Origin:
    """One photo, page, clip or recording: what its items share.

    Args:
        first: The number of its first item within class and medium.
        sex: Of the bird that is seen; empty where none is.
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

    def file(self, suffix: str, *, place: int = 0) -> Path:
        """Where the file of its item at a place goes."""
        return self.folder / self.medium / self.species.class_name / f"{self.first + place:04d}{suffix}"

    def item(
        self,
        place: int = 0,
        *,
        path: Path | None = None,
        text: str | None = None,
        span: Sequence[float | None] = (None, None),
    ) -> Item:
        """Its item at a place."""
        stem = f"{self.species.class_name}-{self.medium}"
        return Item(
            item_id=f"{stem}-{self.first + place:04d}",
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
    """The first number, the size (one or, where shared, also two) and the split of each group."""
    sizes: list[int] = []
    while (left := item_count - sum(sizes)) > 0:
        # Both splits need a group, so two items never make one.
        sizes.append(min(left, int(rng.integers(1, 3))) if is_shared and item_count > 2 else 1)
    train_count = min(max(round(TRAIN_SHARE * len(sizes)), 1), len(sizes) - 1)
    is_train = rng.permutation(len(sizes)) < train_count
    firsts = np.cumsum([0, *sizes[:-1]]).tolist()
    return [
        (first, size, Split.TRAIN if train else Split.TEST)
        for first, size, train in zip(firsts, sizes, is_train, strict=True)
    ]


def _meet(origin: _Origin, rng: Generator) -> tuple[Bird, _Origin]:
    """An individual, and the origin that knows its sex."""
    is_female = bool(rng.random() < 0.5)
    bird = raise_bird(origin.species.plumage, is_female=is_female, difficulty=origin.difficulty, rng=rng)
    return bird, replace(origin, sex="female" if is_female else "male")


def _photograph(origin: _Origin, rng: Generator) -> list[Item]:
    path = origin.file(".jpg")
    bird, origin = _meet(origin, rng)
    photo = draw_bird(bird, side_pixels=PHOTO_PIXELS, difficulty=origin.difficulty, rng=rng)
    photo.save(path, quality=int(rng.integers(80, 96)))
    return [origin.item(path=path)]


def _write_page(origin: _Origin, rng: Generator) -> list[Item]:
    """Texts of one page; a quarter of the pages stand in the manifest itself."""
    is_inline, items = rng.random() < 0.25, []
    for place in range(origin.item_count):
        text, path = describe(origin.species, difficulty=origin.difficulty, rng=rng), origin.file(".txt", place=place)
        if not is_inline:
            path.write_text(text + "\n", encoding="utf-8")
        items.append(origin.item(place, text=text) if is_inline else origin.item(place, path=path))
    return items


def _film(origin: _Origin, rng: Generator) -> list[Item]:
    path = origin.file(".mp4")
    bird, origin = _meet(origin, rng)
    write_clip(draw_clip(bird, side_pixels=FRAME_PIXELS, difficulty=origin.difficulty, rng=rng), path)
    return [origin.item(path=path)]


def _record(origin: _Origin, rng: Generator) -> list[Item]:
    """One file; where it holds two bouts, each item is a stretch of it."""
    path = origin.file(str(rng.choice([".ogg", ".flac"])))
    bouts = sing(origin.species.song, bout_count=origin.item_count, difficulty=origin.difficulty, rng=rng)
    soundfile.write(path, np.concatenate(bouts), RATE_HZ)
    if len(bouts) == 1:
        return [origin.item(path=path)]
    ends = np.cumsum([bout.size / RATE_HZ for bout in bouts]).round(3).tolist()
    spans = zip([0.0, *ends], ends, strict=False)
    return [origin.item(place, path=path, span=span) for place, span in enumerate(spans)]


_MAKERS: dict[Medium, Callable[[_Origin, Generator], list[Item]]] = {
    Medium.IMAGE: _photograph,
    Medium.TEXT: _write_page,
    Medium.VIDEO: _film,
    Medium.AUDIO: _record,
}


def write_clip(frames: Frames, path: Path) -> None:
    """Writes an MP4: H.264 where the installed FFmpeg has its encoder, else MPEG-4."""
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


def synthesize(  # noqa: PLR0913 - each is a knob of the set that users turn by itself
    folder: Path | str,
    *,
    class_count: int,
    items_per_medium: int,
    seed: int,
    difficulty: float = 0.5,
    workers: int = 1,
    report: Reporter | None = None,
) -> Path:
    """Writes a four-media set of invented birds and gives the path of its manifest.

    Every photo, page, clip and recording is a group, and no group straddles the splits; a page gives one text or two, a
    recording one item or two. The extra columns `field_marks` and `sex` tell the true marks; `taxonomy.csv` beside the
    manifest tells genera, families and orders. The same arguments, `workers` aside, give the same manifest, and the
    same pixels, samples and words before encoding.

    Args:
        class_count: Number of species, 2 to `LARGEST_CLASS_COUNT`.
        items_per_medium: Items of each species in each medium, over both splits; at least 2.
        difficulty: 0 to 1; how far individuals, light, sound and wording stray.
        workers: Processes that draw and sing. More than 1 are spawned, so the calling script must not do its work on
            import.

    Raises:
        OutOfRangeError: A number lies outside its range.
        ManifestError: The folder holds a manifest already.

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
    flock, manifest = invent_species(class_count, seed=seed), folder / "manifest.csv"
    if manifest.exists():
        raise ManifestError(
            f"There is a manifest at '{manifest}' already. Choose another folder, or delete it first.",
            kind="manifest_exists",
        )
    make = partial(_make_class, folder, items_per_medium=items_per_medium, seed=seed, difficulty=difficulty)
    items: list[Item] = []
    for species, made in zip(flock, _each(make, list(enumerate(flock)), workers=workers), strict=True):
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
    """The items of one species in all media; `numbered` has its label first."""
    label, species = numbered
    items: list[Item] = []
    for code, medium in enumerate(MEDIA):
        (folder / medium / species.class_name).mkdir(parents=True, exist_ok=True)
        planner = np.random.default_rng([seed, 1, label, code])
        for first, size, split in _plan(items_per_medium, planner, is_shared=medium in {Medium.TEXT, Medium.AUDIO}):
            origin = _Origin(folder, species, medium, split, first, size, seed, difficulty)
            items += _MAKERS[medium](origin, np.random.default_rng([seed, 2, label, code, first]))
    return items


def _each(
    make: Callable[[tuple[int, Species]], list[Item]], flock: Sequence[tuple[int, Species]], *, workers: int
) -> Iterator[list[Item]]:
    """What is made of each species, in order."""
    if workers == 1:
        yield from map(make, flock)
        return
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(make, flock)
