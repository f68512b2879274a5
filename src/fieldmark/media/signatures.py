"""The one table of file formats: how files begin, what they may hold, MIME types, extensions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fieldmark.types import Medium

# ---------------------------------------------------------------- the table

HEAD_BYTES = 64
"""Bytes of a file that any signature needs."""

OPAQUE_TYPE = "application/octet-stream"
"""The MIME type of what common browsers do not show."""

RAW_PHOTO = "raw photo"
"""The name of the format of raw photos that are no TIFF; those of Nikon, Sony and others begin as any TIFF does."""

_IMAGE, _VIDEO, _AUDIO = Medium.IMAGE, Medium.VIDEO, Medium.AUDIO


@dataclass(frozen=True, slots=True)
class FileFormat:
    """One way in which files begin.

    Args:
        signature: Matches the beginning of a file.
        media: What such a file may hold, the likeliest first: MIME type and extensions, the usual one first. No browser
            runs any of these types: there is no HTML, no SVG, no script.
        is_conclusive: The signature is enough to tell a file of this format from any text.
    """

    name: str
    signature: re.Pattern[bytes]
    media: Mapping[Medium, tuple[str, str]]
    is_conclusive: bool = True

    @property
    def extensions(self) -> tuple[str, ...]:
        """Extensions that promise this format, the usual one first."""
        return tuple(dict.fromkeys(each for _, extensions in self.media.values() for each in extensions.split()))


def _row(
    name: str, signature: bytes, media: Mapping[Medium, tuple[str, str]], *, is_conclusive: bool = True
) -> FileFormat:
    return FileFormat(name, re.compile(signature, re.DOTALL), media, is_conclusive)


FORMATS = (
    _row("JPEG", rb"\xff\xd8\xff", {_IMAGE: ("image/jpeg", ".jpg .jpeg .jpe .jfif")}),
    _row("PNG", rb"\x89PNG\r\n\x1a\n", {_IMAGE: ("image/png", ".png")}),
    _row("WebP", rb"RIFF.{4}WEBPVP8", {_IMAGE: ("image/webp", ".webp")}),
    _row("BMP", rb"BM.{4}\x00{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00{3}", {_IMAGE: ("image/bmp", ".bmp")}),
    _row(
        RAW_PHOTO,
        rb"II\*\x00.{4}CR|\x00{3}.ftypcrx |FUJIFILMCCD-RAW|IIU\x00|IIR[OS]|MMOR|FOVb|\x00MRM",
        {_IMAGE: (OPAQUE_TYPE, ".cr2 .cr3 .raf .rw2 .orf .x3f .mrw")},
    ),
    _row("TIFF", rb"II[*+]\x00|MM\x00[*+]", {_IMAGE: ("image/tiff", ".tif .tiff")}),
    _row("JPEG 2000", rb"\x00{3}\x0cjP  |\xff\x4f\xff\x51", {_IMAGE: (OPAQUE_TYPE, ".jp2 .j2k")}),
    _row("JPEG XL", rb"\xff\x0a|\x00{3}\x0cJXL \r\n\x87\n", {_IMAGE: ("image/jxl", ".jxl")}),
    _row("AVIF", rb"\x00{3}.ftypavi[fs]", {_IMAGE: ("image/avif", ".avif")}),
    _row("HEIF", rb"\x00{3}.ftyp(he[iv][cxms]|m[is]f1)", {_IMAGE: (OPAQUE_TYPE, ".heic .heif .hif .avif")}),
    _row("GIF", rb"GIF8[79]a.{5}", {_IMAGE: ("image/gif", ".gif"), _VIDEO: ("image/gif", ".gif")}),
    _row("WAV", rb"(RIFF|RF64).{4}WAVE", {_AUDIO: ("audio/wav", ".wav .wave")}),
    _row("AIFF", rb"FORM.{4}AIF[FC]", {_AUDIO: (OPAQUE_TYPE, ".aif .aiff .aifc")}),
    _row("FLAC", rb"fLaC[\x00\x80]", {_AUDIO: ("audio/flac", ".flac")}),
    _row("W64", rb"riff\x2e\x91\xcf\x11", {_AUDIO: (OPAQUE_TYPE, ".w64")}),
    _row("AU", rb"\.snd\x00", {_AUDIO: (OPAQUE_TYPE, ".au .snd")}),
    _row("CAF", rb"caff\x00", {_AUDIO: (OPAQUE_TYPE, ".caf")}),
    _row("MP3", rb"ID3[\x02-\x04]", {_AUDIO: ("audio/mpeg", ".mp3 .aac")}),  # AAC may begin with such a tag too
    _row("MP3", rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]", {_AUDIO: ("audio/mpeg", ".mp3 .aac")}, is_conclusive=False),
    _row("AAC", rb"\xff[\xf0\xf1\xf8\xf9]", {_AUDIO: ("audio/aac", ".aac")}, is_conclusive=False),
    _row("Ogg", rb"OggS\x00", {_AUDIO: ("audio/ogg", ".ogg .oga .opus .spx"), _VIDEO: ("video/ogg", ".ogv")}),
    _row("M4A", rb"\x00{3}.ftypM4[AB] ", {_AUDIO: ("audio/mp4", ".m4a .m4b"), _VIDEO: ("video/mp4", ".mp4 .m4v .mov")}),
    _row(
        "MP4",
        rb"[\x00-\x08].{3}(ftyp|moov|mdat|wide|skip|free|pnot)",
        {_VIDEO: ("video/mp4", ".mp4 .m4v .mov .3gp"), _AUDIO: ("audio/mp4", ".m4a .m4b")},
    ),
    _row("Matroska", rb"\x1aE\xdf\xa3", {_VIDEO: ("video/webm", ".mkv .webm"), _AUDIO: ("audio/webm", ".mka .weba")}),
    _row("AVI", rb"RIFF.{4}AVI ", {_VIDEO: ("video/x-msvideo", ".avi"), _AUDIO: (OPAQUE_TYPE, "")}),
    _row("ASF", rb"0&\xb2u\x8ef\xcf\x11", {_VIDEO: (OPAQUE_TYPE, ".wmv .asf"), _AUDIO: (OPAQUE_TYPE, ".wma")}),
    _row("FLV", rb"FLV\x01", {_VIDEO: (OPAQUE_TYPE, ".flv"), _AUDIO: (OPAQUE_TYPE, "")}),
    _row("MPEG", rb"\x00\x00\x01\xba", {_VIDEO: (OPAQUE_TYPE, ".mpg .mpeg .vob"), _AUDIO: (OPAQUE_TYPE, "")}),
)
"""All formats; the first whose signature matches counts. FFmpeg and Pillow may read others."""

_ANY_SIGNATURE = re.compile(b"|".join(b"(?:" + each.signature.pattern + b")" for each in FORMATS), re.DOTALL)
"""A note begins like none of them, and one pattern tells so sooner than thirty."""


def find_format(head: bytes) -> FileFormat | None:
    """Return the format of a file by its first `HEAD_BYTES`; None for text and whatever the table does not hold."""
    if not _ANY_SIGNATURE.match(head):
        return None
    return next((each for each in FORMATS if each.signature.match(head)), None)


def list_media(head: bytes) -> tuple[Medium, ...]:
    """Return the media that a file may hold, the likeliest first; empty where its beginning does not tell."""
    found = find_format(head)
    return tuple(found.media) if found and found.is_conclusive else ()


def choose_mime_type(head: bytes, *, medium: Medium) -> str:
    """Return the MIME type under which a file is sent for an item of some medium."""
    if medium is Medium.TEXT:
        return "text/plain; charset=utf-8"
    found = find_format(head)
    types = {each: mime_type for each, (mime_type, _) in found.media.items()} if found else {}
    if medium is _AUDIO and _IMAGE in types:
        return types[_IMAGE]  # a picture of a spectrogram
    return types.get(medium, OPAQUE_TYPE)


def list_extensions(medium: Medium) -> frozenset[str]:
    """Return the extensions that promise a file of some medium."""
    found = (each.media[medium][1].split() for each in FORMATS if medium in each.media)
    return frozenset(extension for extensions in found for extension in extensions)
