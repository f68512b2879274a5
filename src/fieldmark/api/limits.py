"""Limits of the server: requests at once, work in threads, and bodies that are counted while they arrive."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, final

from anyio import Semaphore, WouldBlock
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from fieldmark.config import ServeLimits
from fieldmark.errors import BadRequestError, OverloadedError, RequestError

Result = TypeVar("Result")
Body = TypeVar("Body", bound=BaseModel)
JSON_TYPE = "application/json"


# ---------------------------------------------------------------- work at once


@final
class Limiter:
    """Counts what is open at once, such as uploads, and refuses what goes beyond.

    A queue that grows answers everyone too late: a request is admitted, or told at once to try again later.

    Args:
        name: Shown to a refused client.
    """

    def __init__(self, name: str, *, capacity: int, retry_seconds: int) -> None:
        self.name = name
        self.refused = 0
        self._capacity = capacity
        self._free = Semaphore(capacity, max_value=capacity)
        self._retry_seconds = retry_seconds

    @property
    def in_use(self) -> int:
        """Number of admitted requests that have not ended."""
        return self._capacity - self._free.value

    def acquire(self) -> None:
        """Admit one request, without waiting; each needs one `release`.

        Raises:
            OverloadedError: As many as allowed are in use.
        """
        try:
            self._free.acquire_nowait()
        except WouldBlock as error:
            self.refused += 1
            raise OverloadedError(work=self.name, allowed=self._capacity, retry_seconds=self._retry_seconds) from error

    def release(self) -> None:
        """End one request."""
        self._free.release()

    def __enter__(self) -> "Limiter":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@final
class WorkerPool:
    """Threads for one kind of blocking work.

    These are threads of the standard library: anyio frees the slot of a thread as soon as nobody waits for its result,
    and so would start a second search beside one that timed out.

    Args:
        limiter: Bounds the requests that are worked on or wait.
        seconds: The client is told after this that it took too long; the thread is freed when the work ends.
    """

    def __init__(self, limiter: Limiter, *, workers: int, seconds: float) -> None:
        self.limiter = limiter
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix=f"fieldmark-{limiter.name}")

    async def run(self, work: Callable[[], Result]) -> Result:
        """Return the result of some work, done in a thread.

        Raises:
            OverloadedError: Too many requests are worked on or wait.
            RequestError: It took too long.
        """
        self.limiter.acquire()
        loop = asyncio.get_running_loop()
        future = self._threads.submit(work)
        future.add_done_callback(lambda _: loop.is_closed() or loop.call_soon_threadsafe(self.limiter.release))
        return await self._wait_for(future)

    def close(self) -> None:
        """Let running work end and drop what waits."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _wait_for(self, future: "Future[Result]") -> Result:
        # What has not begun is cancelled and frees its slot; what runs keeps its slot until it ends.
        waiting = asyncio.wrap_future(future)
        done, _ = await asyncio.wait([waiting], timeout=self._seconds)
        if not done:
            future.cancel()
            waiting.cancel()
            raise RequestError(
                f"The work '{self.limiter.name}' did not end within {self._seconds:g} seconds. "
                "Give a shorter file, or try again later.",
                kind="timed_out",
            )
        return waiting.result()


# ---------------------------------------------------------------- bodies


async def read_json(request: Request, schema: type[Body], *, limits: ServeLimits) -> Body:
    """Return the JSON body of a request as a checked object.

    Raises:
        RequestError: It is not sent as JSON, which no plain HTML form of another site can do; it has too many bytes,
            did not arrive in time, or does not follow the schema.
    """
    kind = get_content_type(request)
    if kind != JSON_TYPE:
        raise make_type_error(kind, allowed=JSON_TYPE)
    received = bytearray()
    async for block in receive(request, max_bytes=limits.max_json_bytes, limit="max_json_bytes", limits=limits):
        received += block
    return parse_json(bytes(received), schema)


def parse_json(text: bytes, schema: type[Body]) -> Body:
    """Return JSON text as a checked object.

    Raises:
        BadRequestError: It is not JSON, nested too deeply, or does not follow the schema.
    """
    try:
        return schema.model_validate_json(text)
    except ValidationError as error:
        raise BadRequestError(problems=[explain(each["loc"], each["msg"]) for each in error.errors()]) from error


def explain(location: tuple[int | str, ...], message: str) -> str:
    """Describe one finding of pydantic by its key; the value may be long and is left out."""
    key = ".".join(str(part)[:40] for part in location)
    return f"'{key}': {message}" if key else message


def get_content_type(request: Request) -> str:
    """Return the media type of a body, without its parameters."""
    return request.headers.get("content-type", "none").partition(";")[0].strip().lower()[:100]


def make_type_error(got: str, *, allowed: str) -> RequestError:
    """Return the error of a body whose type is not read."""
    return RequestError(
        f"The body has the type '{got}'; allowed is {allowed}. Set the header Content-Type to one of these.",
        kind="content_type",
    )


def make_size_error(got: str, *, allowed: int, limit: str) -> RequestError:
    """Return the error of a body with too many bytes."""
    return RequestError(
        f"The request holds {got} bytes; the limit is {allowed:,}. "
        f"Send less, or start the server with a larger '{limit}'.",
        kind="body_too_large",
    )


async def receive(request: Request, *, max_bytes: int, limit: str, limits: ServeLimits) -> AsyncIterator[bytes]:
    """Yield the blocks of a body: the declared length is checked first, and what comes is counted.

    Raises:
        RequestError: It has too many bytes, or says so, or did not arrive in time.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 15 or int(declared) > max_bytes):
        raise make_size_error(declared[:30], allowed=max_bytes, limit=limit)
    count = 0
    stream = request.stream()
    deadline = asyncio.get_running_loop().time() + limits.upload_seconds
    while (block := await _next_block(stream, deadline=deadline, limits=limits)) is not None:
        count += len(block)
        if count > max_bytes:
            raise make_size_error(f"more than {max_bytes:,}", allowed=max_bytes, limit=limit)
        yield block


async def _next_block(stream: AsyncGenerator[bytes, None], *, deadline: float, limits: ServeLimits) -> bytes | None:
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(stream, None)
    except TimeoutError as error:
        raise RequestError(
            f"The body did not arrive within {limits.upload_seconds:g} seconds. Use a faster connection or less data.",
            kind="slow_request",
        ) from error
    except ClientDisconnect as error:
        raise BadRequestError(problems=["the client disconnected"]) from error
