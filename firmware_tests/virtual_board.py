"""A whole agent in a time that is set by hand, over a board whose figures are made up.

The decisions are the real ones: only ticks, memory, storage and the line are stood in for.
"""

from rig import FakeBoard, FakeLine, FakeTicks, turn
from warden.agent import Agent

_TOTAL = 200_000
_FREE = 150_000  # with nothing granted


class VirtualBoard(FakeBoard):
    """200 000 bytes of heap, of which 150 000 are free less what holders of leases have taken.

    `kept` is what the application keeps besides.
    """

    def __init__(self, start_ms=0):
        ticks = FakeTicks(start_ms)
        self.ticks = ticks
        self.ticks_ms = ticks.ticks_ms
        self.ticks_us = ticks.ticks_us
        self.ticks_diff = ticks.ticks_diff
        self.ledger = None
        self.kept = 0

    def sleep_ms(self, ms):
        self.ticks.pass_ms(ms)

    def mounts(self):
        return ("/", "/sd")

    def statvfs(self, mount):
        return super().statvfs(mount) if mount in self.mounts() else None

    def mem_free(self):
        free = _FREE - self.kept
        for lease in self.ledger.table if self.ledger is not None else ():
            if lease is not None and lease.kind == 0 and not lease.outstanding():
                free -= lease.amount
        return free

    def mem_alloc(self):
        return _TOTAL - self.mem_free()


class Rig:
    """An agent on such a board, with a line to it unless `link` is None."""

    def __init__(self, max_operations=4, start_ms=0, link=FakeLine, interval_ms=600_000):
        self.board = VirtualBoard(start_ms)
        self.line = link() if link is not None else None
        limits = (max_operations, 300_000, 100, 5000)
        self.agent = Agent(self.board, interval_ms, self.line, limits)
        self.policy = self.agent.decide()
        self.policy.thresholds.set("memory")  # what granted memory brings about has its own tests
        self.board.ledger = self.policy.ledger

    def pass_ms(self, ms):
        """Let time pass, then have the agent do what is due."""
        self.board.ticks.pass_ms(ms)
        self.turn()

    def turn(self):
        turn(self.agent)
        assert self.agent.faults == 0
