"""A server of media, and manifests that name its files."""

from collections.abc import Callable, Iterator

import pytest
from media_server import LOCAL, MediaServer

from fieldmark.data.manifest import write_manifest
from fieldmark.datasets.fetch import FetchOptions
from fieldmark.datasets.fetching.addresses import AddressPolicy
from fieldmark.datasets.fetching.pace import Pace
from fieldmark.types import Item, Medium


@pytest.fixture
def server() -> Iterator[MediaServer]:
    found = MediaServer()
    yield found
    found.close()


@pytest.fixture
def options() -> FetchOptions:
    """No pauses, short waits, and this machine allowed."""
    pace = Pace(at_once=2, pause_seconds=0.0, stall_seconds=0.4, longest_wait_seconds=2.0, attempts=3)
    return FetchOptions(pace=pace, policy=AddressPolicy(local_hosts=frozenset({LOCAL})))


@pytest.fixture
def make_manifest(tmp_path) -> Callable[..., object]:
    """Write a manifest of pictures by path and address; a value may be an address or named facts."""

    def make(rows: dict[str, str | dict[str, str]], folder=tmp_path, **common: object):
        items = []
        for path, told in rows.items():
            extra = {"address": told} if isinstance(told, str) else told
            facts = {"medium": Medium.IMAGE, **common}
            items.append(Item(path, path=folder / path, extra=tuple(extra.items()), **facts))
        write_manifest(items, folder / "birds.csv")
        return folder / "birds.csv"

    return make
