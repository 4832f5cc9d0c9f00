"""The parts that decide, joined, over a made-up supply and a clock that is set by hand."""

from rig import FakeTicks
from warden.clock import Clock
from warden.leases import Ledger
from warden.sessions import Sessions
from warden.slots import Operations


class FakeSupply:
    """Stands in for what a board has: amounts by kind, the reserve already taken off."""

    def __init__(self):
        self.amounts = [100_000, 1_000_000, 900, 50_000]
        self.largest = self.largest_clean = None  # now, and after a collection
        self.garbage = 0  # what a collection would free
        self.collections = 0

    def available(self, kind, mount):
        if kind == 1 and mount not in ("/", "/sd"):
            return 0
        return self.amounts[kind]

    def largest_block(self):
        return self.largest

    def most(self):
        return 150_000

    def collect_in_ms(self):
        return 0

    def collect(self):
        self.collections += 1
        self.largest = self.largest_clean or self.largest
        self.amounts[0] += self.garbage
        self.garbage = 0
        return True


class Once:
    """A lock of one thread: whoever takes it twice would wait for itself."""

    def __init__(self):
        self.taken = False

    def acquire(self, _wait):
        assert not self.taken
        self.taken = True
        return True

    def release(self):
        assert self.taken
        self.taken = False


class FakeNeeds:
    """Stands in for what learns how much memory operations need: counts those in place."""

    def __init__(self):
        self.running = 0

    def began(self, op):
        self.running += 1

    def ended(self, op):
        self.running -= 1


class Desk:
    """All of it; `events` is what was posted."""

    def __init__(self, max_operations=2):
        self.ticks = FakeTicks()
        self.clock = Clock(self.ticks.ticks_ms, self.ticks.ticks_diff)
        self.supply = FakeSupply()
        self.events = []
        self.lock = Once()
        self.ledger = Ledger(self.supply, self.clock, self.lock, self)
        self.in_loop = True
        self.needs = FakeNeeds()
        self.operations = Operations(
            self.clock,
            self.lock,
            self.ledger,
            self,
            max_operations,
            300_000,
            lambda: self.in_loop,
            self.needs,
        )
        self.sessions = Sessions(self.clock, self.lock, self, self.ledger, self.operations)

    def put(self, kind, subject=None, detail=None, value=None):
        assert self.lock.taken
        self.events.append((kind, subject, detail))

    def post(self, kind, subject=None, detail=None, value=None):
        assert not self.lock.taken
        self.events.append((kind, subject, detail))

    def pass_ms(self, ms):
        self.ticks.pass_ms(ms)
        self.clock.advance()
        self.ledger.expire()
        self.operations.tick()
        self.sessions.tick()


class Shown(list):
    """A table that notes which attributes a row has when others can first see it.

    One that came later would move the others while another thread reads them: see `Operation`.
    """

    def __init__(self, table):
        super().__init__(table)
        self.first = {}

    def __setitem__(self, row, entry):
        super().__setitem__(row, entry)
        if entry is not None:
            self.first[entry] = set(entry.__dict__)

    def grown(self):
        return [set(entry.__dict__) - names for entry, names in self.first.items()]
