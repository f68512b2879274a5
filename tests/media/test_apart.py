"""Decoding in a process apart: the same segments and errors, and a decoder that ends costs one file."""

import os
import signal

import numpy as np
import pytest
import soundfile
import torch

from fieldmark.datasets.checks import inspection
from fieldmark.errors import MediumMismatchError, MissingFileError, UnreadableMediaError
from fieldmark.media import apart
from fieldmark.media.apart import load_segments_apart
from fieldmark.media.loaders import load_segments
from fieldmark.types import Decoding, Item, MediaLimits, Medium, SilentReporter

SHORT = Decoding(sample_rate_hz=8_000, segment_seconds=1.0)


@pytest.fixture
def make_sound(tmp_path):
    def make(name, seconds=3):
        path = tmp_path / name
        soundfile.write(path, np.sin(np.arange(8_000 * seconds) / 5) / 2, 8_000)
        return Item(name, Medium.AUDIO, path=path)

    return make


def load(item, **options):
    return list(load_segments_apart(item, decoding=SHORT, limits=MediaLimits(), **options))


def kill_idle_decoders():
    for decoder in apart._POOL._idle:
        os.kill(decoder._process.pid, signal.SIGABRT)
        decoder._process.wait()


def test_segments_are_those_of_this_process(make_sound):
    item = make_sound("song.wav")
    there, here = load(item), list(load_segments(item, decoding=SHORT, limits=MediaLimits()))
    assert [(each.start_seconds, each.end_seconds) for each in there] == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    for one, other in zip(there, here, strict=True):
        assert torch.equal(one.content.waveform, other.content.waveform)
        assert one.content.sample_rate_hz == other.content.sample_rate_hz


def test_errors_keep_their_class_and_fields(make_sound, tmp_path):
    song = make_sound("song.wav")
    with pytest.raises(MediumMismatchError) as caught:
        load(Item("film", Medium.VIDEO, path=song.path))
    assert (caught.value.got, caught.value.expected) == ("audio", Medium.VIDEO)
    torn = tmp_path / "torn.flac"
    torn.write_bytes(b"fLaC\x00" + bytes(400))
    with pytest.raises(UnreadableMediaError, match=r"torn\.flac' cannot be decoded"):
        load(Item("torn", Medium.AUDIO, path=torn))
    with pytest.raises(MissingFileError, match=r"There is no file at '.*nowhere\.flac'") as missing:
        load(Item("nowhere", Medium.AUDIO, path=tmp_path / "nowhere.flac"))
    assert missing.value.kind == "missing_file"
    assert len(load(song)) == 3  # the decoder went on


def test_a_decoder_that_ends_costs_one_file(make_sound):
    long, short = make_sound("long.wav", seconds=300), make_sound("short.wav")
    segments = load_segments_apart(long, decoding=SHORT, limits=MediaLimits())
    next(segments)
    os.kill(segments.gi_frame.f_locals["decoder"]._process.pid, signal.SIGABRT)
    with pytest.raises(UnreadableMediaError, match=r"long\.wav'.*its decoder has ended \(SIGABRT\).*Replace"):
        list(segments)
    assert len(load(short)) == 3


def test_a_decoder_that_ended_while_it_waited_costs_nothing(make_sound):
    item = make_sound("song.wav")
    load(item)
    kill_idle_decoders()
    assert len(load(item)) == 3


def test_an_item_that_nobody_takes_to_its_end_leaves_nothing_behind(make_sound):
    first = load_segments_apart(make_sound("long.wav", seconds=60), decoding=SHORT, limits=MediaLimits())
    next(first)
    first.close()
    assert len(load(make_sound("short.wav", seconds=2))) == 2


def test_common_pictures_and_texts_need_no_process(monkeypatch, write_image):
    monkeypatch.setattr(apart._POOL, "take", lambda: pytest.fail("a process was asked for"))
    assert len(load(Item("photo", Medium.IMAGE, path=write_image("photo.jpg")))) == 1
    assert len(load(Item("text", Medium.TEXT, text="A small bird."))) == 1


def test_a_query_starts_no_process(monkeypatch, make_sound):
    apart._POOL.end_all()
    monkeypatch.setattr(apart, "_Decoder", lambda: pytest.fail("a process was started"))
    assert len(load(make_sound("song.wav"), starts=False)) == 3


def test_a_check_survives_a_codec_that_ends_its_process(monkeypatch, make_sound):
    items = [make_sound(f"{n}.wav", seconds=1) for n in range(40)]
    monkeypatch.setattr(inspection, "start_processes", EndedPool)
    found = list(
        inspection.inspect_items(items, limits=MediaLimits(), workers=2, cache=None, reporter=SilentReporter())
    )
    assert [each.item_id for each in found] == [item.item_id for item in items]
    assert all(each.failure is None for each in found)


class EndedPool:
    """A pool of which a process ends after three items."""

    def __init__(self, _):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def map(self, function, values, chunksize):
        yield from map(function, values[:3])
        raise inspection.BrokenProcessPool("a process ended")
