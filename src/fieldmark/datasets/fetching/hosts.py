"""Hosts that are asked for files: a few requests at once, pauses between them, and waits that a host asks for."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import final

import httpx

from fieldmark.datasets.fetching.addresses import AddressPolicy
from fieldmark.datasets.fetching.pace import Pace
from fieldmark.errors import DownloadError, read_first_line

_UNREACHED = 5
"""Requests in a row that reach no host, after which it is not asked again in this run."""


class StoppedError(Exception):
    """The run was ended while a request waited."""


class TransientError(Exception):
    """A fault that may pass.

    Args:
        found: What is reported when it does not.
        is_held: Whether the host is left alone for a while, so that the next request waits anyway.
    """

    def __init__(self, found: DownloadError, *, is_held: bool = False) -> None:
        super().__init__(str(found))
        self.found = found
        self.is_held = is_held


@final
class _Host:
    """One host: its connections and when it may be asked next."""

    def __init__(self, transport: httpx.HTTPTransport, pace: Pace) -> None:
        self.transport = transport
        self.slots = threading.BoundedSemaphore(pace.at_once)
        self.unreached = 0
        self.closed: DownloadError | None = None
        self._pause_seconds = pace.pause_seconds
        self._guard = threading.Lock()
        self._next = 0.0

    def wait_turn(self, stop: threading.Event) -> None:
        """Wait until the host may be asked.

        Raises:
            StoppedError: The run was ended meanwhile.
            DownloadError: The host is not asked any more.
        """
        while True:
            if stop.is_set():
                raise StoppedError
            if self.closed is not None:
                raise self.closed
            with self._guard:
                left = self._next - time.monotonic()
                if left <= 0:
                    self._next = time.monotonic() + self._pause_seconds
                    return
            stop.wait(left)

    def hold(self, seconds: float) -> None:
        """Ask nothing of the host for some time."""
        with self._guard:
            self._next = max(self._next, time.monotonic() + seconds)


@final
class Hosts:
    """All hosts of a run; each request goes to a number that was checked, under the name that was asked for.

    Nothing is taken from the environment but certificates: no proxy, no password; and no cookie is kept.

    Args:
        user_agent: Says to hosts who asks.
        stop: Ends all waits.
    """

    def __init__(self, *, policy: AddressPolicy, pace: Pace, user_agent: str, stop: threading.Event) -> None:
        self.pace = pace
        self.stop = stop
        self._policy = policy
        self._user_agent = user_agent
        self._guard = threading.Lock()
        self._by_origin: dict[tuple[str, str, int | None], _Host] = {}
        self._certificates = httpx.create_ssl_context()

    @contextmanager
    def ask(self, url: httpx.URL, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """The answer of a host, whose content is not read yet; redirects are not followed.

        Raises:
            DownloadError: The host may not be asked, or is not asked any more in this run.
            TransientError: It was not reached, or its answer broke off.
            StoppedError: The run was ended.
        """
        host = self._find(url)
        with host.slots:
            host.wait_turn(self.stop)
            numbers = self._policy.choose_numbers(url)
            try:
                response = self._connect(host, url, numbers, headers)
            except httpx.TransportError as error:
                host.unreached += 1
                fault = self._report(url, error)
                if host.unreached >= _UNREACHED:
                    host.closed = fault
                raise TransientError(fault) from error
            host.unreached = 0
            try:
                yield response
            except httpx.TransportError as error:
                raise TransientError(self._report(url, error)) from error
            finally:
                response.close()

    def hold(self, url: httpx.URL, seconds: float, fault: DownloadError) -> None:
        """Ask nothing of a host for some time; nothing at all in this run where that is too long."""
        host = self._find(url)
        if seconds > self.pace.longest_wait_seconds:
            host.closed = fault
        else:
            host.hold(seconds)

    def close(self) -> None:
        """Close all connections."""
        for host in self._by_origin.values():
            host.transport.close()

    def _find(self, url: httpx.URL) -> _Host:
        origin = url.scheme, url.host, url.port
        with self._guard:
            if origin not in self._by_origin:
                limits = httpx.Limits(max_connections=self.pace.at_once, max_keepalive_connections=self.pace.at_once)
                transport = httpx.HTTPTransport(verify=self._certificates, trust_env=False, limits=limits)
                self._by_origin[origin] = _Host(transport, self.pace)
            return self._by_origin[origin]

    def _connect(
        self, host: _Host, url: httpx.URL, numbers: tuple[str, ...], headers: Mapping[str, str]
    ) -> httpx.Response:
        """Ask a host by its numbers, one after the other until one is reached."""
        seconds = self.pace.stall_seconds
        for index, number in enumerate(numbers):
            request = httpx.Request(
                "GET",
                url.copy_with(host=number),
                headers={"Host": url.netloc.decode("ascii"), "User-Agent": self._user_agent, **headers},
                extensions={
                    "timeout": dict.fromkeys(("connect", "read", "write", "pool"), seconds),
                    "sni_hostname": url.host,
                },
            )
            try:
                return host.transport.handle_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if index == len(numbers) - 1:
                    raise
        raise httpx.ConnectError("it has no address")

    def _report(self, url: httpx.URL, error: httpx.TransportError) -> DownloadError:
        is_stalled = isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout)
        silence = f"it sent nothing for {self.pace.stall_seconds:g} seconds"
        why = silence if is_stalled else read_first_line(error)
        reason = f"the host was not reached, or broke off ({why})"
        if is_stalled:
            return DownloadError(address=str(url), reason=reason, kind="stalled")
        return DownloadError(address=str(url), reason=reason, kind="unreachable")
