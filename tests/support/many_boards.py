"""Stand-ins for a thousand followed boards: what FleetView reads of Watched, with moving figures.

No board and no link is behind them: for how fast a browser shows a large fleet.
"""

from __future__ import annotations

import random
from datetime import datetime, timezone

from boardwarden.grants import Limits, Threshold
from boardwarden.models import Cpu, Identity, Level, Memory, Status


class StandInBoard:
    """A board of a fleet: every tenth one is critical, every fifth one warns."""

    connected, asleep = True, False
    restarts = resets = exceptions = recent_events = operations = ()
    restart_count = 0
    limits = Limits(4, 300.0, 0.1, 5.0)

    def __init__(self, number):
        self._dice = random.Random(number)
        self._identity = Identity(
            f"kind {number % 7}", f"1.2{number % 5}.0", boot_id=1, agent="0.1.0"
        )
        level = (
            Level.CRITICAL if number % 10 == 0 else Level.WARN if number % 5 == 0 else Level.CLEAR
        )
        self.thresholds = (Threshold("memory", 0.75, 0.85, 0.65, level=level, value=0.8),)
        self._live = 30_000 + number * 100

    @property
    def status(self):
        """A new status at each look, with figures that moved."""
        self._live = max(20_000, min(230_000, self._live + self._dice.randint(-3000, 3000)))
        return Status(
            memory=Memory(240_000, self._live + 5000, live_bytes=self._live),
            cpu=Cpu(self._dice.random(), loop_lag_worst_s=self._dice.random() / 10, uptime_s=60.0),
            interval_s=1.0,
            last_updated=datetime.now(timezone.utc),
            board=self._identity,
        )


class StandIn:
    """What Watched is to FleetView."""

    problem = ""

    def __init__(self, number):
        self.address = f"mqtt://broker/board{number}"
        self.board = StandInBoard(number)
