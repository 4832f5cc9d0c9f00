"""Bytes of a descriptor, handed over straight from the event loop's wake-up."""

import asyncio
import contextlib
import os
import select
import socket

import pytest

from boardwarden.errors import LinkLost
from boardwarden.transport.fd_stream import FdStream

LIMIT_S = 10.0


@pytest.fixture
async def joined():
    """Return a stream, and the socket at its other end."""
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    stream = FdStream(os.dup(near.fileno()), "the far end")
    near.close()
    yield stream, far
    stream.close()
    far.close()


async def until(happened):
    for _ in range(1000):
        if happened():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not happen")


async def test_bytes_are_read_in_order_until_the_end(joined):
    stream, far = joined
    came = []
    receiving = asyncio.create_task(stream.receive(came.append))
    await asyncio.sleep(0)
    for data in (b"one", b"two"):
        far.send(data)
        await until(lambda data=data: came and came[-1] == data)
    far.close()
    await asyncio.wait_for(receiving, LIMIT_S)
    assert came == [b"one", b"two"]


async def test_bytes_reach_the_reader_in_the_same_loop_iteration(joined):
    stream, far = joined
    came = []
    receiving = asyncio.create_task(stream.receive(came.append))
    await asyncio.sleep(0)
    far.send(b"x")
    for _ in range(2):  # the loop looks at descriptors once a turn, and this task's is before it
        assert came == []
        await asyncio.sleep(0)
    assert came == [b"x"]
    receiving.cancel()


async def test_closing_ends_a_read_and_cancelling_one_loses_no_bytes(joined):
    stream, far = joined
    came = []
    receiving = asyncio.create_task(stream.receive(came.append))
    await asyncio.sleep(0)
    receiving.cancel()
    far.send(b"kept")
    await asyncio.gather(receiving, return_exceptions=True)
    assert came == []
    assert await asyncio.wait_for(stream.read(), LIMIT_S) == b"kept"
    receiving = asyncio.create_task(stream.receive(came.append))
    await asyncio.sleep(0)
    stream.close()
    await asyncio.wait_for(receiving, LIMIT_S)
    await stream.receive(came.append)  # closed: nothing will come
    assert came == []


async def test_an_exception_of_the_receiver_is_raised_at_the_await(joined):
    stream, far = joined

    def fail(data):
        raise ValueError(data)

    receiving = asyncio.create_task(stream.receive(fail))
    await asyncio.sleep(0)
    far.send(b"x")
    with pytest.raises(ValueError, match="x"):
        await asyncio.wait_for(receiving, LIMIT_S)


async def test_offer_writes_all_bytes_or_refuses(joined):
    stream, far = joined
    assert stream.offer(b"whole")
    assert far.recv(100) == b"whole"
    assert not stream.offer(b"x" * 1_000_000)  # a part of it was taken
    while far.recv(1_000_000, socket.MSG_DONTWAIT | socket.MSG_PEEK):
        far.recv(1_000_000)
        if not select.select([far], [], [], 0)[0]:
            break
    offered = 0
    while stream.offer(b"x" * 3000):
        offered += 3000  # until nobody reads it
    assert 0 < offered < 1_000_000
    writing = asyncio.create_task(stream.write(b"y" * 100_000 + b"end"))
    await asyncio.sleep(0)
    assert len(far.recv(3000)) == 3000  # there is room, but for who waits for it
    assert not stream.offer(b"not amid another's")
    far.setblocking(False)
    taken = b""
    while not taken.endswith(b"end"):
        with contextlib.suppress(BlockingIOError):
            taken += far.recv(1000)
        await asyncio.sleep(0)
    await writing
    assert b"not" not in taken
    stream.close()
    assert not stream.offer(b"x")
    with pytest.raises(LinkLost):
        await stream.write(b"x")
