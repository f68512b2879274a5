"""Decoding in a process apart: a codec that ends its process costs one file, not the run.

Codecs of sound and video, and of pictures beyond the common ones, are large C libraries that meet untrusted files. Here
they run in a process that takes items one after the other and sends their segments back. If it ends, the item that it
was at cannot be used, and the next item gets a new process.
"""

import atexit
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO, cast, final

import torch

from fieldmark.errors import FieldmarkError, MediaError, UnreadableMediaError
from fieldmark.media.loaders import load_segments
from fieldmark.media.signatures import HEAD_BYTES, find_format
from fieldmark.types import Decoding, Item, MediaLimits, Medium, Segment

_COMMON_PICTURES = ("JPEG", "PNG", "WebP", "BMP", "TIFF", "GIF")
"""Formats that Pillow reads by libraries which browsers feed with the whole web; they are decoded where they are."""

_MAX_IDLE = 2
_LENGTH = struct.Struct("<Q")
_END_SECONDS = 5.0


def load_segments_apart(
    item: Item, *, decoding: Decoding, limits: MediaLimits, starts: bool = True
) -> Iterator[Segment]:
    """Yield the segments of an item as `load_segments` does, decoded in a process apart where its codec asks for it.

    Args:
        starts: Whether a process may be started for it, which takes a second; otherwise one is used if it is there.

    Raises:
        MediaError: As for `load_segments`; or the decoder has ended.
    """
    if not _is_risky(item) or not (starts or _POOL.is_running):
        yield from load_segments(item, decoding=decoding, limits=limits)
        return
    decoder = _POOL.take()
    is_done = False
    try:
        yield from decoder.load(item, decoding=decoding, limits=limits)
        is_done = True
    except MediaError:
        is_done = decoder.is_alive
        raise
    finally:
        if is_done:
            _POOL.give_back(decoder)
        else:  # it has ended, or it would go on sending an item that nobody takes
            decoder.end()


def start_decoder() -> None:
    """Start a process that waits for items, so that the first one finds it ready."""
    if not _POOL.is_running:
        _POOL.give_back(_Decoder())


def _is_risky(item: Item) -> bool:
    """Return whether an item's file is read by codecs that may end the process."""
    if item.path is None or item.medium is Medium.TEXT:
        return False
    if item.medium is not Medium.IMAGE:
        return True
    try:
        with item.path.open("rb") as file:
            met = find_format(file.read(HEAD_BYTES))
    except OSError:
        return False  # the loader says what is wrong
    return met is None or met.name not in _COMMON_PICTURES


@final
class _Pool:
    """Processes that wait for items."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._idle: list[_Decoder] = []

    @property
    def is_running(self) -> bool:
        """True where a process waits."""
        return bool(self._idle)

    def take(self) -> "_Decoder":
        """Return a process that waits, or a new one."""
        with self._guard:
            found = self._idle.pop() if self._idle else None
        if found is not None and found.is_alive:
            return found
        if found is not None:
            found.end()
        return _Decoder()

    def give_back(self, decoder: "_Decoder") -> None:
        """Let a process wait for the next item; of too many, it ends."""
        with self._guard:
            is_wanted = len(self._idle) < _MAX_IDLE
            if is_wanted:
                self._idle.append(decoder)
        if not is_wanted:
            decoder.end()

    def forget(self) -> None:
        """Start anew, without the processes of another one."""
        self._guard = threading.Lock()
        self._idle = []

    def end_all(self) -> None:
        """End all that wait."""
        with self._guard:
            idle, self._idle = self._idle, []
        for decoder in idle:
            decoder.end()


_POOL = _Pool()
atexit.register(_POOL.end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.forget)  # the processes belong to the parent


@final
class _Decoder:
    """A process that decodes one item at a time."""

    def __init__(self) -> None:
        # Not by `multiprocessing`, which runs the script of the user again in each of its processes.
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and this module
            [sys.executable, "-c", f"from {__name__} import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self._stdin, self._stdout = cast("BinaryIO", self._process.stdin), cast("BinaryIO", self._process.stdout)

    @property
    def is_alive(self) -> bool:
        """True where the process runs."""
        return self._process.poll() is None

    def load(self, item: Item, *, decoding: Decoding, limits: MediaLimits) -> Iterator[Segment]:
        """Yield the segments of an item.

        Raises:
            MediaError: As for `load_segments`; or the process has ended.
        """
        try:
            _send(self._stdin, pickle.dumps((item, decoding, limits)))
            while True:
                # What the process sends is as good as what this one would have made: it runs the same code.
                message = pickle.loads(_receive(self._stdout))  # noqa: S301
                if message is None:
                    return
                if isinstance(message, Exception):
                    raise message
                yield message
        except (EOFError, BrokenPipeError):
            code = self._process.wait(_END_SECONDS)
            raise UnreadableMediaError(
                path=item.path or item.item_id, reason=f"its decoder has ended ({_describe_end(code)})"
            ) from None

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait(_END_SECONDS)
        self._stdin.close()
        self._stdout.close()


def _describe_end(code: int) -> str:
    """Return how a process has ended, in words."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _send(stream: BinaryIO, message: bytes) -> None:
    stream.write(_LENGTH.pack(len(message)))
    stream.write(message)
    stream.flush()


def _receive(stream: BinaryIO) -> bytes:
    """Return the next message.

    Raises:
        EOFError: There is none, or only a part of it.
    """
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    [length] = _LENGTH.unpack(head)
    message = stream.read(length)
    if len(message) < length:
        raise EOFError
    return message


# ---------------------------------------------------------------- in the process apart


class _Pickler(pickle.Pickler):
    """Writes tensors as arrays, which takes one copy, and errors with all their fields."""

    def reducer_override(self, value: object) -> Any:  # noqa: ANN401 - a tuple of several forms, as pickle has it
        """Return how a value is made again."""
        if isinstance(value, torch.Tensor):
            return torch.from_numpy, (value.numpy(),)
        if isinstance(value, Exception) and not isinstance(value, FieldmarkError):  # those know how they are made again
            return _rebuild_error, (type(value), value.args, dict(vars(value)))
        return NotImplemented


def _rebuild_error(kind: type[Exception], args: tuple[object, ...], values: dict[str, object]) -> Exception:
    """Return an error without running its constructor, which asks for other arguments than it has."""
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(values)
    return error


def _dump(message: object) -> bytes:
    content = BytesIO()
    _Pickler(content, protocol=pickle.HIGHEST_PROTOCOL).dump(message)
    return content.getvalue()


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Decode what is asked for until nobody asks."""
    torch.set_num_threads(1)
    while True:
        try:
            item, decoding, limits = pickle.loads(_receive(requests))  # noqa: S301 - of the parent process
        except EOFError:
            return
        try:
            for segment in load_segments(item, decoding=decoding, limits=limits):
                _send(answers, _dump(segment))
        except BrokenPipeError:
            return
        except Exception as error:  # noqa: BLE001 - the parent raises it
            _send(answers, _dump(error))
        else:
            _send(answers, _dump(None))


def main() -> None:
    """Serve the process that has started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's, which ends this process
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between the answers
    _serve(sys.stdin.buffer, answers)
