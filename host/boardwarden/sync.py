"""The same API for programs without asyncio: the board lives in an event loop in a thread."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from warden_schema import ids

from .board import connect
from .grants import Event
from .history import METRICS, History
from .models import Status
from .sync_keeping import SyncKeeping
from .sync_loop import call, iterate, loop_in_thread, within
from .transport.base import Transport


@contextlib.contextmanager
def open(address: str | Transport, *, timeout: float = 5.0) -> Iterator[SyncBoard]:
    """Connect to the board at an address, as `connect()` does; the block may be in any thread."""
    with loop_in_thread() as loop, within(loop, connect(address, timeout=timeout)) as board:
        yield SyncBoard(board, loop)


class SyncBoard(SyncKeeping):
    """A Board whose methods wait instead of being awaited."""

    def wait_sample(self) -> Status:
        """Wait for the next new sample."""
        return call(self._loop, self._board.wait_sample())

    def updates(self, *, every: bool = False) -> Iterator[Status]:
        """Yield the status at each new sample, until closed; `every` one, or the newest."""
        return iterate(self._loop, self._board.updates(every=every))

    def changes(self) -> Iterator[None]:
        """Yield whenever something besides the samples may have changed, until closed."""
        return iterate(self._loop, self._board.changes())

    def events(self) -> Iterator[Event]:
        """Yield what happened since the connection began, then what happens, until closed."""
        return iterate(self._loop, self._board.events())

    def console(self) -> Iterator[str]:
        """Yield what the application printed lately, and then prints."""
        return iterate(self._loop, self._board.console())

    def ping(self) -> float:
        """Return how many seconds a request and its reply take."""
        return call(self._loop, self._board.ping())

    def start_monitoring(self, interval: float = 1.0, budget: float | None = None) -> None:
        """Have the board sample every `interval` seconds, 0.02 to 600, as far as a budget allows.

        budget: the share of the core that the agent may take, 0.001 to 1; None: as it is.
        """
        call(self._loop, self._board.start_monitoring(interval, budget))

    def stop_monitoring(self) -> None:
        """Have the board stop sampling."""
        call(self._loop, self._board.stop_monitoring())

    def collect(self) -> int:
        """Have the board collect garbage; return how many bytes that freed."""
        return call(self._loop, self._board.collect())

    def fetch_history(
        self, metrics: Sequence[str] = METRICS, statistics: Sequence[str] = ids.STATISTICS
    ) -> History:
        """Read the board's own history, 24 hours at most, into `history` and return that."""
        return call(self._loop, self._board.fetch_history(metrics, statistics))

    def interrupt(self) -> None:
        """Send Ctrl-C, which stops the application."""
        call(self._loop, self._board.interrupt())

    def close(self) -> None:
        """End the connection; open() does so by itself."""
        call(self._loop, self._board.close())
