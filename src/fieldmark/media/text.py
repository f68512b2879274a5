"""Texts: a note, a document or a string to its passages."""

from collections.abc import Iterator
from pathlib import Path

from fieldmark.errors import (
    EmptyMediaError,
    MediumMismatchError,
    NotProseError,
    TooLargeError,
    UnreadableMediaError,
)
from fieldmark.media.file import check_file, convert_decoder_errors
from fieldmark.media.signatures import HEAD_BYTES, list_media
from fieldmark.media.writing.document import find_document, read_passages
from fieldmark.media.writing.encoding import DecodedText, decode_text
from fieldmark.media.writing.prose import find_other_kind
from fieldmark.types import Decoding, MediaLimits, MediaWarning, Medium, Segment, TextContent

ENCODING = "encoding"
"""The kind of the warning on how a text was decoded."""

_LONGEST_CHARACTER_BYTES = 4
_HEAD_BYTES = 2**16


class NotTextError(UnreadableMediaError):
    """Bytes that are no text in any encoding."""


def load(
    path: Path,
    *,
    decoding: Decoding,  # noqa: ARG001 - one signature for all media; a text is not cut
    limits: MediaLimits,
    start_seconds: float | None = None,  # noqa: ARG001
    end_seconds: float | None = None,  # noqa: ARG001
) -> Iterator[Segment]:
    r"""Yield a note as one segment, a PDF page by page, a DOCX paragraph by paragraph; line breaks become `\n`.

    A note is read as what its byte-order mark says, as UTF-8 (a few stray bytes become replacement marks), or in
    another encoding where that is certain. What was decided stands in the warnings of its segment.

    Raises:
        MissingFileError: There is no such file.
        MediumMismatchError: It is a picture, a video or a sound.
        EmptyMediaError: There is nothing but white space.
        TooLargeError: Too many bytes or characters.
        NotProseError: It is markup, settings, a table or a log, or a document that cannot be read here.
        UnreadableMediaError: It is text in an encoding that cannot be told.
        NotTextError: The bytes are binary.
    """
    size = check_file(path, max_bytes=limits.max_bytes)
    most = _LONGEST_CHARACTER_BYTES * (limits.max_characters + 1)
    with convert_decoder_errors(path):
        with path.open("rb") as file:
            data = file.read(min(size, most) + 1)  # so much memory is taken before a byte is read
        others = list_media(data[:HEAD_BYTES])
        if others:
            raise MediumMismatchError(path=path, got=others[0], expected=Medium.TEXT)
        document = find_document(data[:_HEAD_BYTES], path=path)
    if document is not None:
        for passage in read_passages(path, document, limits=limits):
            yield from_string(passage, limits=limits, name=path)
        return
    decoded = _decode(data, path=path, is_whole=len(data) <= most)
    if len(data) > most:  # counted as if the rest were like the beginning, and not read for the sake of a message
        got = round(len(decoded.text) * size / len(data))
        raise TooLargeError(path=path, quantity="characters", got=got, allowed=limits.max_characters)
    warnings = () if decoded.warning is None else (MediaWarning(ENCODING, decoded.warning),)
    yield from_string(decoded.text, limits=limits, name=path, warnings=warnings)


def from_string(
    text: str, *, limits: MediaLimits, name: Path | str = "the given text", warnings: tuple[MediaWarning, ...] = ()
) -> Segment:
    r"""Return a text of a manifest or a query as a segment; line breaks become `\n`.

    Args:
        name: What an error calls the text: its file or item.
        warnings: What is in doubt in how it was decoded.

    Raises:
        EmptyMediaError: There is nothing but white space.
        TooLargeError: Too many characters.
        UnreadableMediaError: The string holds NUL, or half a surrogate pair, which no encoding can hold.
    """
    if len(text) > limits.max_characters:
        raise TooLargeError(path=name, quantity="characters", got=len(text), allowed=limits.max_characters)
    if "\x00" in text or not _has_whole_characters(text):
        raise UnreadableMediaError(path=name, reason="it holds NUL or half a surrogate pair, which no text has")
    if not text.strip():
        raise EmptyMediaError(path=name, reason="it holds nothing but white space")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return Segment(TextContent(text), warnings=warnings)


def _has_whole_characters(text: str) -> bool:
    try:
        text.encode()  # a tenth of the time of a regular expression
    except UnicodeEncodeError:
        return False
    return True


def check_head(head: bytes, *, path: Path) -> None:
    """Check whether a file that begins like this is a note or a document that `load` reads.

    Raises:
        NotProseError: It is characters or a document of another kind.
        UnreadableMediaError: It is text in an encoding that cannot be told, or a damaged document.
        EmptyMediaError: It is a document without text.
        NotTextError: It is no text at all.
    """
    document = find_document(head, path=path)
    if document is None:
        _decode(head, path=path, is_whole=False)
    else:
        next(read_passages(path, document, limits=MediaLimits()))


def _decode(data: bytes, *, path: Path, is_whole: bool) -> DecodedText:
    """Decode a note.

    Raises:
        NotTextError: It is binary.
        UnreadableMediaError: It is in no encoding that can be told.
        NotProseError: It is no note.
    """
    try:
        decoded = decode_text(data, is_whole=is_whole)
    except UnicodeError as error:
        raise UnreadableMediaError(path=path, reason=str(error)) from error
    except ValueError as error:
        raise NotTextError(path=path, reason=str(error)) from error
    other = find_other_kind(decoded.text, suffix=path.suffix)
    if other is not None:
        raise NotProseError(path=path, met=other)
    return decoded
