"""The rows that a run trains on: one for each item or, as the released code has it, one for each listed frame."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fieldmark import Medium, Runtime, load_config
from fieldmark.build import create_model
from fieldmark.data.naming import NameSources
from fieldmark.embedding import FailureLog
from fieldmark.errors import MediaError
from fieldmark.training_stages import read_items, read_usable_items
from fieldmark.types import Item, SilentReporter, Split

LEVELS = (10, 90, 200)
"""Of gray, of the pictures of the video, numbered from 1; a fourth one is not listed."""


@pytest.fixture
def items(tmp_path):
    for number, level in enumerate((*LEVELS, 250), start=1):
        Image.fromarray(np.full((24, 24, 3), level, dtype=np.uint8)).save(tmp_path / f"clip_{number:05d}.png")
    frames = Item(
        "clip",
        Medium.VIDEO,
        path=tmp_path / "clip_*.png",
        class_name="b",
        split=Split.TRAIN,
        extra=(("form", "frames"), ("frame_numbers", "1-3")),
    )
    photo = Item("photo", Medium.IMAGE, path=tmp_path / "clip_00001.png", class_name="a", split=Split.TRAIN)
    held_out = replace(frames, item_id="held-out", split=Split.VALIDATION)
    return [photo, frames, held_out]


def read(items, toy_overrides, *overrides):
    config = load_config("tiny", overrides=[*toy_overrides, "model.max_frames=25", *overrides])
    model = create_model(config, class_names=("a", "b"), media=list(Medium), device=torch.device("cpu"))
    failures = FailureLog(total=len(items), allowed_share=0.0, reporter=SilentReporter())
    runtime = Runtime(cache=None, device="cpu")
    usable = read_usable_items(items, model=model, failures=failures, runtime=runtime)
    return read_items(usable, model=model, names=NameSources(), runtime=runtime).rows


def test_each_listed_frame_is_a_row_where_asked(items, toy_overrides):
    rows = read(items, toy_overrides, "data.frame_rows=true")
    frames = rows[Split.TRAIN][Medium.VIDEO]
    assert frames.label.tolist() == [1, 1, 1]
    assert len(set(frames.origin.tolist())) == 1
    pictures = [frames.reader.read(row) for row in range(3)]
    assert [len(each) for each in pictures] == [1, 1, 1]
    assert [int(each.max()) for each in pictures] == list(LEVELS)
    assert rows[Split.TRAIN][Medium.IMAGE].label.tolist() == [0]
    assert len(rows[Split.VALIDATION][Medium.VIDEO].label) == 1  # a video is measured as one


def test_a_video_is_one_row_otherwise(items, toy_overrides):
    [label] = read(items, toy_overrides)[Split.TRAIN][Medium.VIDEO].label
    assert label == 1


def test_frames_that_are_gone_stay_one_row_which_fails_when_it_is_read(items, toy_overrides, tmp_path):
    for path in tmp_path.glob("clip_0000[1-3].png"):
        path.unlink()
    (tmp_path / "kept_00001.png").write_bytes((tmp_path / "clip_00004.png").read_bytes())
    extra = (("form", "frames"), ("frame_numbers", "1"))
    readable = replace(items[1], item_id="kept", path=tmp_path / "kept_*.png", extra=extra)
    rows = read([*items, readable], toy_overrides, "data.frame_rows=true")
    assert len(rows[Split.TRAIN][Medium.VIDEO].label) == 2
    with pytest.raises(MediaError):
        rows[Split.TRAIN][Medium.VIDEO].reader.read(0)
