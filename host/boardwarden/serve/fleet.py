"""Follows the boards that an MQTT broker knows, or one worker's share of them.

A worker has no state of its own: whose a board is follows from its name, and what the board does
comes from the broker. So one that dies is replaced by another with the same share.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from boardwarden.errors import ConnectError, LinkLost
from boardwarden.transport.address import parse_broker
from boardwarden.transport.mqtt import BoardState, states

from .watched import Follower, Watched

_RETRY_PAUSE_S = (0.2, 5.0)  # before the broker is tried again: at first, at most
_MAX_SHARDS = 10_000
_log = logging.getLogger(__name__)


class Shard(NamedTuple):
    """One of so many shares of a broker's boards, counted from 1."""

    number: int = 1
    of: int = 1

    def has(self, name: str) -> bool:
        """Return whether a board is of this share; it is of no other."""
        return zlib.crc32(name.encode()) % self.of == self.number - 1


def parse_shard(text: str) -> Shard:
    """Return the share of "2/8"; raise ValueError."""
    number, _, of = text.partition("/")
    if number.isdecimal() and of.isdecimal() and len(text) < 16:
        shard = Shard(int(number), int(of))
        if 1 <= shard.number <= shard.of <= _MAX_SHARDS:
            return shard
    raise ValueError(f"{text!r} is no share: 2/8 is the second of eight.")


class Fleet:
    """The boards that are followed, to be iterated over, from any thread; follow() in a task."""

    def __init__(self, address: str, shard: Shard = Shard()) -> None:  # noqa: B008
        """`address`: of a broker; raises AddressError."""
        self._place = parse_broker(address)
        self.pushes = False  # what boards measured while nothing came from them
        self._shard = shard
        self.followers: Sequence[Follower] = ()  # of boards that come from now on
        self._boards: tuple[Watched, ...] = ()  # replaced, never changed: other threads read it
        self._watched: dict[str, Watched] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __iter__(self) -> Iterator[Watched]:
        return iter(self._boards)

    async def follow(self) -> None:
        """Follow all boards of the share until cancelled, as they come and go."""
        pause, logged = _RETRY_PAUSE_S[0], ""
        try:
            while True:
                try:
                    async with states(self._place, self._on_state) as broker:
                        await broker.ended()
                    pause, logged = _RETRY_PAUSE_S[0], ""
                except (ConnectError, LinkLost) as error:
                    if str(error) != logged:
                        logged = str(error)
                        _log.warning("%s It is tried again.", logged)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _RETRY_PAUSE_S[1])
        finally:
            tasks = [*self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _on_state(self, name: str, state: BoardState | None) -> None:
        if not self._shard.has(name):
            return
        if state is None:
            self._forget(name)
            return
        if name not in self._watched:
            self._watched[name] = Watched(f"{self._place}/{name}", self.followers, self.pushes)
            self._boards = tuple(self._watched.values())
        if name not in self._tasks and state.online is not False:  # else it would only fail
            self._tasks[name] = asyncio.create_task(self._watched[name].follow())

    def _forget(self, name: str) -> None:
        """Follow a board no more that its broker does not know any more."""
        if self._watched.pop(name, None) is not None:
            self._boards = tuple(self._watched.values())
            for follower in self.followers:
                follower.forget(f"{self._place}/{name}")
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            task.add_done_callback(_see_result)


def _see_result(task: asyncio.Task[None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()
