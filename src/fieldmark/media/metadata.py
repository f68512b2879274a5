"""Date and place inside media files: EXIF of photos; GUANO, BWF, ID3 and other tags of recordings and videos."""

import re
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image

from fieldmark.errors import MediaError
from fieldmark.media.container import open_container
from fieldmark.media.file import convert_decoder_errors
from fieldmark.records.coordinates import is_on_earth, parse_degrees
from fieldmark.records.dates import parse_event_date
from fieldmark.types import MediaLimits, Medium

_PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
_MOST_CHUNKS = 1_000
_LARGEST_CHUNK_BYTES = 2**20
"""Of a chunk of notes; sound itself is skipped."""


@dataclass(frozen=True, slots=True)
class EmbeddedFacts:
    """Date and place as a file states them; what cannot be is left out.

    Args:
        source_by_fact: The kind of note that each fact comes from, such as "EXIF", by its name.
    """

    event_date: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    coordinate_uncertainty_meters: float | None = None
    source_by_fact: tuple[tuple[str, str], ...] = ()


def read_embedded_facts(path: Path, *, medium: Medium, limits: MediaLimits) -> EmbeddedFacts:
    """Return date and place that a file states; all None for a file without notes, or one that cannot be read."""
    found: dict[str, tuple[object, str]] = {}
    try:
        with convert_decoder_errors(path):
            for source, notes in _READERS[medium](path, limits):
                for name, value in _check_facts(notes).items():
                    found.setdefault(name, (value, source))
    except MediaError:
        return EmbeddedFacts()  # met again, and counted, where the file is decoded
    values = {name: value for name, (value, _) in found.items()}
    sources = tuple((name, source) for name, (_, source) in found.items())
    return EmbeddedFacts(**values, source_by_fact=sources)  # type: ignore[arg-type]  # as `_check_facts` checked them


_Notes = Mapping[str, object]
_Reader = Callable[[Path, MediaLimits], Iterator[tuple[str, _Notes]]]


def _check_facts(notes: _Notes) -> dict[str, object]:
    """Return the facts that can be; a date and a position that a device writes for want of one are none."""
    facts: dict[str, object] = {}
    date = notes.get("event_date")
    if isinstance(date, str) and parse_event_date(date) is not None:
        facts["event_date"] = date
    latitude, longitude = notes.get("latitude"), notes.get("longitude")
    has_place = isinstance(latitude, float) and isinstance(longitude, float) and is_on_earth(latitude, longitude)
    if has_place and (latitude, longitude) != (0.0, 0.0):
        facts |= {"latitude": latitude, "longitude": longitude}
        error = notes.get("coordinate_uncertainty_meters")
        if isinstance(error, float) and error > 0:
            facts["coordinate_uncertainty_meters"] = error
    return facts


# ---------------------------------------------------------------- photos


def _read_picture(path: Path, _: MediaLimits) -> Iterator[tuple[str, _Notes]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        with Image.open(path, formats=_PICTURE_FORMATS) as image:
            exif = image.getexif()
            own, place = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
    date = own.get(ExifTags.Base.DateTimeOriginal) or own.get(ExifTags.Base.DateTimeDigitized)
    offset = own.get(ExifTags.Base.OffsetTimeOriginal)
    yield (
        "EXIF",
        {
            "event_date": None if date is None else _read_exif_date(str(date), str(offset or "")),
            "latitude": _read_sexagesimal(place.get(ExifTags.GPS.GPSLatitude), place.get(ExifTags.GPS.GPSLatitudeRef)),
            "longitude": _read_sexagesimal(
                place.get(ExifTags.GPS.GPSLongitude), place.get(ExifTags.GPS.GPSLongitudeRef)
            ),
            "coordinate_uncertainty_meters": _read_number(place.get(ExifTags.GPS.GPSHPositioningError)),
        },
    )


def _read_exif_date(text: str, offset: str) -> str | None:
    """Return `2019:05:04 06:30:00` as ISO 8601."""
    found = re.fullmatch(r"(\d{4})[:-](\d{2})[:-](\d{2})[ T](\d{2}:\d{2}:\d{2})(?:\.\d+)?", text.strip("\0 "))
    if found is None:
        return None
    zone = offset.strip("\0 ") if re.fullmatch(r"[+-]\d{2}:\d{2}|Z", offset.strip("\0 ")) else ""
    return f"{found[1]}-{found[2]}-{found[3]}T{found[4]}{zone}"


def _read_sexagesimal(parts: object, reference: object) -> float | None:
    """Return degrees, minutes and seconds as degrees; south and west are negative."""
    if not isinstance(parts, tuple) or len(parts) != 3 or not isinstance(reference, str):
        return None
    degrees, minutes, seconds = (_read_number(each) for each in parts)
    if degrees is None or minutes is None or seconds is None:
        return None
    sign = -1 if reference.strip("\0 ").upper() in ("S", "W") else 1
    return round(sign * (degrees + minutes / 60 + seconds / 3600), 7)


def _read_number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever Pillow gives: a ratio, a number, None
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if number == number and abs(number) != float("inf") else None  # noqa: PLR0124 - NaN, from 0/0


# ---------------------------------------------------------------- recordings and videos


def _read_recording(path: Path, limits: MediaLimits) -> Iterator[tuple[str, _Notes]]:
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
            chunks = dict(_read_chunks(file))
            if b"guan" in chunks:
                yield "GUANO", _read_guano(chunks[b"guan"].decode("utf-8", "replace"))
            if b"bext" in chunks:
                yield "BWF", {"event_date": _read_broadcast_date(chunks[b"bext"])}
            return
    yield from _read_tags(path, limits)


def _read_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks of a WAV that hold notes."""
    for _ in range(_MOST_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            return
        name, size = struct.unpack("<4sI", header)
        if name in (b"guan", b"bext"):
            yield name, file.read(min(size, _LARGEST_CHUNK_BYTES))
            size -= min(size, _LARGEST_CHUNK_BYTES)
        file.seek(size + size % 2, 1)


def _read_guano(text: str) -> _Notes:
    """Return the facts of GUANO (github.com/riggsd/guano-spec): lines of `Key: value`."""
    notes = {
        key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())
    }
    position = [parse_degrees(part) for part in notes.get("loc position", "").replace(",", " ").split()]
    latitude, longitude = position if len(position) == 2 else (None, None)
    accuracy = parse_degrees(notes.get("loc accuracy", ""))
    return {
        "event_date": notes.get("timestamp"),
        "latitude": latitude,
        "longitude": longitude,
        "coordinate_uncertainty_meters": accuracy,
    }


def _read_broadcast_date(chunk: bytes) -> str | None:
    """Return the date and time of a Broadcast Wave's `bext` (EBU Tech 3285): ten and eight characters at byte 320."""
    day, clock = (part.decode("ascii", "replace").strip("\0 ") for part in (chunk[320:330], chunk[330:338]))
    found = re.fullmatch(r"(\d{4})\D(\d{2})\D(\d{2})", day)
    if found is None:
        return None
    time = re.fullmatch(r"(\d{2})\D(\d{2})\D(\d{2})", clock)
    return "-".join(found.groups()) + ("T" + ":".join(time.groups()) if time else "")


_DATE_TAGS = ("creation_time", "date", "tdrc", "recording_date", "tyer", "year")
_PLACE_TAGS = ("com.apple.quicktime.location.iso6709", "location", "location-eng")
_POSITION = re.compile(r"([+-]\d{1,2}(?:\.\d+)?)([+-]\d{1,3}(?:\.\d+)?)")


def _read_tags(path: Path, limits: MediaLimits) -> Iterator[tuple[str, _Notes]]:
    """Yield the facts of ID3, of Vorbis comments, and of tags of MP4 and Matroska, all as FFmpeg reads them."""
    with open_container(path, limits=limits) as container:
        name = "ID3" if container.format.name in ("mp3", "aac") else "tags"
        streams = [dict(stream.metadata) for stream in container.streams]
        tags = {key.lower(): value for each in (*streams, dict(container.metadata)) for key, value in each.items()}
    dates = (tags[tag].strip() for tag in _DATE_TAGS if tag in tags)
    date = next((each for each in dates if parse_event_date(each) is not None), None)
    position = next((found for tag in _PLACE_TAGS if (found := _POSITION.match(tags.get(tag, "").strip()))), None)
    latitude, longitude = (
        map(float, position.groups())
        if position
        else (parse_degrees(tags.get(tag, "")) for tag in ("latitude", "longitude"))
    )
    yield name, {"event_date": date, "latitude": latitude, "longitude": longitude}


def _read_none(_: Path, __: MediaLimits) -> Iterator[tuple[str, _Notes]]:
    return iter(())


_READERS: Mapping[Medium, _Reader] = {
    Medium.IMAGE: _read_picture,
    Medium.TEXT: _read_none,
    Medium.VIDEO: _read_tags,
    Medium.AUDIO: _read_recording,
}
