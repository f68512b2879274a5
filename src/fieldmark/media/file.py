"""Checks of untrusted files that all loaders share, and clear errors for damaged ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fieldmark.errors import EmptyMediaError, MediaError, MissingFileError, TooLargeError, UnreadableMediaError


def check_file(path: Path, *, max_bytes: int | None = None) -> int:
    """Check what can be known of a file without reading it; return its size in bytes.

    Raises:
        MissingFileError: Nothing is there, or a folder, a pipe or a device.
        EmptyMediaError: The file has zero bytes.
        TooLargeError: The file has more than `max_bytes`.
        UnreadableMediaError: The file may not be looked at.
    """
    with convert_decoder_errors(path):
        if not path.is_file():
            raise MissingFileError(path=path, met=_met(path))
        size = path.stat().st_size
    if size == 0:
        raise EmptyMediaError(path=path, reason="it has zero bytes")
    if max_bytes is not None and size > max_bytes:
        raise TooLargeError(path=path, quantity="bytes", got=size, allowed=max_bytes)
    return size


def _met(path: Path) -> str | None:
    """Describe what is at a path that is no file."""
    if path.is_dir():
        return "a folder"
    if path.exists():
        return "a pipe or a device"
    return "a link that leads nowhere" if path.is_symlink() else None


@contextmanager
def convert_decoder_errors(path: Path | str, *, advice: str = "") -> Iterator[None]:
    """Convert whatever a decoder raises inside the block to `UnreadableMediaError`.

    Decoders state no list of what they raise on damaged bytes (`struct.error`, `IndexError`, `SyntaxError` have all
    been met), so the block must hold the work on one file and nothing else.

    Args:
        advice: What else than replacing the file would help; empty for nothing.
    """
    try:
        yield
    except MediaError:
        raise
    except Exception as error:
        reason = "; ".join(filter(None, (_reason(error), advice)))
        raise UnreadableMediaError(path=path, reason=reason) from error


def _reason(error: Exception) -> str:
    """Return one line of an error's text, without the path that the message names already."""
    words = (error.strerror if isinstance(error, OSError) else getattr(error, "strerror", None)) or str(error)
    return words.strip().partition("\n")[0].rstrip(".") or type(error).__name__
