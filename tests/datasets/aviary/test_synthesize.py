"""The synthetic aviary: species that can be told apart, files that decode, and the same again from the same seed."""

import csv
from collections import Counter, defaultdict
from dataclasses import astuple
from itertools import combinations
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fieldmark.data.manifest import read_manifest
from fieldmark.data.taxonomy import read_taxonomy
from fieldmark.datasets.aviary.figure import Bird
from fieldmark.datasets.aviary.scene import create_individual, draw_bird, draw_clip
from fieldmark.datasets.aviary.song import RATE_HZ, synthesize_song
from fieldmark.datasets.aviary.species import (
    PLUMAGE_VALUES,
    SONG_VALUES,
    Plumage,
    Song,
    draw_species,
    write_description,
)
from fieldmark.datasets.aviary.synthesize import FRAME_PIXELS, PHOTO_PIXELS, synthesize
from fieldmark.errors import ManifestError, OutOfRangeError
from fieldmark.types import MEDIA, Medium, Split

CLASS_COUNT, ITEMS_PER_MEDIUM = 3, 5


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("aviary")
    return synthesize(str(folder), class_count=CLASS_COUNT, items_per_medium=ITEMS_PER_MEDIUM, seed=7)


@pytest.fixture(scope="module")
def rows(manifest) -> list[dict[str, str]]:
    with manifest.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def differing(first: Plumage | Song, second: Plumage | Song) -> int:
    return sum(one != other for one, other in zip(astuple(first), astuple(second), strict=True))


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


# ---------------------------------------------------------------- species


@given(class_count=st.integers(2, 60), seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_invent_species_are_distinct_and_sisters_differ_in_one_mark_of_each_kind(class_count, seed):
    flock = draw_species(class_count, seed=seed)
    assert len(flock) == class_count
    assert len({species.class_name for species in flock}) == class_count
    assert len({species.song for species in flock}) == class_count
    for first, second in combinations(flock, 2):
        if first.genus == second.genus:
            assert differing(first.plumage, second.plumage) == differing(first.song, second.song) == 1
        else:
            assert differing(first.plumage, second.plumage) >= 3
    assert max(Counter(species.genus for species in flock).values()) <= 3


def test_invent_species_stand_in_a_taxonomy():
    flock = draw_species(400, seed=1)
    for rank, above in (("genus", "family"), ("family", "order")):
        homes = defaultdict(set)
        for species in flock:
            homes[getattr(species, rank)].add(getattr(species, above))
        assert all(len(each) == 1 for each in homes.values())
    for rank, shared in (("order", ("build",)), ("family", ("build", "bill_shape", "tail_length"))):
        marks = defaultdict(set)
        for species in flock:
            marks[getattr(species, rank)].add(tuple(species.field_marks[mark] for mark in shared))
        assert all(len(each) == 1 for each in marks.values())
    assert len({species.order for species in flock}) == 4
    assert len({species.family for species in flock}) == 30
    for names in ("scientific_name", "synonym"):
        assert len({getattr(species, names) for species in flock}) == 400


def test_invent_species_of_few_already_have_several_ranks():
    flock = draw_species(20, seed=0)
    assert len({species.genus for species in flock}) > len({species.family for species in flock}) > 1


def test_invent_species_values_are_listed():
    assert set(PLUMAGE_VALUES) == set(Plumage.__dataclass_fields__)
    assert set(SONG_VALUES) == set(Song.__dataclass_fields__)
    for species in draw_species(60, seed=1):
        assert all(value in {**PLUMAGE_VALUES, **SONG_VALUES}[mark] for mark, value in species.field_marks.items())


def test_invent_species_asked_for_more_only_adds():
    assert draw_species(60, seed=3)[:11] == draw_species(11, seed=3)
    assert draw_species(11, seed=3) != draw_species(11, seed=4)


def test_invent_species_reaches_a_thousand():
    assert len({species.class_name for species in draw_species(1_000, seed=0)}) == 1_000


# ---------------------------------------------------------------- drawing, singing, describing


@pytest.mark.parametrize(
    ("mark", "value"), [(mark, value) for mark in PLUMAGE_VALUES for value in PLUMAGE_VALUES[mark]]
)
def test_draw_bird_shows_each_value_of_each_mark(mark, value):
    marks = {name: values[0] for name, values in PLUMAGE_VALUES.items()}
    other = PLUMAGE_VALUES[mark][1 if value == PLUMAGE_VALUES[mark][0] else 0]
    pictures = [
        np.asarray(
            draw_bird(
                Bird(Plumage(**{**marks, mark: each})), side_pixels=96, difficulty=0.0, rng=np.random.default_rng(0)
            ),
            dtype=float,
        )
        for each in (value, other)
    ]
    assert np.abs(pictures[0] - pictures[1]).max() > 40


@pytest.mark.parametrize(("mark", "value"), [(mark, value) for mark in SONG_VALUES for value in SONG_VALUES[mark]])
def test_sing_makes_each_value_of_each_mark_heard(mark, value):
    marks = {name: values[-1] for name, values in SONG_VALUES.items()}
    other = SONG_VALUES[mark][1 if value == SONG_VALUES[mark][0] else 0]
    sounds = [
        np.abs(
            np.fft.rfft(
                synthesize_song(Song(**{**marks, mark: each}), bout_count=1, difficulty=0.0, rng=rng)[0], 3 * RATE_HZ
            )
        )
        for each, rng in ((value, np.random.default_rng(0)), (other, np.random.default_rng(0)))
    ]
    assert np.corrcoef(*sounds)[0, 1] < 0.98


@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_sing_lasts_two_to_three_seconds_within_full_scale(difficulty):
    for number, species in enumerate(draw_species(12, seed=2)):
        for bout in synthesize_song(
            species.song, bout_count=2, difficulty=difficulty, rng=np.random.default_rng(number)
        ):
            assert 2 * RATE_HZ <= bout.size <= 3 * RATE_HZ
            assert bout.dtype == np.float32
            assert 0.05 < np.abs(bout).max() < 1


def test_draw_clip_moves_and_keeps_its_background():
    for number, species in enumerate(draw_species(4, seed=2)):
        frames = draw_clip(Bird(species.plumage), side_pixels=64, difficulty=0.0, rng=np.random.default_rng(number))
        assert 12 <= len(frames) <= 16
        change = np.abs(frames.astype(int) - frames[0]).max(axis=(0, 3))
        assert change.max() > 40
        assert np.median(change) < 10


@given(seed=st.integers(0, 2**32), difficulty=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_describe_never_names_the_species(seed, difficulty):
    rng = np.random.default_rng(seed)
    for species in draw_species(6, seed=seed):
        text = write_description(species, difficulty=difficulty, rng=rng).lower()
        assert species.genus.lower() not in text
        assert species.class_name.lower().replace("_", " ") not in text.replace("-", " ")
        assert 10 < len(text) < 1_200
        assert text.endswith(".")


def test_describe_varies_its_words_and_tells_most_marks_when_easy():
    species = draw_species(2, seed=1)[0]
    texts = [write_description(species, difficulty=0.0, rng=np.random.default_rng(number)) for number in range(40)]
    hard = [write_description(species, difficulty=1.0, rng=np.random.default_rng(number)) for number in range(40)]
    assert len(set(texts)) == 40
    assert np.mean([len(text) for text in hard]) < 0.8 * np.mean([len(text) for text in texts])


# ---------------------------------------------------------------- the set


def test_synthesize_counts_every_class_medium_and_split(rows):
    counts = Counter((row["class_name"], row["medium"]) for row in rows)
    assert len(counts) == CLASS_COUNT * len(MEDIA)
    assert set(counts.values()) == {ITEMS_PER_MEDIUM}
    by_split = Counter((row["class_name"], row["medium"], row["split"]) for row in rows)
    assert all(by_split[name, medium, split] for name, medium in counts for split in (Split.TRAIN, Split.TEST))
    assert len({row["item_id"] for row in rows}) == len(rows)


def test_synthesize_train_holds_about_six_tenths(rows):
    assert 0.5 < Counter(row["split"] for row in rows)["train"] / len(rows) < 0.7


def test_synthesize_groups_keep_to_one_class_medium_and_split(rows):
    homes = defaultdict(set)
    sizes: Counter[tuple[str, str]] = Counter()
    for row in rows:
        homes[row["group"]].add((row["class_name"], row["medium"], row["split"]))
        sizes[row["medium"], row["group"]] += 1
    assert all(len(places) == 1 for places in homes.values())
    for medium, largest in (("image", 1), ("video", 1), ("text", 2), ("audio", 2)):
        assert max(size for (each, _), size in sizes.items() if each == medium) == largest


def test_synthesize_writes_files_that_decode(manifest):
    for item in read_manifest(manifest):
        if item.medium is Medium.IMAGE:
            with Image.open(item.path) as photo:
                assert photo.size == (PHOTO_PIXELS, PHOTO_PIXELS)
                photo.load()
        elif item.medium is Medium.VIDEO:
            frames = frames_of(item.path)
            assert 12 <= len(frames) <= 16
            assert frames[0].shape == (FRAME_PIXELS, FRAME_PIXELS, 3)
        elif item.medium is Medium.AUDIO:
            sound, rate_hz = soundfile.read(item.path)
            assert (sound.ndim, rate_hz) == (1, RATE_HZ)
            end = item.end_seconds or sound.size / RATE_HZ
            assert 2 <= end - (item.start_seconds or 0) <= 3
            assert end <= sound.size / RATE_HZ
        else:
            assert item.text or item.path.read_text(encoding="utf-8").strip()


def test_synthesize_has_texts_in_files_and_in_the_manifest(rows):
    texts = [row for row in rows if row["medium"] == "text"]
    assert all(bool(row["text"]) != bool(row["path"]) for row in texts)
    assert 0 < sum(bool(row["text"]) for row in texts) < len(texts)


def test_synthesize_items_carry_their_field_marks(rows):
    marks = {species.class_name: species.field_marks for species in draw_species(CLASS_COUNT, seed=7)}
    for row in rows:
        assert dict(pair.split("=") for pair in row["field_marks"].split("; ")) == marks[row["class_name"]]


def test_synthesize_writes_its_taxonomy(manifest):
    taxonomy = read_taxonomy(manifest.with_name("taxonomy.csv"))
    flock = draw_species(CLASS_COUNT, seed=7)
    assert taxonomy.taxa == tuple(species.taxon for species in flock)
    assert taxonomy.class_named(flock[1].scientific_name) == flock[1].class_name


def test_synthesize_tells_the_sex_of_birds_that_are_seen(rows):
    sexes = defaultdict(set)
    for row in rows:
        sexes[row["medium"]].add(row["sex"])
    assert sexes["image"] == sexes["video"] == {"female", "male"}
    assert sexes["text"] == sexes["audio"] == {""}


def test_females_are_duller():
    plumage = draw_species(2, seed=3)[0].plumage
    wash = [
        [
            create_individual(plumage, is_female=is_female, difficulty=0.5, rng=np.random.default_rng(number)).wash
            for number in range(20)
        ]
        for is_female in (True, False)
    ]
    assert min(wash[0]) > max(wash[1])


def test_synthesize_with_two_processes_gives_the_same(tmp_path):
    first = synthesize(tmp_path / "1", class_count=2, items_per_medium=2, seed=4)
    second = synthesize(tmp_path / "2", class_count=2, items_per_medium=2, seed=4, workers=2)
    assert first.read_bytes() == second.read_bytes()
    photos = [sorted(folder.rglob("*.jpg")) for folder in (tmp_path / "1", tmp_path / "2")]
    assert [photo.read_bytes() for photo in photos[0]] == [photo.read_bytes() for photo in photos[1]]


def test_synthesize_again_gives_the_same_manifest_and_content(manifest, tmp_path):
    again = synthesize(tmp_path, class_count=CLASS_COUNT, items_per_medium=ITEMS_PER_MEDIUM, seed=7)
    assert again.read_bytes() == manifest.read_bytes()
    for first, second in zip(read_manifest(manifest), read_manifest(again), strict=True):
        if first.medium is Medium.VIDEO:
            assert np.array_equal(frames_of(first.path), frames_of(second.path))
        elif first.medium is Medium.AUDIO:
            assert np.array_equal(soundfile.read(first.path)[0], soundfile.read(second.path)[0])
        elif first.path:
            assert first.path.read_bytes() == second.path.read_bytes()


def test_synthesize_two_items_fill_both_splits(tmp_path):
    items = read_manifest(synthesize(tmp_path, class_count=2, items_per_medium=2, seed=0))
    assert Counter(item.split for item in items) == {Split.TRAIN: 8, Split.TEST: 8}


def test_synthesize_reports_progress_to_the_end(tmp_path):
    steps: list[tuple[int, int]] = []

    class Listener:
        def step(self, task: str, *, done: int, total: int, note: str = "") -> None:
            steps.append((done, total))

        def say(self, message: str) -> None:
            raise AssertionError(message)

    synthesize(tmp_path, class_count=2, items_per_medium=2, seed=0, report=Listener())
    assert steps[-1] == (16, 16)
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("class_count", 1),
        ("class_count", 1_001),
        ("items_per_medium", 1),
        ("seed", -1),
        ("difficulty", 1.5),
        ("difficulty", float("nan")),
    ],
)
def test_synthesize_refuses_a_number_outside_its_range(tmp_path, name, value):
    arguments = {"class_count": 2, "items_per_medium": 2, "seed": 0, name: value}
    with pytest.raises(OutOfRangeError, match=f"'{name}' is .*; the allowed range is .*Choose a value"):
        synthesize(tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


def test_synthesize_leaves_a_manifest_alone(tmp_path):
    (tmp_path / "manifest.csv").write_text("mine")
    with pytest.raises(ManifestError, match="Choose another folder"):
        synthesize(tmp_path, class_count=2, items_per_medium=2, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.csv"]


# ---------------------------------------------------------------- can the species be told apart?


def share_told_by_nearest_mean(features: np.ndarray, label: np.ndarray) -> float:
    """Share of the odd rows whose nearest class mean of the even rows is their own."""
    features = (features - features.mean(0)) / (features.std(0) + 1e-6)
    means = np.stack([features[::2][label[::2] == each].mean(0) for each in np.unique(label)])
    nearest = np.linalg.norm(features[1::2, None] - means[None], axis=-1).argmin(1)
    return float((nearest == label[1::2]).mean())


def test_draw_bird_species_are_told_by_color():
    flock, label = draw_species(8, seed=5), np.repeat(np.arange(8), 10)
    photos = [
        draw_bird(Bird(flock[each].plumage), side_pixels=64, difficulty=0.5, rng=np.random.default_rng([number]))
        for number, each in enumerate(label)
    ]
    colors = [np.asarray(photo).reshape(-1, 3) for photo in photos]
    features = np.stack([np.histogramdd(each, bins=4, range=[(0, 256)] * 3)[0].ravel() for each in colors])
    assert share_told_by_nearest_mean(np.sqrt(features), label) > 3 / 8


def test_sing_species_are_told_by_spectrum():
    flock, label = draw_species(8, seed=5), np.repeat(np.arange(8), 10)
    features = []
    for number, each in enumerate(label):
        (bout,) = synthesize_song(flock[each].song, bout_count=1, difficulty=0.5, rng=np.random.default_rng([number]))
        blocks = np.log(np.abs(np.fft.rfft(bout[: bout.size // 512 * 512].reshape(-1, 512))) + 1e-2)
        features.append(np.concatenate([blocks.mean(0), blocks.std(0)]))
    assert share_told_by_nearest_mean(np.stack(features), label) > 3 / 8


def test_describe_species_are_told_by_words():
    flock, label = draw_species(8, seed=5), np.repeat(np.arange(8), 10)
    texts = [
        write_description(flock[each], difficulty=0.5, rng=np.random.default_rng([number])).lower().replace(",", "")
        for number, each in enumerate(label)
    ]
    words = sorted({word for text in texts for word in text.split()})
    features = np.array([[word in text.split() for word in words] for text in texts], dtype=float)
    assert share_told_by_nearest_mean(features, label) > 3 / 8
