"""What the check finds, and what it leaves in peace."""

import pickle
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from fieldmark import media
from fieldmark.data.manifest import read_manifest
from fieldmark.data.split import count_items
from fieldmark.datasets.checks.inspection import Inspection, inspect_item
from fieldmark.datasets.checks.problems import SEVERITIES, ProblemKind, Severity, find_problems
from fieldmark.errors import MediaError
from fieldmark.types import Failure, Item, MediaLimits, Medium, Split

LIMITS = MediaLimits()
RATE_HZ = 22_050


@pytest.fixture
def make_sound(make_item, tmp_path):
    def make(name: str, *, seconds: float = 1.0, amplitude: float = 0.5, **fields) -> Item:
        wave = amplitude * np.sin(np.arange(round(seconds * RATE_HZ)) * 0.3)
        soundfile.write(tmp_path / name, wave, RATE_HZ, subtype="PCM_16")
        return make_item(Medium.AUDIO, item_id=name, **fields)

    return make


@pytest.fixture
def make_image(make_item, tmp_path):
    def make(name: str, *, gray: int = 100, **fields) -> Item:
        Image.new("RGB", (40, 30), (gray, gray, gray)).save(tmp_path / name, format="PNG")
        return make_item(Medium.IMAGE, item_id=name, **fields)

    return make


@pytest.fixture
def make_text(make_item, tmp_path):
    def make(name: str, text: str, **fields) -> Item:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return make_item(Medium.TEXT, item_id=name, **fields)

    return make


def check(items: list[Item]) -> dict[ProblemKind, list[tuple[str, ...]]]:
    """The ids that each kind of problem names, after decoding everything."""
    found: dict[ProblemKind, list[tuple[str, ...]]] = {}
    for problem in find_problems(items, [inspect_item(item, limits=LIMITS) for item in items]):
        found.setdefault(problem.kind, []).append(problem.item_ids)
    return found


# ---------------------------------------------------------------- one item


def test_inspect_item_measures_a_sound(make_sound):
    inspection = inspect_item(make_sound("a.wav", seconds=65.0, amplitude=0.25), limits=LIMITS)
    assert inspection.failure is None
    assert inspection.duration_seconds == pytest.approx(65.0, abs=0.25)
    assert inspection.peak == pytest.approx(0.25, abs=0.01)
    assert inspection.content_hash


def test_inspect_item_measures_only_the_part_that_the_item_is(make_sound):
    item = replace(make_sound("a.wav", seconds=5.0), start_seconds=1.0, end_seconds=3.0)
    assert inspect_item(item, limits=LIMITS).duration_seconds == pytest.approx(2.0, abs=0.25)


def test_inspect_item_of_an_image_or_a_text_has_neither_time_nor_level(make_image, make_text):
    for item in (make_image("a.png"), make_text("a.txt", "A grey gull.")):
        inspection = inspect_item(item, limits=LIMITS)
        assert (inspection.duration_seconds, inspection.peak, inspection.failure) == (None, None, None)


def test_inspect_item_and_what_it_gives_can_go_to_another_process(make_image, make_item):
    inspect = partial(inspect_item, limits=LIMITS)
    for item in (make_image("a.png"), make_item(item_id="missing.png")):
        inspection = inspect(item)
        sent = pickle.loads(pickle.dumps((inspect, item, inspection)))  # noqa: S301 - made one line above
        assert sent[0](sent[1]) == sent[2] == inspection


# ---------------------------------------------------------------- files that cannot be used


def test_check_finds_files_that_cannot_be_used(make_item, make_image, make_sound, tmp_path):
    make_image("whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    (tmp_path / "empty.wav").touch()
    (tmp_path / "cyrillic.txt").write_bytes("чайка над морем".encode("koi8-r"))
    items = [
        make_item(item_id="cut.png"),
        make_item(Medium.AUDIO, item_id="empty.wav"),
        make_item(Medium.TEXT, item_id="cyrillic.txt"),
        make_item(item_id="missing.png"),
        replace(make_sound("sound.wav"), medium=Medium.IMAGE),
        make_image("whole.png"),
    ]
    found = check(items)
    assert found[ProblemKind.UNREADABLE] == [("cut.png",), ("cyrillic.txt",)]
    assert found[ProblemKind.EMPTY] == [("empty.wav",)]
    assert found[ProblemKind.MISSING_FILE] == [("missing.png",)]
    assert found[ProblemKind.MEDIUM_MISMATCH] == [("sound.wav",)]
    assert not any(("whole.png",) in item_ids for item_ids in found.values())


def test_check_finds_files_beyond_the_limits(make_image):
    item = make_image("large.png")
    inspection = inspect_item(item, limits=MediaLimits(max_pixels=100))
    [problem] = find_problems([item], [inspection])
    assert (problem.kind, problem.severity) == (ProblemKind.TOO_LONG, Severity.ERROR)
    assert "limit is 100" in problem.detail


def test_check_finds_silence_and_shortness(make_sound):
    items = [
        make_sound("song.wav"),
        make_sound("silent.wav", amplitude=0.0),
        make_sound("faint.wav", amplitude=0.0005),
        make_sound("short.wav", seconds=0.1),
    ]
    found = check(items)
    assert found[ProblemKind.SILENT] == [("silent.wav",), ("faint.wav",)]
    assert found[ProblemKind.TOO_SHORT] == [("short.wav",)]


def test_a_sound_at_the_limits_is_neither_silent_nor_too_short(make_item):
    inspection = Inspection("a", content_hash="1", duration_seconds=0.5, peak=0.001)
    assert find_problems([make_item(Medium.AUDIO, item_id="a")], [inspection]) == ()


def test_every_media_error_is_a_kind_of_problem():
    errors = [MediaError]
    for error in errors:
        errors += error.__subclasses__()
    for error in errors:
        assert SEVERITIES[ProblemKind(error.kind)] is Severity.ERROR


def test_severities_are_complete():
    assert set(SEVERITIES) == set(ProblemKind)


# ---------------------------------------------------------------- items among others


def test_check_finds_duplicates_within_and_across_splits(make_image):
    items = [
        make_image("a.png", gray=1),
        make_image("b.png", gray=1),
        make_image("c.png", gray=2),
        make_image("d.png", gray=2, split=Split.TEST),
        make_image("e.png", gray=3),
    ]
    found = check(items)
    assert found[ProblemKind.DUPLICATE] == [("a.png", "b.png")]
    assert found[ProblemKind.DUPLICATE_ACROSS_SPLITS] == [("c.png", "d.png")]


def test_check_finds_duplicates_of_texts_in_the_manifest():
    items = [Item(item_id=str(place), medium=Medium.TEXT, text="A gull.", class_name="Gull") for place in range(2)]
    assert check(items)[ProblemKind.DUPLICATE] == [("0", "1")]


def test_duplicates_under_different_classes_say_so(make_image):
    items = [make_image("a.png", class_name="Gull"), make_image("b.png", class_name="Tern")]
    [problem] = find_problems(items, [inspect_item(item, limits=LIMITS) for item in items])
    assert "different classes (Gull, Tern)" in problem.detail


def test_parts_of_one_file_are_no_duplicates(make_sound):
    whole = make_sound("a.wav", seconds=4.0)
    items = [
        replace(whole, item_id=str(start), start_seconds=float(start), end_seconds=start + 2.0) for start in (0, 2)
    ]
    assert check(items) == {}


def test_check_finds_groups_in_two_splits(make_item):
    items = [
        make_item(item_id="1", group="rec 7"),
        make_item(item_id="2", group="rec 7", split=Split.TEST),
        make_item(item_id="3", group="rec 8", split=Split.TEST),
        make_item(item_id="4"),
        make_item(item_id="5", split=Split.TEST),
    ]
    [problem] = find_problems(items, [])
    assert (problem.kind, problem.item_ids) == (ProblemKind.GROUP_STRADDLES_SPLITS, ("1", "2"))
    assert problem.severity is Severity.ERROR
    assert problem.detail == "The group 'rec 7' occurs in train (1), test (1). Move all of it into one split."


def test_check_finds_a_file_cut_over_two_splits(make_item, tmp_path):
    part = make_item(Medium.AUDIO, item_id="1", path=tmp_path / "a.wav", start_seconds=0.0, end_seconds=2.0)
    other = replace(part, item_id="2", split=Split.TEST, start_seconds=2.0, end_seconds=4.0)
    [problem] = find_problems([part, other], [])
    assert (problem.kind, problem.item_ids) == (ProblemKind.GROUP_STRADDLES_SPLITS, ("1", "2"))


def test_items_without_a_split_do_not_straddle(make_item):
    assert find_problems([make_item(group="x"), make_item(group="x", split=None)], []) == ()


def test_check_notes_classes_without_a_medium(make_item):
    items = [
        make_item(Medium.IMAGE, "Gull"),
        make_item(Medium.AUDIO, "Gull"),
        make_item(Medium.TEXT, "Gull"),
        make_item(Medium.IMAGE, "Tern"),
        make_item(Medium.VIDEO, None),
    ]
    [problem] = find_problems(items, [])
    assert (problem.kind, problem.severity) == (ProblemKind.CLASS_WITHOUT_MEDIUM, Severity.NOTE)
    assert problem.detail == "The class 'Tern' has no text and no audio."


def test_check_lists_facts_of_records_that_are_in_doubt():
    def record(name: str, **facts) -> Item:
        return Item(name, Medium.TEXT, text=f"A note on {name}.", class_name="Veery", **facts)

    austrian = [
        record(f"o{n}", country_code="AT", latitude=47.0 + n / 10, longitude=14.0 + n / 10, event_date="2001-05-04")
        for n in range(5)
    ]
    doubtful = [
        record("date", event_date="2001-02-30"),
        record("nowhere", latitude=95.0, longitude=181.0),
        record("beyond", latitude=142.5, longitude=16.5),
        record("swapped", country_code="AT", latitude=14.2, longitude=47.2),
        record("zero", country_code="GH", latitude=0.0, longitude=0.0),
        record("one", catalog_number="EX-1", occurrence_id="o:1"),
        record("other", catalog_number="EX-1", occurrence_id="o:2"),
    ]
    problems = find_problems([*austrian, *doubtful], [])
    found: dict[ProblemKind, list[str]] = {}
    for problem in problems:
        found.setdefault(problem.kind, []).extend(problem.item_ids)
    assert found == {
        ProblemKind.IMPOSSIBLE_DATE: ["date"],
        ProblemKind.IMPOSSIBLE_COORDINATES: ["nowhere"],
        ProblemKind.SWAPPED_COORDINATES: ["beyond", "swapped"],
        ProblemKind.ZERO_COORDINATES: ["zero"],
        ProblemKind.REPEATED_NUMBER: ["one", "other"],
    }
    assert all(each.severity is Severity.WARNING for each in problems if each.kind in found)


def test_find_problems_sorts_by_kind_then_by_place(make_item):
    items = [make_item(item_id=name) for name in "abc"]
    kinds = ["unreadable", "missing_file", "unreadable"]
    inspections = [
        Inspection(item_id=item.item_id, failure=Failure(item.item_id, kind, "why"))
        for item, kind in zip(items, kinds, strict=True)
    ]
    problems = find_problems(items, inspections)
    assert [problem.item_ids for problem in problems] == [("b",), ("a",), ("c",)]


def test_find_problems_of_nothing_is_nothing():
    assert find_problems([], []) == ()


def test_count_items_counts_by_medium_and_split(make_item):
    items = [
        make_item(Medium.AUDIO),
        make_item(Medium.IMAGE),
        make_item(Medium.IMAGE, split=Split.TEST),
        make_item(Medium.IMAGE, split=None),
        make_item(Medium.IMAGE),
    ]
    assert count_items(items) == {"image": {"train": 2, "test": 1, "none": 1}, "audio": {"train": 1}}


# ---------------------------------------------------------------- real birds


@pytest.mark.shared
def test_check_finds_the_straddling_groups_of_real_birds(shared_folder):
    items = read_manifest(shared_folder / "data" / "fgbirds" / "manifest.csv")
    problems = [problem for problem in find_problems(items, []) if problem.kind is ProblemKind.GROUP_STRADDLES_SPLITS]
    assert len(items) == 8487
    assert len(problems) == 77
    media = {item.item_id: item.medium for item in items}
    assert {media[item_id] for problem in problems for item_id in problem.item_ids} == {
        Medium.AUDIO,
        Medium.TEXT,
        Medium.VIDEO,
    }


@pytest.mark.shared
def test_check_finds_no_straddling_group_in_the_core_of_real_birds(shared_folder):
    items = read_manifest(shared_folder / "data" / "fgbirds" / "manifest_core.csv")
    kinds = {problem.kind for problem in find_problems(items, [])}
    assert ProblemKind.GROUP_STRADDLES_SPLITS not in kinds
    assert count_items(items)["audio"] == {"train": 386, "test": 169}


def test_every_warning_of_a_loader_is_a_problem_that_a_report_names():
    sources = "".join(path.read_text() for path in Path(media.__file__).parent.rglob("*.py"))
    used = re.findall(r"MediaWarning\(\s*([A-Z_]+|\"[a-z_]+\")", sources)
    constants = dict(re.findall(r"^([A-Z_]+) = \"([a-z_]+)\"$", sources, re.MULTILINE))
    kinds = {constants.get(each, each.strip('"')) for each in used}
    assert {"damaged", "joined", "encoding", "odd_scale", "dc_offset", "ultrasound"} <= kinds
    assert kinds <= set(ProblemKind)
