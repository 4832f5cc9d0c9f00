"""A board, mirrored: `async with connect("/dev/ttyACM0") as board`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from itertools import product

from warden_schema import ids

from . import diagnosis
from .console import Console
from .history import History, column
from .mirror import Mirror
from .models import Capability, LinkStatus, Status, Trends
from .session import Session
from .transport import transport_for
from .transport.base import Transport

_REQUEST_TIMEOUT_S = 5.0
_CTRL_C = b"\x03"


@contextlib.asynccontextmanager
async def connect(address: str | Transport, *, timeout: float = 5.0) -> AsyncIterator[Board]:
    """Connect to the board at an address, such as "/dev/ttyACM0", "tcp://host:port" or "sim".

    The board's whole state is there when the block begins, and follows it until the block ends.
    Raises a ConnectError when the address cannot be opened, or when nothing understood was heard
    `timeout` seconds after. Never resets the board.
    """
    transport = transport_for(address) if isinstance(address, str) else address
    board = Board(transport)
    try:
        await board._session.start(timeout)
        yield board
    finally:
        await board.close()


class Board:
    """One board. Attributes are its mirror and do no I/O; methods that are awaited ask it.

    What is awaited raises RequestTimeout when no reply came in 5 seconds, RequestRefused when the
    board says no, BoardRestarted when it is unknown what became of it, LinkLost when closed.
    """

    def __init__(self, transport: Transport) -> None:
        self._console = Console()
        self._mirror = Mirror(on_sample=self._ring)
        self._session = Session(transport, self._mirror, self._console.put)
        self._sampled = asyncio.Event()  # replaced at each sample
        self._closed = False

    # --- the mirror -----------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """The board's state; `.age_s` says how old its figures are."""
        return self._mirror.status

    @property
    def capabilities(self) -> Mapping[str, Capability]:
        """What the board can tell, by name, and why not where it cannot."""
        return self._mirror.capabilities

    @property
    def history(self) -> History:
        """The samples that came, and what fetch_history() read."""
        return self._mirror.history

    @property
    def connected(self) -> bool:
        """Whether the board is there: it answered, and was heard in the last 2.5 seconds."""
        return self._mirror.connected

    @property
    def link(self) -> LinkStatus:
        """What happened between board and host."""
        subscription, deframer = self._session.subscription, self._session.deframer
        return LinkStatus(
            frames=subscription.frames,
            bad_frames=deframer.bad + subscription.malformed,
            skipped_frames=subscription.skipped,
            gaps=subscription.gaps,
            dropped_frames=self._mirror.dropped_frames,
            text_bytes=deframer.text_bytes,
            reconnects=self._session.link.reconnects,
        )

    def trends(self, period: float = 60.0) -> Trends:
        """Return where the figures went in the last `period` seconds; no I/O.

        Beyond the samples that came this uses what fetch_history() read.
        """
        return self._mirror.trends(period)

    # --- what comes -----------------------------------------------------------------------------

    async def wait_sample(self) -> Status:
        """Wait for the next new sample; raise LinkLost if the board is closed meanwhile."""
        sampled = self._sampled
        if not self._closed:
            await sampled.wait()
        if self._closed:
            raise diagnosis.closed()
        return self.status

    async def updates(self) -> AsyncGenerator[Status, None]:
        """Yield the status at each new sample, the newest only if several came, until closed."""
        seen = self._mirror.samples
        while not self._closed:
            sampled = self._sampled
            if self._mirror.samples == seen:
                await sampled.wait()
            else:
                seen = self._mirror.samples
                yield self.status

    def console(self) -> AsyncGenerator[str, None]:
        """Return what the application printed lately, and then prints, piece by piece."""
        return self._console.listen()

    # --- what the board is asked ----------------------------------------------------------------

    async def ping(self) -> float:
        """Return how many seconds a request and its reply take."""
        begin = time.monotonic()
        await self._session.request(ids.PING, timeout=_REQUEST_TIMEOUT_S)
        return time.monotonic() - begin

    async def start_monitoring(self, interval: float = 1.0) -> None:
        """Have the board sample every `interval` seconds, 0.02 to 600."""
        milliseconds = round(interval * 1000)
        timeout = _REQUEST_TIMEOUT_S
        await self._session.request(ids.START_MONITORING, milliseconds, timeout=timeout)

    async def stop_monitoring(self) -> None:
        """Have the board stop sampling."""
        await self._session.request(ids.STOP_MONITORING, timeout=_REQUEST_TIMEOUT_S)

    async def fetch_history(self) -> History:
        """Read the board's own history, 24 hours at most, into `history` and return that."""
        places = (range(len(ids.TIERS)), range(len(ids.METRICS)), range(len(ids.STATISTICS)))
        await asyncio.gather(*(self._fetch(*place) for place in product(*places)))
        return self.history

    async def interrupt(self) -> None:
        """Send Ctrl-C, which stops the application; raise LinkLost if there is no link."""
        await self._session.link.write(_CTRL_C)

    async def close(self) -> None:
        """End the connection; connect() does so by itself."""
        self._closed = True
        self._ring()
        self._console.close()
        await self._session.close()

    async def _fetch(self, tier: int, metric: int, statistic: int) -> None:
        timeout = 2 * _REQUEST_TIMEOUT_S  # for it may queue behind others
        place = (tier, metric, statistic)
        value = await self._session.request(ids.HISTORY_READ, *place, timeout=timeout)
        self.history.put(*place, column(value, metric))

    def _ring(self) -> None:
        sampled, self._sampled = self._sampled, asyncio.Event()
        sampled.set()
