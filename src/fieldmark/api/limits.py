"""Threads for one kind of work, with few places to wait; beyond them a request is refused at once."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, final

from fieldmark.errors import OverloadedError, RequestError

Result = TypeVar("Result")


@final
class Room:
    """Where one kind of blocking work is done, a few at a time.

    A queue that grows answers everyone too late. Here a request either gets one of the places or is told at once to
    come again.

    Args:
        name: What a refused client reads.
        places: Requests that are worked on or wait.
        seconds: After this the client is told that it took too long; the thread is freed when the work ends.
    """

    def __init__(self, name: str, *, workers: int, places: int, seconds: float, retry_seconds: int) -> None:
        self.name = name
        self.inside = 0
        self.refused = 0
        self._places = places
        self._seconds = seconds
        self._retry_seconds = retry_seconds
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix=f"fieldmark-{name}")

    async def run(self, work: Callable[[], Result]) -> Result:
        """The result of some work, done in a thread.

        Raises:
            OverloadedError: All places are taken.
            RequestError: It took too long.
        """
        if self.inside >= self._places:
            self.refused += 1
            raise OverloadedError(work=self.name, allowed=self._places, retry_seconds=self._retry_seconds)
        self.inside += 1
        loop = asyncio.get_running_loop()
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: self._leave(loop))
        return await self._wait(future)

    def close(self) -> None:
        """Lets running work end and drops what waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _wait(self, future: "Future[Result]") -> Result:
        # Cancelling what has not begun frees its place; what runs keeps its place until it ends.
        waited = asyncio.wrap_future(future)
        done, _ = await asyncio.wait([waited], timeout=self._seconds)
        if not done:
            future.cancel()
            waited.cancel()
            raise RequestError(
                f"The work '{self.name}' did not end within {self._seconds:g} seconds. "
                "Give a shorter file, or let some time pass and send it again.",
                kind="timed_out",
            )
        return waited.result()

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        def leave() -> None:
            self.inside -= 1

        if not loop.is_closed():
            loop.call_soon_threadsafe(leave)


@final
class Doorkeeper:
    """Counts what is open at once, such as bodies that are received; beyond a number it refuses."""

    def __init__(self, name: str, *, places: int, retry_seconds: int) -> None:
        self.name = name
        self.inside = 0
        self._places = places
        self._retry_seconds = retry_seconds

    def __enter__(self) -> "Doorkeeper":
        if self.inside >= self._places:
            raise OverloadedError(work=self.name, allowed=self._places, retry_seconds=self._retry_seconds)
        self.inside += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.inside -= 1
