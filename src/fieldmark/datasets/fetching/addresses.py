"""Addresses that may be asked: of the web, and in no local network unless that was wanted."""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from fieldmark.errors import DownloadError

Resolve = Callable[[str, int], Sequence[str]]
"""Returns the numeric addresses of a host, by its name and a port.

Raises:
    OSError: It has none.
"""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LONGEST = 4096


def resolve_host(host: str, port: int) -> tuple[str, ...]:
    """Return the numeric addresses of a host, as the system knows them.

    Raises:
        OSError: It has none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


def is_public(address: str) -> bool:
    """Tell whether a numeric address is one of the internet, and none of a local network or of this machine.

    An address of IPv4 that is wrapped in one of IPv6 counts as what it stands for.

    Example:
        >>> [is_public(each) for each in ("93.184.215.14", "127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1")]
        [True, False, False, False]
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        wrapped = found.ipv4_mapped or found.sixtofour
        if wrapped is None and found in _NAT64:
            wrapped = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        found = wrapped or found
    return found.is_global and not found.is_multicast


def parse_address(text: str) -> httpx.URL:
    """Return an address of the web.

    Raises:
        DownloadError: It is none, or has a password in it.
    """
    try:
        url = httpx.URL(text)
        port = url.port
    except (httpx.InvalidURL, ValueError) as error:
        raise DownloadError(address=text[:200], reason=f"it is no address ({error})", kind="bad_address") from error
    if len(text) > _LONGEST or url.scheme not in ("http", "https") or not url.host or port == 0:
        raise DownloadError(address=text[:200], reason="it is no address of http or https", kind="bad_address")
    if url.userinfo:
        raise DownloadError(address=str(url), reason="it has a user or a password in it", kind="bad_address")
    return url


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """The numeric addresses to connect to; a name is looked up once, so that no second answer leads elsewhere.

    Args:
        local_hosts: Names or numbers of hosts that may be in a local network, as they stand in addresses.
    """

    local_hosts: frozenset[str] = frozenset()
    resolve: Resolve = resolve_host

    def choose_numbers(self, url: httpx.URL) -> tuple[str, ...]:
        """Return the numeric addresses under which a host may be asked.

        Raises:
            DownloadError: The host has none, or all of them are in a local network and nobody wanted that.
        """
        try:
            numbers = self.resolve(url.host, url.port or (443 if url.scheme == "https" else 80))
        except (OSError, UnicodeError) as error:
            raise DownloadError(
                address=str(url), reason=f"the host '{url.host}' is not known ({error})", kind="unknown_host"
            ) from error
        if url.host in self.local_hosts:
            return tuple(numbers)
        allowed = tuple(each for each in numbers if is_public(each))
        if not allowed:
            raise DownloadError(
                address=str(url),
                reason=f"the host '{url.host}' is {', '.join(numbers) or 'nowhere'}, which is no public address",
                remedy=f"Give --local-host {url.host} if that is wanted.",
                kind="local_address",
            )
        return allowed
