"""The lanes of searches: a long sound is encoded in a lane of its own, with its progress, before it is searched for."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import final

from fieldmark.api.errors import answer_error
from fieldmark.api.schemas import SearchAnswer
from fieldmark.api.service import Service
from fieldmark.errors import FieldmarkError, RequestError
from fieldmark.media.container import measure_seconds

EVENTS_TYPE = "text/event-stream"
_POLL_SECONDS = 0.2


@final
class LongSearch:
    """A search whose long files are encoded first, one search at a time, while short ones go on.

    Args:
        answer: Does the search, in a thread.
        files: Of the queries; they exist as long as this runs.
    """

    def __init__(self, service: Service, answer: Callable[[], SearchAnswer], files: Sequence[Path]) -> None:
        self._service = service
        self._answer = answer
        self._files = files
        self._progress = _Progress()

    async def run(self) -> SearchAnswer:
        """Return the answer.

        Raises:
            FieldmarkError: The search cannot be done.
        """
        service = self._service
        try:
            is_long = bool(self._files) and await service.lookup_pool.run(self._find_long)
            if is_long:
                await service.long_search_pool.run(self._encode)
            return await service.search_pool.run(self._answer)
        finally:
            self._progress.is_abandoned.set()

    async def stream(self, resources: AsyncExitStack) -> AsyncIterator[str]:
        """Yield the progress and the answer as server-sent events.

        Args:
            resources: Closed at the end.
        """
        async with resources:
            running, told = asyncio.ensure_future(self.run()), (-1, -1)
            try:
                while not running.done():
                    await asyncio.wait([running], timeout=_POLL_SECONDS)
                    if told != (told := self._progress.now):
                        yield _write_event("progress", json.dumps(dict(zip(("done", "total"), told, strict=True))))
                try:
                    yield _write_event("answer", running.result().model_dump_json())
                except FieldmarkError as error:
                    body = bytes(answer_error(error, hider=self._service.hider).body).decode()
                    yield _write_event("error", body)
            finally:
                running.cancel()

    def _find_long(self) -> bool:
        """Tell whether a file is long, and how many seconds there are."""
        limits = self._service.gallery.model.limits
        seconds = [measure_seconds(path, limits=limits) for path in self._files]
        self._progress.now = (0, round(sum(seconds)))
        # What is longer than allowed is refused where it is read, at once.
        longest = max(seconds)
        return self._service.limits.long_query_seconds <= longest <= limits.max_seconds

    def _encode(self) -> None:
        for path in self._files:
            if self._progress.is_abandoned.is_set():
                return
            self._service.gallery.encode(path, reporter=self._progress)
            self._progress.finish_file()


@final
class _Progress:
    """The seconds that are encoded so far, over all files; it ends the work that nobody waits for any more."""

    def __init__(self) -> None:
        self.now = (0, 0)
        self.is_abandoned = threading.Event()
        self._before = 0

    def step(self, task: str, *, done: int, total: int, note: str = "") -> None:  # noqa: ARG002 - one signature
        if self.is_abandoned.is_set():
            raise RequestError(
                f"Nobody waits any more for the search, of which {done} seconds are encoded. Send it again.",
                kind="timed_out",
            )
        self.now = (self._before + done, max(self.now[1], self._before + done))

    def finish_file(self) -> None:
        """Count the next file from here on."""
        self._before = self.now[0]

    def say(self, message: str) -> None:
        """Nothing is said in between."""


def _write_event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"
