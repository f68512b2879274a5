"""Limiters and worker pools: work is done a few at a time, what goes beyond is refused at once, every slot is freed."""

import asyncio
import threading
import time

import pytest

from fieldmark.api.limits import Limiter, WorkerPool
from fieldmark.errors import OverloadedError, RequestError


def make_pool(*, workers=1, capacity=2, seconds=5.0) -> WorkerPool:
    return WorkerPool(Limiter("test", capacity=capacity, retry_seconds=3), workers=workers, seconds=seconds)


def test_work_gives_its_result_or_its_error():
    async def ask():
        pool = make_pool()
        assert await pool.run(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)
        await asyncio.sleep(0.01)
        assert pool.limiter.in_use == 0

    asyncio.run(ask())


def test_a_full_pool_refuses_at_once_and_recovers():
    async def ask():
        pool, gate = make_pool(), threading.Event()
        busy = [asyncio.create_task(pool.run(lambda: gate.wait(5))) for _ in range(2)]
        await asyncio.sleep(0.01)
        began = time.perf_counter()
        with pytest.raises(OverloadedError, match="Wait 3 seconds") as caught:
            await pool.run(lambda: None)
        assert time.perf_counter() - began < 0.1
        assert (caught.value.retry_seconds, pool.limiter.refused, pool.limiter.in_use) == (3, 1, 2)
        gate.set()
        assert await asyncio.gather(*busy) == [True, True]
        assert await pool.run(lambda: "again") == "again"

    asyncio.run(ask())


def test_never_more_work_at_once_than_workers():
    async def ask():
        pool, guard = make_pool(workers=2, capacity=20), threading.Lock()
        inside = most = 0

        def work():
            nonlocal inside, most
            with guard:
                inside += 1
                most = max(most, inside)
            time.sleep(0.002)
            with guard:
                inside -= 1

        await asyncio.gather(*(pool.run(work) for _ in range(20)))
        assert 1 <= most <= 2

    asyncio.run(ask())


def test_what_takes_too_long_is_given_up_and_keeps_its_slot_until_it_ends():
    async def ask():
        pool, gate = make_pool(seconds=0.05), threading.Event()
        with pytest.raises(RequestError, match="did not end"):
            await pool.run(lambda: gate.wait(5))
        assert pool.limiter.in_use == 1
        gate.set()
        while pool.limiter.in_use:
            await asyncio.sleep(0.005)

    asyncio.run(ask())


def test_what_waits_too_long_is_never_begun():
    async def ask():
        pool, gate, begun = make_pool(seconds=0.05), threading.Event(), []
        first = asyncio.create_task(pool.run(lambda: gate.wait(5)))
        await asyncio.sleep(0.01)
        with pytest.raises(RequestError, match="did not end"):
            await pool.run(lambda: begun.append(1))
        with pytest.raises(RequestError, match="did not end"):
            await first
        gate.set()
        while pool.limiter.in_use:
            await asyncio.sleep(0.005)
        assert begun == []

    asyncio.run(ask())


def test_a_limiter_counts_what_is_open_whatever_happens_inside():
    async def ask():
        limiter = Limiter("upload", capacity=1, retry_seconds=1)
        with pytest.raises(KeyError), limiter:
            raise KeyError
        with limiter, pytest.raises(OverloadedError, match="'upload'"), limiter:
            pass
        assert (limiter.in_use, limiter.refused) == (0, 1)

    asyncio.run(ask())
