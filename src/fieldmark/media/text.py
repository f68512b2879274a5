"""Texts: a file or a string to one text."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from fieldmark.errors import EmptyMediaError, TooLargeError, UnreadableMediaError
from fieldmark.media.file import check_file, convert_decoder_errors
from fieldmark.types import Decoding, MediaLimits, Segment, TextContent

_BYTE_ORDER_MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_LARGEST_SHARE_OF_ACCENTS = 0.25  # western European prose stays under 0.1; Cyrillic, Greek and CJK lie above 0.5
_LONGEST_CHARACTER_BYTES = 4


def load(
    path: Path,
    *,
    decoding: Decoding,  # noqa: ARG001 - one signature for all media; a text is not cut
    limits: MediaLimits,
    start_seconds: float | None = None,  # noqa: ARG001
    end_seconds: float | None = None,  # noqa: ARG001
) -> Iterator[Segment]:
    r"""Yield the whole text as one segment, its line breaks as `\n`.

    Read as what its byte-order mark says, else as UTF-8. Bytes that are no UTF-8 are read as Windows-1252 (which
    holds Latin-1) where they look like it: no control characters, and at most a quarter of the bytes not ASCII, so
    that Cyrillic or Chinese in an encoding of its own is refused and not misread.

    Raises:
        MissingFileError: There is no such file.
        EmptyMediaError: There is nothing but white space.
        TooLargeError: Too many bytes or characters.
        UnreadableMediaError: The bytes are binary, or text in an encoding that cannot be told.
    """
    check_file(path, max_bytes=limits.max_bytes)
    most = _LONGEST_CHARACTER_BYTES * (limits.max_characters + 1)
    with convert_decoder_errors(path), path.open("rb") as file:
        data = file.read(most + 1)
    try:
        decoded = _decode(data, is_whole=len(data) <= most)
    except ValueError as error:
        raise UnreadableMediaError(path=path, reason=str(error)) from error
    if len(data) > most:  # counted as if the rest were like the beginning, and not read for the sake of a message
        got = round(len(decoded) * path.stat().st_size / len(data))
        raise TooLargeError(path=path, quantity="characters", got=got, allowed=limits.max_characters)
    yield from_string(decoded, limits=limits, name=path)


def from_string(text: str, *, limits: MediaLimits, name: Path | str = "the given text") -> Segment:
    r"""Return a text of a manifest or a query as a segment; line breaks become `\n`.

    Args:
        name: What an error calls the text: its file or item.

    Raises:
        EmptyMediaError: There is nothing but white space.
        TooLargeError: Too many characters.
        UnreadableMediaError: The string holds NUL, or half a surrogate pair, which no encoding can hold.
    """
    if len(text) > limits.max_characters:
        raise TooLargeError(path=name, quantity="characters", got=len(text), allowed=limits.max_characters)
    if re.search("[\x00\ud800-\udfff]", text):
        raise UnreadableMediaError(path=name, reason="it holds NUL or half a surrogate pair, which no text has")
    if not text.strip():
        raise EmptyMediaError(path=name, reason="it holds nothing but white space")
    return Segment(TextContent(text.replace("\r\n", "\n").replace("\r", "\n")))


def is_text(head: bytes) -> bool:
    """Return whether a file that begins like this is a text that `load` reads."""
    try:
        return not _CONTROL.search(_decode(head, is_whole=False))
    except ValueError:
        return False


def _decode(data: bytes, *, is_whole: bool) -> str:
    """Decode some bytes; if they are not the whole, a character cut off at their end is left out.

    Raises:
        ValueError: The bytes are no text; says why.
    """
    marked = (name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark))
    encoding = next(marked, None)
    if encoding is None and b"\x00" in data:
        raise ValueError("it holds NUL bytes, so it is binary, or UTF-16 without a byte-order mark; save it as UTF-8")
    try:
        return codecs.getincrementaldecoder(encoding or "utf-8")().decode(data, final=is_whole)
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise ValueError(f"its byte-order mark says {encoding}, and it is not; save it as UTF-8") from error
        return _decode_western(data)


def _decode_western(data: bytes) -> str:
    """Decode bytes that are no UTF-8 as Windows-1252, if they look like it."""
    refused = "it is neither UTF-8 nor plainly Windows-1252; save it as UTF-8"
    try:
        decoded = data.decode("cp1252")
    except UnicodeDecodeError as error:
        raise ValueError(refused) from error
    accents = sum(byte >= 0x80 for byte in data)
    if accents > _LARGEST_SHARE_OF_ACCENTS * len(data) or _CONTROL.search(decoded):
        raise ValueError(refused)
    return decoded
