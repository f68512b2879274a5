"""Rooms: work is done a few at a time, who finds no place is told at once, and every place comes free again."""

import asyncio
import threading
import time

import pytest

from fieldmark.api.limits import Doorkeeper, Room
from fieldmark.errors import OverloadedError, RequestError


def make_room(**values) -> Room:
    return Room("test", **{"workers": 1, "places": 2, "seconds": 5.0, "retry_seconds": 3, **values})


def test_work_gives_its_result_or_its_error():
    async def ask():
        room = make_room()
        assert await room.run(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await room.run(lambda: 1 // 0)
        await asyncio.sleep(0.01)
        assert room.inside == 0

    asyncio.run(ask())


def test_beyond_its_places_a_room_refuses_at_once_and_recovers():
    async def ask():
        room, gate = make_room(), threading.Event()
        busy = [asyncio.create_task(room.run(lambda: gate.wait(5))) for _ in range(2)]
        await asyncio.sleep(0.01)
        began = time.perf_counter()
        with pytest.raises(OverloadedError, match="Let 3 seconds pass") as caught:
            await room.run(lambda: None)
        assert time.perf_counter() - began < 0.1
        assert (caught.value.retry_seconds, room.refused, room.inside) == (3, 1, 2)
        gate.set()
        assert await asyncio.gather(*busy) == [True, True]
        assert await room.run(lambda: "again") == "again"

    asyncio.run(ask())


def test_never_more_work_at_once_than_workers():
    async def ask():
        room, guard = make_room(workers=2, places=20), threading.Lock()
        inside = most = 0

        def work():
            nonlocal inside, most
            with guard:
                inside += 1
                most = max(most, inside)
            time.sleep(0.002)
            with guard:
                inside -= 1

        await asyncio.gather(*(room.run(work) for _ in range(20)))
        assert 1 <= most <= 2

    asyncio.run(ask())


def test_what_takes_too_long_is_given_up_and_keeps_its_place_until_it_ends():
    async def ask():
        room, gate = make_room(seconds=0.05), threading.Event()
        with pytest.raises(RequestError, match="did not end"):
            await room.run(lambda: gate.wait(5))
        assert room.inside == 1
        gate.set()
        while room.inside:
            await asyncio.sleep(0.005)

    asyncio.run(ask())


def test_what_waits_too_long_is_never_begun():
    async def ask():
        room, gate, begun = make_room(seconds=0.05), threading.Event(), []
        first = asyncio.create_task(room.run(lambda: gate.wait(5)))
        await asyncio.sleep(0.01)
        with pytest.raises(RequestError, match="did not end"):
            await room.run(lambda: begun.append(1))
        with pytest.raises(RequestError, match="did not end"):
            await first
        gate.set()
        while room.inside:
            await asyncio.sleep(0.005)
        assert begun == []

    asyncio.run(ask())


def test_a_doorkeeper_counts_who_is_in_whatever_happens_inside():
    door = Doorkeeper("upload", places=1, retry_seconds=1)
    with pytest.raises(KeyError), door:
        raise KeyError
    with door, pytest.raises(OverloadedError, match="'upload'"), door:
        pass
    assert door.inside == 0
