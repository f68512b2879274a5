"""A clip's own sound beside its pictures, when the clip asks: what it adds, and what a wrong sound costs.

    fieldmark index ../shared/data/fgbirds/manifest_core.csv --gallery GALLERY --checkpoint RUN
    python benchmarks/clip_sound.py GALLERY ../shared/data/fgbirds/manifest_core.csv

Test clips ask for photos and recordings, each without sound, with a test recording of its own species, with one of
another species, and with noise. Their pictures are as they are, or so blurred that they say little. The recording is
not in the gallery that is asked. The figures: hits of the clip's species among the first ten of each medium, and how
often the sound was counted, or was told and not counted.
"""

import argparse
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageFilter

import fieldmark
from fieldmark import Gallery, Item, Medium, Split
from fieldmark.gallery.store import Filter

K, RATE, SECONDS = 10, 48_000, 12
WANTED = (Medium.IMAGE, Medium.AUDIO)
SOUNDS = ("none", "its own species", "another species", "noise")


def main() -> None:
    """Ask with every clip in every way, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gallery", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    gallery, generator = Gallery.open(arguments.gallery), np.random.default_rng(arguments.seed)
    items = [item for item in fieldmark.read_manifest(arguments.manifest) if item.split is Split.TEST]
    by_class = defaultdict(list)
    for item in items:
        if item.medium is Medium.AUDIO:
            by_class[item.class_name].append(item)
    clips = [item for item in items if item.medium is Medium.VIDEO and by_class[item.class_name]]
    clips = [clips[index] for index in generator.permutation(len(clips))[: arguments.clips]]
    print("| pictures | sound | photos | recordings | counted | told only | clips |\n|---|---|---|---|---|---|---|")
    for radius in (0, 12):
        for kind in SOUNDS:
            found, notes = [], Counter()
            for clip in clips:
                sound = choose_sound(kind, clip, by_class, generator=generator)
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "clip.mp4"
                    write_clip(path, read_frames(clip, radius=radius), sound, generator=generator)
                    result = gallery.search(
                        path, k=K, per_medium=True, media=WANTED, where=Filter(exclude_item_ids=leave_out(clip, sound))
                    )
                found.append([count_right(result.hits, medium, clip) for medium in WANTED])
                notes.update("counted" if "counted" in note else "told" for note in result.notes)
            photos, recordings = np.mean(found, axis=0) / K
            pictures = "blurred" if radius else "as they are"
            counts = f"{notes['counted']} | {notes['told']} | {len(clips)}"
            print(f"| {pictures} | {kind} | {photos:.3f} | {recordings:.3f} | {counts} |", flush=True)


def choose_sound(
    kind: str, clip: Item, by_class: dict[str | None, list[Item]], *, generator: np.random.Generator
) -> Item | str | None:
    """Return a recording, "noise", or None for no sound."""
    if kind in {"none", "noise"}:
        return None if kind == "none" else kind
    others = sorted(name for name in by_class if name != clip.class_name)
    chosen = clip.class_name if kind == "its own species" else others[int(generator.integers(len(others)))]
    return by_class[chosen][int(generator.integers(len(by_class[chosen])))]


def leave_out(clip: Item, sound: Item | str | None) -> frozenset[str]:
    """Return the ids that may be no hits."""
    return frozenset({clip.item_id} if not isinstance(sound, Item) else {clip.item_id, sound.item_id})


def count_right(hits: Sequence[fieldmark.Hit], medium: Medium, clip: Item) -> int:
    """Return the number of hits of a medium that are of the clip's class."""
    return sum(hit.medium is medium and hit.class_name == clip.class_name for hit in hits)


def read_frames(clip: Item, *, radius: int) -> list[Image.Image]:
    """Return the pictures of a clip, blurred by some pixels."""
    with av.open(str(clip.path)) as container:
        pictures = [frame.to_image() for frame in container.decode(video=0)]
    return [each.filter(ImageFilter.GaussianBlur(radius)) if radius else each for each in pictures]


def write_clip(
    path: Path, pictures: Sequence[Image.Image], sound: Item | str | None, *, generator: np.random.Generator
) -> None:
    """Write an MP4 of some pictures, as long as the first seconds of the sound, or of two seconds."""
    seconds = 2 if sound is None else SECONDS
    wave = np.zeros(0, dtype=np.float32)
    if isinstance(sound, Item):
        wave = np.concatenate(list(read_sound(sound)))[: RATE * SECONDS]
        seconds = max(1, round(len(wave) / RATE))
    elif sound is not None:
        wave = 0.1 * generator.normal(size=RATE * SECONDS).astype(np.float32)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height = (each // 2 * 2 for each in pictures[0].size)
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono") if len(wave) else None
        shown = np.linspace(0, len(pictures) - 1, 10 * seconds).astype(int)
        for index in shown.tolist():
            picture = pictures[index].crop((0, 0, video.width, video.height))
            container.mux(video.encode(av.VideoFrame.from_image(picture)))
        container.mux(video.encode())
        if audio is not None:
            for start in range(0, len(wave), 1024):
                frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
                frame.sample_rate, frame.pts = RATE, start
                container.mux(audio.encode(frame))
            container.mux(audio.encode())


def read_sound(item: Item) -> Iterator[np.ndarray]:
    """Yield the sound of a recording, mono at 48 kHz."""
    with av.open(str(item.path)) as container:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        for frame in container.decode(audio=0):
            yield from (each.to_ndarray()[0] for each in resampler.resample(frame))


if __name__ == "__main__":
    main()
