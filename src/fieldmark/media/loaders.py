"""The loader of each medium, the medium that a file holds, and the hash of its content."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from fieldmark.errors import EmptyMediaError, MediaError, MediumMismatchError, NotProseError, UnreadableMediaError
from fieldmark.media import audio, image, text, video
from fieldmark.media.container import find_picture_stream, find_sound_stream, open_container
from fieldmark.media.ending.declared import lacks_index
from fieldmark.media.file import check_file, convert_decoder_errors
from fieldmark.media.signatures import list_extensions, list_media
from fieldmark.media.text import NotTextError
from fieldmark.types import (
    Decoding,
    Form,
    ImageContent,
    Item,
    MediaLimits,
    Medium,
    Segment,
    SpectrogramContent,
    TextContent,
)

_HEAD_BYTES = 2**16
_NOTE_SUFFIXES = {".txt", ".text", ".md"}  # of a file so named, it is of interest why it is no note


class Loader(Protocol):
    """One medium's way from a file to segments; a stream, so that no length of recording fills the memory."""

    def __call__(
        self,
        path: Path,
        /,
        *,
        decoding: Decoding,
        limits: MediaLimits,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
    ) -> Iterator[Segment]:
        """Yield the segments of a file; a `MediaError` is raised at the first of them, or at the damaged one."""


LOADERS: dict[Medium, Loader] = {
    Medium.IMAGE: image.load,
    Medium.TEXT: text.load,
    Medium.VIDEO: video.load,
    Medium.AUDIO: audio.load,
}


def load_segments(item: Item, *, decoding: Decoding, limits: MediaLimits) -> Iterator[Segment]:
    """Yield the segments of an item, decoded on demand; whatever goes wrong in it is a `MediaError`.

    The sound of a video is loaded where the item says audio, and an animated GIF as a video where it says video. An
    item's form may say that its sound is a picture of a spectrogram, or its video numbered pictures.

    Raises:
        MissingFileError: There is no such file.
        MediumMismatchError: The file holds another medium than the item says.
        EmptyMediaError: There is nothing in it, or nothing between the item's times.
        TooLargeError: It is beyond one of the limits.
        UnreadableMediaError: It is damaged.
    """
    with convert_decoder_errors(item.path or item.item_id):  # what a consumer raises does not come in here
        yield from _load(item, decoding=decoding, limits=limits)


def _load(item: Item, *, decoding: Decoding, limits: MediaLimits) -> Iterator[Segment]:
    if item.text is not None:
        yield text.from_string(item.text, limits=limits, name=item.item_id)
        return
    path = _path(item)
    if item.form is Form.FRAMES:
        yield from video.load_frames(
            path,
            decoding=decoding,
            limits=limits,
            start_seconds=item.start_seconds,
            end_seconds=item.end_seconds,
            numbers=item.frame_numbers,
        )
        return
    if item.form is Form.SPECTROGRAM:
        yield _load_spectrogram(path, limits=limits)
        return
    if item.medium is not Medium.TEXT:  # which is opened once, since that takes as long as all the rest
        check_file(path, max_bytes=limits.max_bytes)
        possible = list_media(_read_head(path))
        if possible and item.medium not in possible:
            raise MediumMismatchError(path=path, got=possible[0], expected=item.medium)
    segments = LOADERS[item.medium](
        path, decoding=decoding, limits=limits, start_seconds=item.start_seconds, end_seconds=item.end_seconds
    )
    try:
        first = next(segments, None)
    except (UnreadableMediaError, EmptyMediaError) as error:
        _check_medium(path, expected=item.medium, error=error)
        raise
    if first is None:
        raise EmptyMediaError(path=path, reason="no part of it can be decoded")
    yield first
    yield from segments


def detect_medium(path: Path) -> Medium:
    """Return the medium that a file holds, by its content.

    A moving picture makes a video, with or without sound; the cover of a sound file does not. GIF is an image, moving
    or not. The extension counts, in any letter case, only for a container that is too damaged to look into.

    Raises:
        MissingFileError: There is no such file.
        EmptyMediaError: The file has zero bytes.
        MediaError: It holds none of the four media.
    """
    with convert_decoder_errors(path):
        return _detect(path)


def _detect(path: Path) -> Medium:
    check_file(path)
    head = _read_head(path)
    possible = list_media(head)
    if len(possible) == 1 or Medium.IMAGE in possible:
        return possible[0]
    no_text = None if possible else _check_text(head, path=path)
    if not possible and no_text is None:
        return Medium.TEXT
    found = _medium_of_streams(path)
    if found is not None:
        return found
    if isinstance(no_text, NotTextError) and path.suffix.lower() not in _NOTE_SUFFIXES:
        raise MediaError(
            f"The content of '{path}' is not an image, text, video or sound that can be read. "
            "Give an image, UTF-8 text, or a file that FFmpeg can decode."
        ) from no_text
    if no_text is not None:
        raise no_text
    return Medium.AUDIO if path.suffix.lower() in list_extensions(Medium.AUDIO) else possible[0]


def _check_text(head: bytes, *, path: Path) -> MediaError | None:
    """Return why a file is no text that can be read; None if it is one.

    Raises:
        NotProseError: It is characters of another kind, whatever else may be found in it.
    """
    try:
        text.check_head(head, path=path)
    except NotProseError:
        raise
    except MediaError as error:
        return error
    return None


def hash_content(item: Item) -> str:
    """Return the SHA-256, in hexadecimal, of an item's content: file bytes or text, medium, and times.

    Two parts of one recording differ, and so do the sound and the picture of one video; a text in a file and the same
    text in a manifest do not.

    Raises:
        MissingFileError: There is no such file.
        EmptyMediaError: The file has zero bytes.
        UnreadableMediaError: The file cannot be read.
    """
    times = (None if seconds is None else float(seconds) for seconds in (item.start_seconds, item.end_seconds))
    digest = hashlib.sha256(f"{item.medium} {' '.join(map(str, times))}\n".encode())
    if item.text is not None:
        digest.update(item.text.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()
    for block in _read_blocks(item):
        digest.update(block)
    return digest.hexdigest()


def hash_bytes(item: Item) -> str:
    """Return the SHA-256, in hexadecimal, of the bytes of an item's file, whatever part of it the item is.

    Raises:
        MediaError: As for `hash_content`.
    """
    digest = hashlib.sha256()
    for block in _read_blocks(item):
        digest.update(block)
    return digest.hexdigest()


def measure_bytes(item: Item) -> int:
    """Return the size of an item's file, of numbered pictures that of all.

    Raises:
        MediaError: As for `hash_content`.
    """
    path = _path(item)
    with convert_decoder_errors(path):
        return sum(part.stat().st_size for part in _list_files(item))


def read_text(item: Item) -> str:
    """Return the text of a text item; passages of a document follow each other, a line for each.

    Raises:
        MediaError: As for `load_segments`.
    """
    passages = []
    for segment in load_segments(item, decoding=Decoding(), limits=MediaLimits()):
        assert isinstance(segment.content, TextContent)  # noqa: S101 - what a text is loaded as
        passages.append(segment.content.text)
    return "\n".join(passages)


def _list_files(item: Item) -> list[Path]:
    path = _path(item)
    return video.list_frame_files(path, numbers=item.frame_numbers) if item.form is Form.FRAMES else [path]


def _read_blocks(item: Item) -> Iterator[bytes]:
    with convert_decoder_errors(_path(item)):
        for part in _list_files(item):
            check_file(part)
            with convert_decoder_errors(part), part.open("rb") as file:
                while block := file.read(2**20):
                    yield block


def _load_spectrogram(path: Path, *, limits: MediaLimits) -> Segment:
    """Load the image uncropped and at its own size: its axes are time and frequency."""
    [segment] = image.load(path, decoding=Decoding(), limits=limits)
    assert isinstance(segment.content, ImageContent)  # noqa: S101 - what the loader of images gives
    return Segment(SpectrogramContent(segment.content.pixels))


def _path(item: Item) -> Path:
    if item.path is None:
        raise EmptyMediaError(path=item.item_id, reason="its row gives neither a path nor a text")
    return item.path


def _read_head(path: Path) -> bytes:
    with convert_decoder_errors(path), path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _medium_of_streams(path: Path) -> Medium | None:
    """Return video or audio, by the tracks of a container; None if FFmpeg finds no container."""
    try:
        with open_container(path, limits=MediaLimits()) as container:
            if find_picture_stream(container) is not None:
                return Medium.VIDEO
            return None if find_sound_stream(container) is None else Medium.AUDIO
    except UnreadableMediaError:
        return None


def _check_medium(path: Path, *, expected: Medium, error: MediaError) -> None:
    """Check whether a file that did not load holds another medium.

    Raises:
        MediumMismatchError: It does.
    """
    if lacks_index(path):  # its tracks are unknown, so its name alone would tell
        return
    try:
        got = detect_medium(path)
    except MediaError:
        return
    if got is not expected:
        raise MediumMismatchError(path=path, got=got, expected=expected) from error
