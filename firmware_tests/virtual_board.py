"""A whole agent in a time that is set by hand, over a board whose figures are made up.

The decisions are the real ones: only ticks, memory, storage and the link are stood in for.
"""

from rig import FakeBoard, FakeLink, FakeTicks, poll_all
from usual import new_lease, new_operation
from warden.setup import make_agent

_TOTAL = 200_000
_FREE = 150_000  # with nothing granted


class VirtualBoard(FakeBoard):
    """200 000 bytes of heap, of which 150 000 are free less what holders of leases have taken.

    `taken` is what the application takes besides.
    """

    def __init__(self, start_ms=0):
        ticks = FakeTicks(start_ms)
        self.ticks = ticks
        self.ticks_ms = ticks.ticks_ms
        self.ticks_us = ticks.ticks_us
        self.ticks_diff = ticks.ticks_diff
        self.leases = None
        self.taken = 0

    def sleep_ms(self, ms):
        self.ticks.pass_ms(ms)

    def mounts(self):
        return ("/", "/sd")

    def statvfs(self, mount):
        return super().statvfs(mount) if mount in self.mounts() else None

    def mem_free(self):
        free = _FREE - self.taken
        for lease in self.leases.rows if self.leases is not None else ():
            if lease is not None and lease.kind == 0 and not lease.outstanding():
                free -= lease.amount
        return free

    def mem_alloc(self):
        return _TOTAL - self.mem_free()


class Rig:
    """An agent on such a board, with a link to it unless `link` is None."""

    def __init__(self, max_operations=4, start_ms=0, link=FakeLink, interval_ms=600_000):
        self.board = VirtualBoard(start_ms)
        self.link = link() if link is not None else None
        limits = (max_operations, 300_000, 100, 5000)
        self.agent = make_agent(self.board, interval_ms, 10, self.link, limits)
        self.policy = self.agent.policy
        self.policy.thresholds.set("memory")  # what granted memory brings about has its own tests
        self.board.leases = self.policy.leases

    def allocate(self, *args, **kwargs):
        """As `warden.allocate`, without the handle."""
        return new_lease(self.policy.leases, *args, **kwargs)

    def begin(self, name, **options):
        """As `warden.begin`, without waiting: the operation may be WAITING."""
        operations = self.policy.operations
        return operations.begin(new_operation(operations, name, **options))

    def pass_ms(self, ms):
        """Let time pass, then have the agent do what is due."""
        self.board.ticks.pass_ms(ms)
        self.poll()

    def poll(self):
        poll_all(self.agent)
        assert self.agent.faults == 0
