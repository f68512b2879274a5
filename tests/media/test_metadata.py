"""Date and place inside files."""

import struct
import wave

import av
import numpy as np
import pytest
from PIL import ExifTags, Image

from fieldmark.data.embedded_facts import complete_items
from fieldmark.media.metadata import EmbeddedFacts, read_embedded_facts
from fieldmark.types import Item, Medium


def write_photo(path, *, date="2019:05:04 06:30:00", latitude=(48.0, 15.0, 30.0), north="N"):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = date
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    place |= {
        ExifTags.GPS.GPSLatitudeRef: north,
        ExifTags.GPS.GPSLatitude: latitude,
        ExifTags.GPS.GPSLongitudeRef: "W",
        ExifTags.GPS.GPSLongitude: (70.0, 30.0, 0.0),
        ExifTags.GPS.GPSHPositioningError: 12.5,
    }
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    return path


def write_recording(path, **chunks):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(np.zeros(801, dtype=np.int16).tobytes())
    notes = b"".join(
        name.encode() + struct.pack("<I", len(text)) + text + b"\0" * (len(text) % 2) for name, text in chunks.items()
    )
    content = path.read_bytes() + notes
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    return path


def test_photo_tells_date_and_place(tmp_path, limits):
    facts = read_embedded_facts(write_photo(tmp_path / "a.jpg", north="S"), medium=Medium.IMAGE, limits=limits)
    assert (facts.event_date, facts.longitude) == ("2019-05-04T06:30:00", -70.5)
    assert facts.latitude == pytest.approx(-48.258333, abs=1e-6)
    assert facts.coordinate_uncertainty_meters == 12.5
    assert dict(facts.source_by_fact)["event_date"] == "EXIF"


def test_recording_tells_by_guano_before_broadcast_wave(tmp_path, limits):
    bext = bytearray(602)
    bext[320:338] = b"2018-06-0105:30:00"
    guano = b"GUANO|Version: 1.0\nTimestamp: 2018-06-01T05:31:07+02:00\nLoc Position: 46.19 6.14\nLoc Accuracy: 8\n"
    path = write_recording(tmp_path / "a.wav", bext=bytes(bext), guan=guano)
    facts = read_embedded_facts(path, medium=Medium.AUDIO, limits=limits)
    assert (facts.event_date, facts.latitude, facts.longitude) == ("2018-06-01T05:31:07+02:00", 46.19, 6.14)
    path = write_recording(tmp_path / "b.wav", bext=bytes(bext))
    facts = read_embedded_facts(path, medium=Medium.AUDIO, limits=limits)
    assert (facts.event_date, facts.source_by_fact) == ("2018-06-01T05:30:00", (("event_date", "BWF"),))


def test_recording_tells_by_id3(tmp_path, limits):
    with av.open(str(tmp_path / "a.mp3"), "w") as container:
        container.metadata["date"] = "2017-04-09"
        stream = container.add_stream("libmp3lame", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1152), dtype=np.float32), format="fltp", layout="stereo")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    facts = read_embedded_facts(tmp_path / "a.mp3", medium=Medium.AUDIO, limits=limits)
    assert (facts.event_date, facts.source_by_fact) == ("2017-04-09", (("event_date", "ID3"),))


@pytest.mark.parametrize(
    "broken",
    [{"date": "0000:00:00 00:00:00", "latitude": (0.0, 0.0, 0.0)}, {"date": "x", "latitude": (95.0, 0.0, 0.0)}],
)
def test_what_cannot_be_is_not_read(broken, tmp_path, limits):
    path = write_photo(tmp_path / "a.jpg", **broken)
    facts = read_embedded_facts(path, medium=Medium.IMAGE, limits=limits)
    assert facts.event_date is None
    assert facts.latitude is None or broken["latitude"] == (0.0, 0.0, 0.0)


def test_a_damaged_file_tells_nothing(tmp_path, limits):
    for name, medium in (("a.jpg", Medium.IMAGE), ("a.wav", Medium.AUDIO), ("a.mp4", Medium.VIDEO)):
        (tmp_path / name).write_bytes(b"RIFF\xff\xff\xff\xffWAVEguan\xff\xff\xff\x7fTimestamp: nothing")
        assert read_embedded_facts(tmp_path / name, medium=medium, limits=limits) == EmbeddedFacts()


def test_a_file_fills_what_its_row_leaves_open_and_says_so(tmp_path):
    path = write_photo(tmp_path / "a.jpg")
    given = Item("a", Medium.IMAGE, path=path, event_date="2001", extra=(("color", "red"),))
    [item] = complete_items([given])
    assert (item.event_date, item.longitude) == ("2001", -70.5)
    assert dict(item.extra) == {
        "color": "red",
        "facts_from_file": "latitude from EXIF; longitude from EXIF; coordinate_uncertainty_meters from EXIF",
    }
    assert complete_items([item]) == (item,)


def test_a_file_does_not_tell_a_place_that_its_row_withholds(tmp_path):
    path = write_photo(tmp_path / "a.jpg")
    for withheld in (("geoprivacy", "obscured"), ("coordinates_obscured", "true"), ("informationWithheld", "nest")):
        [item] = complete_items([Item("a", Medium.IMAGE, path=path, extra=(withheld,))])
        assert (item.latitude, item.event_date) == (None, "2019-05-04T06:30:00")
