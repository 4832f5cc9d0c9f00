"""A board, mirrored: `async with connect("/dev/ttyACM0") as board`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from itertools import product

from warden_schema import ids

from . import arguments, diagnosis
from .asking import REQUEST_TIMEOUT_S
from .bell import Bell
from .console import Console
from .grants import Event
from .history import METRICS, History, column
from .keeping import Keeping
from .mirror import Mirror
from .models import Status
from .session import Session
from .transport import transport_for
from .transport.base import Transport

_CTRL_C = b"\x03"
_MOST_KEPT = 256  # samples, for who wants every one


@contextlib.asynccontextmanager
async def connect(address: str | Transport, *, timeout: float = 5.0) -> AsyncIterator[Board]:
    """Connect to the board at an address, such as "/dev/ttyACM0", "tcp://host:port" or "sim".

    The board's whole state is there when the block begins, and follows it until the block ends.
    Raises a ConnectError when the address cannot be opened, when nothing was understood within
    `timeout` seconds, or when the state was not complete after three times that. Never resets the
    board.
    """
    transport = transport_for(address) if isinstance(address, str) else address
    board = Board(transport)
    try:
        await board._session.start(timeout)
        yield board
    finally:
        await board.close()


class Board(Keeping):
    """One board. Attributes are its mirror and do no I/O; methods that are awaited ask it.

    What is awaited raises RequestTimeout when no reply came in 5 seconds, RequestRefused when the
    board says no, BoardRestarted when it is unknown what became of it, LinkLost when closed.
    """

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self._console = Console()
        self._sampled = Bell()
        self._change_count = 0
        self._followers: list[deque[Status]] = []  # who wants every sample
        self._mirror = Mirror(on_sample=self._took_sample, on_change=self._took_change)
        self._session = Session(transport, self._mirror, self._console.put)

    # --- what comes -----------------------------------------------------------------------------

    async def wait_sample(self) -> Status:
        """Wait for the next new sample; raise LinkLost if the board is closed meanwhile."""
        if not self._closed:
            await self._sampled.wait()
        if self._closed:
            raise diagnosis.closed()
        return self.status

    async def updates(self, *, every: bool = False) -> AsyncGenerator[Status, None]:
        """Yield the status at each new sample, the newest only if several came, until closed.

        every: all that came; who reads slowly misses all but the last 256.
        """
        if every:
            async for status in self._every_update():
                yield status
            return
        seen = self._mirror.samples
        while not self._closed:
            if self._mirror.samples == seen:
                await self._sampled.wait()
            else:
                seen = self._mirror.samples
                yield self.status

    async def _every_update(self) -> AsyncGenerator[Status, None]:
        kept: deque[Status] = deque(maxlen=_MOST_KEPT)
        self._followers.append(kept)
        try:
            while not self._closed:
                if kept:
                    yield kept.popleft()
                else:
                    await self._sampled.wait()
        finally:
            self._followers.remove(kept)

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield whenever something besides the samples may have changed, until closed."""
        seen = self._change_count
        while not self._closed:
            if self._change_count == seen:
                await self._changed.wait()
            else:
                seen = self._change_count
                yield

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield what happened since the connection began, then what happens, until closed.

        It begins with the events that the board remembered then, 16 at most; after a restart, with
        those of that boot. Each comes once, in order; `missed` tells of those that were lost. One
        who reads slowly misses all but the last 256.
        """
        log = self._mirror.events
        place = log.first
        while True:
            news, place = log.since(place), log.end
            for event in news:
                yield event
            if log.end == place:
                if self._closed:
                    return
                await self._changed.wait()

    def console(self) -> AsyncGenerator[str, None]:
        """Return what the application printed lately, and then prints, piece by piece."""
        return self._console.listen()

    # --- what the board is asked ----------------------------------------------------------------

    async def ping(self) -> float:
        """Return how many seconds a request and its reply take."""
        begin = time.monotonic()
        await self._ask(ids.PING)
        return time.monotonic() - begin

    async def start_monitoring(self, interval: float = 1.0, budget: float | None = None) -> None:
        """Have the board sample every `interval` seconds, 0.02 to 600, as far as a budget allows.

        budget: the share of the core that the agent may take, 0.001 to 1; None: as it is.
        """
        allowed = () if budget is None else (round(budget * 1000),)
        await self._ask(ids.START_MONITORING, round(interval * 1000), *allowed)

    async def stop_monitoring(self) -> None:
        """Have the board stop sampling."""
        await self._ask(ids.STOP_MONITORING)

    async def collect(self) -> int:
        """Have the board collect garbage; return how many bytes that freed.

        Raises Denied where it did so a moment ago, or where the application does not allow it.
        """
        value = await self._ask(ids.COLLECT)
        if type(value) is not int:
            raise diagnosis.not_understood()
        return value

    async def fetch_history(
        self, metrics: Sequence[str] = METRICS, statistics: Sequence[str] = ids.STATISTICS
    ) -> History:
        """Read the board's own history, 24 hours at most, into `history` and return that.

        It takes a request for each tier of each of these statistics of each of these metrics.
        """
        places = (
            range(len(ids.TIERS)),
            arguments.places("metric", metrics, METRICS),
            arguments.places("statistic", statistics, ids.STATISTICS),
        )
        await asyncio.gather(*(self._fetch(*place) for place in product(*places)))
        return self.history

    async def interrupt(self) -> None:
        """Send Ctrl-C, which stops the application; raise LinkLost if there is no link."""
        await self._session.link.write(_CTRL_C)

    async def close(self) -> None:
        """End the connection; connect() does so by itself."""
        self._closed = True
        self._sampled.ring()
        self._changed.ring()
        self._console.close()
        try:
            await self._end_tasks()
        finally:
            await self._session.close()

    def _took_sample(self) -> None:
        for kept in self._followers:
            kept.append(self.status)
        self._sampled.ring()

    def _took_change(self) -> None:
        self._change_count += 1
        self._changed.ring()

    async def _fetch(self, tier: int, metric: int, statistic: int) -> None:
        timeout = 2 * REQUEST_TIMEOUT_S  # for it may queue behind others
        place = (tier, metric, statistic)
        value = await self._session.request(ids.HISTORY_READ, *place, timeout=timeout)
        self.history.put(*place, column(value, metric))
