"""From raw media to items that keep their group and their offsets."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
from PIL import Image

from fieldmark import Medium, Split, check, read_manifest, write_manifest
from fieldmark.datasets.aviary.synthesize import write_clip
from fieldmark.datasets.build import build_items
from fieldmark.errors import ManifestError, OutOfRangeError
from fieldmark.types import Form, Item

RATE_HZ = 16_000


@pytest.fixture
def raw(tmp_path):
    rng = np.random.default_rng(0)
    wave = rng.normal(0, 0.003, 40 * RATE_HZ)
    for start in (5, 20):
        wave[start * RATE_HZ : (start + 2) * RATE_HZ] += 0.3 * np.sin(np.arange(2 * RATE_HZ) * 1.1)
    soundfile.write(tmp_path / "long.flac", wave, RATE_HZ)
    soundfile.write(tmp_path / "short.flac", wave[4 * RATE_HZ : 9 * RATE_HZ], RATE_HZ)
    soundfile.write(tmp_path / "quiet.flac", wave[:RATE_HZ].repeat(20) * 0, RATE_HZ)
    scene = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    other = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    write_clip(np.stack([scene] * 12 + [other] * 2 + [scene * 0] * 2), tmp_path / "clip.mp4")
    (tmp_path / "page.txt").write_text("One sentence of six words here. " * 6, encoding="utf-8")
    Image.fromarray(scene).save(tmp_path / "photo.png")
    whole = (tmp_path / "short.flac").read_bytes()
    (tmp_path / "broken.flac").write_bytes(whole[:42])
    media = {".flac": Medium.AUDIO, ".mp4": Medium.VIDEO, ".txt": Medium.TEXT, ".png": Medium.IMAGE}
    items = [
        Item(path.name, media[path.suffix], path=path, class_name="Gull", split=Split.TRAIN)
        for path in sorted(tmp_path.iterdir())
    ]
    write_manifest(items, tmp_path / "raw.csv")
    return tmp_path / "raw.csv"


def test_build_keeps_the_origin_of_parts_of_one_file(raw, tmp_path):
    clip = next(item for item in read_manifest(raw) if item.medium is Medium.VIDEO)
    halves = [replace(clip, item_id=name, group=None) for name in ("first", "second")]
    write_manifest([*halves, replace(clip, item_id="other", group="tape")], tmp_path / "halves.csv")
    built = read_manifest(build_items(tmp_path / "halves.csv", out=tmp_path / "built").manifest)
    assert [item.group for item in built] == ["file first", "file first", "tape"]


def test_build_cuts_each_medium_and_keeps_groups_and_offsets(raw, tmp_path):
    report = build_items(raw, out=tmp_path / "built", longest_words=12)
    items = {item.item_id: item for item in read_manifest(report.manifest)}
    by_source = {}
    for item in items.values():
        by_source.setdefault(dict(item.extra).get("derived_from") or item.item_id, []).append(item)
    songs = by_source["long.flac"]
    assert [(item.start_seconds, item.end_seconds) for item in songs] == [
        pytest.approx((4.75, 7.25), abs=0.11),
        pytest.approx((19.75, 22.25), abs=0.11),
    ]
    assert {item.group for item in songs} == {"recording long.flac"}
    assert by_source["short.flac"][0].path.name == "short.flac"
    assert len(by_source["page.txt"]) == 3
    assert dict(by_source["page.txt"][1].extra)["start_character"] == "64"
    [clip] = by_source["clip.mp4"]
    assert (clip.form, clip.group) == (Form.FRAMES, "video clip.mp4")
    seconds = [float(each) for each in dict(clip.extra)["frame_seconds"].split()]
    assert len(seconds) == report.frame_count
    assert max(seconds) < 1.5
    assert report.dropped_frame_count > 0
    assert {each.item_id: each.kind for each in report.left} == {
        "broken.flac": "unreadable",
        "quiet.flac": "nothing_of_interest",
    }
    assert all(item.class_name == "Gull" and item.split is Split.TRAIN for item in items.values())
    assert not check(report.manifest).has_errors


def test_build_keeps_a_dim_video_with_one_flash(tmp_path):
    dim = np.full((128, 128, 3), 40, dtype=np.uint8)
    flash = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    write_clip(np.stack([dim] * 7 + [flash] + [dim] * 8), tmp_path / "night.mp4")
    write_manifest([Item("night", Medium.VIDEO, path=tmp_path / "night.mp4")], tmp_path / "raw.csv")
    report = build_items(tmp_path / "raw.csv", out=tmp_path / "built", frame_count=16)
    assert (report.frame_count, report.dropped_frame_count) == (16, 0)


def test_build_refuses_a_folder_with_a_manifest_and_numbers_out_of_range(raw, tmp_path):
    build_items(raw, out=tmp_path / "built")
    with pytest.raises(ManifestError, match="There is a manifest at"):
        build_items(raw, out=tmp_path / "built")
    with pytest.raises(OutOfRangeError, match="frame_count"):
        build_items(raw, out=tmp_path / "other", frame_count=0)
