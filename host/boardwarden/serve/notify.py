"""Makes notices of what goes wrong on followed boards: once each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from boardwarden import Board, Event, Level
from boardwarden._clock import attended_s
from boardwarden.grants import begins_hang
from boardwarden.models import LEVELS, enum_name
from boardwarden.render.status import link_state
from boardwarden.render.tables import event_text
from boardwarden.render.text import printable

from .webhook import Webhook

LOST_S = 10.0  # without a board; sooner it may be a restart, or a moment of its network
_EVENTS = {"exception": "crash", "safe": "crash", "hang": "hang"}  # kinds that are notices at once


@dataclass
class _Known:
    """What was posted of a board, over connections too."""

    boot: int | None = None
    last: int = -1  # event of that boot
    restarts: int = 0  # of this connection
    lost: bool = False  # and posted
    levels: dict[str, int] = field(default_factory=dict)


class Notifier:
    """A Follower whose notices go to a webhook.

    What a board remembers from before it was followed is not posted; what it did while it was away
    later is.
    """

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook
        self._known: dict[str, _Known] = {}

    async def __aenter__(self) -> Notifier:
        self._webhook.__enter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._webhook.__exit__)

    def forget(self, address: str) -> None:
        """Forget a board that its broker does not know any more."""
        self._known.pop(address, None)

    async def follow(self, address: str, board: Board) -> None:
        """Post notices of what happens on a board until cancelled."""
        recent, boot = board.recent_events, board.status.board.boot_id
        known = self._known.get(address)
        if known is None:
            known = self._known[address] = _Known()
            known.last = max((each.number for each in recent), default=-1)
            known.levels = {each.metric: each.level for each in board.thresholds}
        elif known.boot != boot:
            known.last, known.levels = -1, {}
        known.boot = boot
        known.restarts = board.restart_count
        seen = sum(each.number <= known.last for each in recent)
        await asyncio.gather(
            self._follow_link(address, board, known),
            self._follow_events(address, board, known, seen),
        )

    # --- events ---------------------------------------------------------------------------------

    async def _follow_events(self, address: str, board: Board, known: _Known, seen: int) -> None:
        """Post each event once; of those that the board remembers the first `seen` were before."""
        async for event in board.events():
            if seen > 0:
                seen -= 1
                continue
            if board.status.board.boot_id != known.boot:
                known.boot, known.levels = board.status.board.boot_id, {}
            known.last = event.number
            self._notify_event(address, event, known)

    def _notify_event(self, address: str, event: Event, known: _Known) -> None:
        if event.kind == "threshold":
            metric, level = str(event.subject), LEVELS.get(event.detail or "", Level.CLEAR)
            before = known.levels.get(metric, Level.CLEAR)
            known.levels[metric] = level
            if level > before:
                figures = {"metric": metric, "level": enum_name(level), "value": event.value}
                self._put(enum_name(level), address, event_text(event), event, **figures)
        elif event.kind == "hang" and not begins_hang(event):
            return  # what follows from that
        elif event.kind in _EVENTS:
            self._put(_EVENTS[event.kind], address, event_text(event), event)

    # --- the link -------------------------------------------------------------------------------

    async def _follow_link(self, address: str, board: Board, known: _Known) -> None:
        timer: asyncio.TimerHandle | None = None
        lost_at = 0.0  # by a clock that stands while this process does
        loop = asyncio.get_running_loop()

        def lost() -> None:
            nonlocal timer
            if (left_s := lost_at - attended_s()) > 0:
                timer = loop.call_later(left_s, lost)
                return
            known.lost = True
            self._put("lost", address, link_state(board))

        def look() -> None:
            nonlocal timer, lost_at
            if board.connected or board.asleep:
                if timer is not None:
                    timer.cancel()
                    timer = None
                if known.lost:
                    known.lost = False
                    self._put("back", address, "it answers again")
            elif timer is None and not known.lost:
                lost_at = attended_s() + LOST_S
                timer = loop.call_later(LOST_S, lost)
            self._notify_restarts(address, board, known)

        try:
            look()
            async for _ in board.changes():
                look()
        finally:
            if timer is not None:
                timer.cancel()

    def _notify_restarts(self, address: str, board: Board, known: _Known) -> None:
        """Tell of each restart that was not expected, or of which nobody knows why."""
        new, known.restarts = board.restart_count - known.restarts, board.restart_count
        for restart in board.restarts[-new:] if new else ():
            if not restart.expected:
                self._put("crash", address, printable(str(restart)), cause=restart.cause)

    def _put(
        self, kind: str, address: str, what: str, event: Event | None = None, **more: Any
    ) -> None:
        """Have a notice posted. Times are the host's; of an event its number and uptime, too."""
        notice: dict[str, Any] = {
            "kind": kind,
            "board": address,
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "text": f"{address}: {what}",
            **more,
        }
        if event is not None:
            notice |= {"event": event.number, "uptime_s": event.uptime_s}
        self._webhook.put(notice)
