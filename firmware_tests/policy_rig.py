"""The parts that decide, joined, over a made-up supply and a clock that is set by hand."""

from rig import FakeTicks
from usual import new_lease, new_operation
from warden.policy.events import Events
from warden.policy.policy import Policy
from warden.policy_setup import make_leases, make_operations, make_sessions
from warden.sensors.threads import get_ident
from warden.setup import make_clock

WAITING, ACTIVE, STOPPING, OVERDUE, ADMITTING, ENDED = range(6)  # states of an operation


class FakeSupply:
    """Stands in for what a board has, and its memory: amounts by kind, the reserve taken off."""

    total = 166_600  # of memory; less the reserve, 150 000

    def __init__(self):
        self.amounts = [100_000, 1_000_000, 900, 50_000]
        self.largest = self.largest_clean = None  # now, and after a collection
        self.garbage = 0  # what a collection would free
        self.collections = 0

    def available(self, kind, mount):
        if kind == 1 and mount not in ("/", "/sd"):
            return 0
        return self.amounts[kind]

    def block(self):
        return self.largest

    def collect_in_ms(self, pause):
        return 0

    def collect(self, pause):
        self.collections += 1
        self.largest = self.largest_clean or self.largest
        self.amounts[0] += self.garbage
        self.garbage = 0
        return True


class OnceLock:
    """A lock of one thread: whoever takes it twice would wait for itself."""

    def __init__(self):
        self.taken = False

    def __enter__(self):
        assert not self.taken
        self.taken = True

    def __exit__(self, kind, error, trace):
        assert self.taken
        self.taken = False
        return False


class FakeEvents:
    """Stands in for the ring: keeps what was posted, as (kind, subject, detail).

    As the ring does, add() requires that the caller has the lock, and post() that it does not.
    """

    call = Events.call
    deny = Events.deny
    report = Events.report

    def __init__(self, clock, lock):
        self.clock = clock
        self.posted = []
        self.lock = lock

    def add(self, kind, subject=None, detail=None, value=None):
        assert self.lock.taken
        self.posted.append((kind, subject, detail))

    def post(self, kind, subject=None, detail=None, value=None):
        with self.lock:
            self.add(kind, subject, detail, value)


class FakePressure:
    """Stands in for what refuses while something is critical: nothing is, but it is asked."""

    level = 1

    def refuses(self, priority):
        return False

    def admit(self, priority, amount=None):
        pass


class FakeAgent:
    """What operations need of an agent: the clock, asyncio's tasks, and waiting."""

    def __init__(self, ticks):
        self.ticks = ticks
        self.clock = make_clock(ticks)
        self.load = self.board = self
        self.thread = get_ident()  # the one that runs the event loop
        self.core = None
        self.poll = None  # called while a plain operation waits

    def sleep_ms(self, ms):
        self.ticks.pass_ms(ms)


class PolicyRig:
    """All of it, in the place of Policy; `posted` are the events."""

    set_limits = Policy.set_limits
    limits = Policy.limits

    def __init__(self, max_operations=2):
        self.ticks = FakeTicks()
        self.agent = agent = FakeAgent(self.ticks)
        self.clock = agent.clock
        self.supply = self.memory = FakeSupply()
        self.lock = OnceLock()
        self.events = FakeEvents(self.clock, self.lock)
        self.posted = self.events.posted
        self.profile = None  # nothing is learned
        self.pressure = FakePressure()
        self.quotas = {}
        self.leases = make_leases(self)
        self.operations = make_operations(self)
        self.sessions = make_sessions(self)
        self.set_limits(max_operations, 300_000, 100, 5000)
        agent.poll = self.run_due

    def mark_dirty(self, row):
        pass

    def available(self, kind, mount):
        return self.supply.available(kind, mount)

    def begin(self, name, *args, task=None, **kwargs):
        """Return an operation that has begun: ACTIVE, or WAITING."""
        return self.operations.begin(new_operation(self.operations, name, *args, **kwargs), task)

    def allocate(self, *args, **kwargs):
        return new_lease(self.leases, *args, **kwargs)

    def run_due(self):
        """Do what time brings, as Policy does."""
        self.clock.advance()
        self.leases.run_due()
        self.operations.run_due()
        self.sessions.run_due()

    def pass_ms(self, ms):
        self.ticks.pass_ms(ms)
        self.run_due()


class WatchedRows(list):
    """A table's rows, which note what attributes an entry has when others can first see it.

    One that came later would move the others while another thread reads them: see `Operation`.
    """

    def __init__(self, rows):
        super().__init__(rows)
        self.first = {}

    def __setitem__(self, row, entry):
        super().__setitem__(row, entry)
        if entry is not None:
            self.first[entry] = set(entry.__dict__)

    def grown(self):
        return [set(entry.__dict__) - names for entry, names in self.first.items()]
