"""What a board measured while nothing came from it, until that is pushed with its own times."""

from __future__ import annotations

import logging
from collections import deque
from threading import Lock
from typing import NamedTuple

from boardwarden import Board, HistorySlot

_log = logging.getLogger(__name__)
_MAX_SLOTS = 1000  # a day without a link makes 144
_MAX_NS = 2.0**64  # since the epoch, of a point in OTLP


class Missed(NamedTuple):
    """A slot of the board's own history; `at` is its middle, in seconds since the epoch.

    mount: of which `storage` is.
    """

    at: float
    slot: HistorySlot
    mount: str


class Backlog:
    """Holds up to 1000 slots of a board; collect() in the event loop, the rest from any thread."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._slots: deque[Missed] = deque()
        self._lock = Lock()

    def __len__(self) -> int:
        """Return how many slots are held."""
        return len(self._slots)

    async def collect(self, board: Board) -> None:
        """Collect what the board tells of each time without samples, until it is closed."""
        logged = ""
        async for gap in board.gaps():
            if gap.why and gap.why != logged:
                logged = gap.why
                missing_s = round(gap.end_s - gap.begin_s)
                _log.warning(
                    "%s: nothing came for %d s, and no history of it is pushed: %s",
                    *(self._address, missing_s, logged),
                )
            status = board.status
            uptime_s, updated = status.cpu.uptime_s, status.last_updated
            if uptime_s is None or updated is None or status.board.boot_id != gap.boot_id:
                continue
            booted_at = updated.timestamp() - uptime_s
            mount = (status.storage[0].mount if status.storage else None) or ""
            for slot in gap.slots:
                middle_s = slot.begin_s + slot.step_s / 2
                at = booted_at + middle_s
                if 0 <= at * 1e9 < _MAX_NS:  # else nothing could take it
                    self._slots.append(Missed(at, slot, mount))
            self._drop_oldest()

    def take(self, most: int) -> list[Missed]:
        """Return the oldest slots, in order, and forget them."""
        with self._lock:
            return [self._slots.popleft() for _ in range(min(most, len(self._slots)))]

    def put_back(self, slots: list[Missed]) -> None:
        """Hold slots again that could not be pushed."""
        with self._lock:
            self._slots.extendleft(reversed(slots))
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Drop what there is no room for, and say so."""
        with self._lock:
            count = len(self._slots) - _MAX_SLOTS
            for _ in range(count):
                self._slots.popleft()
        if count > 0:
            _log.warning(
                "%s: %d slots of its own history are dropped: %d wait to be pushed, and no more "
                "are held.",
                *(self._address, count, _MAX_SLOTS),
            )
