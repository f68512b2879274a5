"""Files that are written whole or not at all, and reports as values that JSON knows."""

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Protocol, runtime_checkable

_ATTEMPTS = 3
"""Times that a file is written whose beginning others may have cleared away."""
_REST_SECONDS = 3600
"""So long after its last byte, half a file is that of a process which was killed."""


@contextmanager
def open_replacement(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once it is whole and on disk; on failure `path` stays as it was.

    Raises:
        OSError: The disk is full, or the folder may not be written.
    """
    # One name, so that what a killed process left is overwritten by the next.
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, whole or not at all.

    Raises:
        OSError: The disk is full, or the folder may not be written.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a content, whole or not at all.

    Raises:
        OSError: The disk is full, or the folder may not be written.
    """
    with open_replacement(path) as file:
        file.write(content)


def write_shared_bytes(path: Path, content: bytes) -> None:
    """Write a content, whole or not at all, to a file that other processes may write at the same time.

    The halves that killed processes left of it are cleared away.

    Raises:
        OSError: The disk is full, or the folder may not be written.
    """
    _clear_rests(path)
    for attempt in range(_ATTEMPTS):
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        try:
            _write_durably(partial, content)
            partial.replace(path)
        except FileNotFoundError:  # another process took it for the rest of a killed one
            if attempt == _ATTEMPTS - 1 or not path.parent.is_dir():
                raise
            continue
        finally:
            partial.unlink(missing_ok=True)
        break
    _sync_folder(path.parent)


def _clear_rests(path: Path) -> None:
    with suppress(OSError), os.scandir(path.parent) as entries:  # without the folder, the writing tells
        for rest in entries:
            if rest.name.startswith(f".{path.name}.") and rest.name.endswith(".partial"):
                with suppress(OSError):
                    if time.time() - rest.stat().st_mtime > _REST_SECONDS:
                        Path(rest).unlink()


def write_new_bytes(path: Path, content: bytes) -> None:
    """Write a content, whole or not at all, where no file is yet; of several writers at once, one succeeds.

    Raises:
        FileExistsError: There is a file already.
        OSError: The disk is full, or the folder may not be written.
    """
    whole = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        _write_durably(whole, content)
        os.link(whole, path)  # fails where the name is taken, on network file systems too
    finally:
        whole.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_stamp(path: Path) -> tuple[int, ...] | None:
    """Return what changes with a file, whatever its times were set to; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; only POSIX systems can, and need it."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@runtime_checkable
class _HasKeys(Protocol):
    json_keys: ClassVar[tuple[str, ...]]


@runtime_checkable
class _HasValues(Protocol):
    def json_values(self) -> Mapping[str, object]: ...


def encode_report(report: object) -> dict[str, Any]:
    """Return a report as the values that JSON knows, by key: what `--json` prints and the API answers.

    A mapping keeps its keys. A dataclass has the keys of its fields, or those of its `json_keys`: paths of attributes,
    whose last name is the key unless another one stands before `=`. A class whose JSON is arranged otherwise gives
    its keys and values, of any type known here, by a method `json_values`.

    Example:
        >>> from fractions import Fraction
        >>> class Part:
        ...     json_keys = ("name", "size.numerator", "below=size.denominator")
        ...     name, size = Path("half"), Fraction(1, 2)
        >>> encode_report(Part())
        {'name': 'half', 'numerator': 1, 'below': 2}
    """
    if isinstance(report, Mapping):
        return {str(key): _encode(value) for key, value in report.items()}
    if isinstance(report, _HasValues):
        return encode_report(report.json_values())
    if isinstance(report, _HasKeys):
        return dict(_read_key(report, key) for key in report.json_keys)
    if not is_dataclass(report) or isinstance(report, type):
        raise TypeError(f"{type(report).__name__} cannot be written as JSON; give a dataclass or a mapping")
    return {field.name: _encode(getattr(report, field.name)) for field in fields(report)}


def _read_key(report: object, key: str) -> tuple[str, object]:
    name, _, path = key.rpartition("=")
    return name or path.rpartition(".")[2], _encode(attrgetter(path)(report))


def _encode(value: object) -> object:
    """A value of a report as JSON knows it; numbers keep every digit, and NaN stays NaN."""
    match value:
        case StrEnum() | Path():
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple():
            return [_encode(each) for each in value]
        case _:
            return encode_report(value)
