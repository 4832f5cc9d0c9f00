"""The agent: the one place where the parts are made and joined, and the one order of a turn.

listen → enforce → sample → send. Nothing that a host sends changes whether the middle two are done.
"""

from micropython import const

from warden.clock import Clock
from warden.governor import Governor
from warden.history import History
from warden.sample import Sample
from warden.sensors.capabilities import Capabilities
from warden.sensors.load import Load
from warden.sensors.memory import Memory
from warden.sensors.network import install_network
from warden.sensors.storage import Storage
from warden.sensors.threads import import_lock, install_threads, new_lock
from warden.host_session import HostSession
from warden.tables import HelloTable, SampleTable, StorageTable
from warden.uplink import Uplink

_BUSY_MS = const(10)  # until a poll is tried again that another thread is at
_SLICE_PAUSE_MS = const(2)  # between two slices of a large heap
_AFTER_FAULT_MS = const(1000)
_MAX_WAIT_MS = const(60_000)
_LATE_MS = const(1000)  # beyond two intervals, after which a sample that is late makes an event
_IDLE_POLLS = const(16)  # that calibrate what one costs
_MAX_IDLE_US = const(2000)  # and these: so that nothing exceeds 30 bits
_MAX_IDLE_POLLS = const(500_000)
_STUCK_MS = const(5000)


def _never():
    """Stand for a link's readable() where there is no link."""
    return False


def _always():
    """Stand for the readable() of a link that cannot tell."""
    return True


class Agent:
    """Measures, decides and sends; `poll()` does what is due.

    board: what `board.detect()` gives; link: or None; limits: the four of ids.LIMITS_SET, None for
    an agent that only watches.
    """

    def __init__(self, board, interval_ms, budget_permille=10, link=None, limits=None):
        self.board = board
        self._ticks_ms = board.ticks_ms
        self._ticks_us = board.ticks_us
        self._ticks_diff = board.ticks_diff
        self._polling = new_lock()
        self.governor = Governor(interval_ms, budget_permille)
        self.clock = clock = Clock(board)
        self.sample = sample = Sample()
        self.threads = install_threads()
        self.network = install_network()
        self.load = Load(board, self.threads.ident)
        self.memory = Memory(board, clock)
        self.storage = Storage(board, clock)
        self._sensors = (self.load, self.threads, self.network, self.storage, self.memory)
        self.history = History(self.memory.total)
        self.boot_id = board.random_30()
        self.identity = board.identity()
        self.capabilities = Capabilities(self)
        self.faults = 0  # exceptions inside the agent itself
        self._due_s = self._due_ms = 0  # when the next sample is
        self._polled = board.ticks_ms()  # in ticks, when it ran last
        self._rest_ms = 0  # from then on nothing is due,
        self._listen_ms = 0  # and the link is not read
        self._poller = None  # the thread that polls, and
        self._poll_began = 0  # since when
        self._idle_polls = 0
        self._idle_us = 0  # what so many as _IDLE_POLLS cost
        self.policy = None
        self.link = link
        self.session = self.uplink = None
        self._readable = _never
        if link is not None:
            self._open_session(link)
        if limits is not None:
            from warden.policy.policy import Policy

            self.policy = Policy(self, limits)
            if self.session is not None:
                self.session.tables += self.policy.tables
        self.poll()  # so that there are figures from the first moment
        self.governor.spent_us = self.governor.sample_us = 0  # later ones find all of it made
        self._calibrate()

    def _open_session(self, link):
        clock = self.clock
        self.uplink = Uplink(link)
        self._hello_table = HelloTable(clock, self.boot_id, self.identity, self.capabilities)
        self._storage_table = StorageTable(clock, self.storage)
        self.session = HostSession(
            self.uplink,
            clock,
            self.sample,
            SampleTable(clock, self.sample),
            [self._hello_table, self._storage_table],
            self._find_handler,
            self._on_host,
        )
        self._readable = getattr(link, "readable", _always)

    def _find_handler(self, operation):
        """Return what carries out a host's request; loaded at the first one."""
        with import_lock:
            from warden.requests import RequestHandlers
        self.session.find_handler = RequestHandlers(self).find
        return self.session.find_handler(operation)

    def _on_host(self, host_id, how):
        if self.policy is not None:
            self.policy.on_host(host_id, how)

    def close(self):
        """Leave everything as it was found."""
        self.stop_monitoring()
        self.load.detach()
        if self.link is not None:
            self.link.close()

    # --- a turn ---------------------------------------------------------------------------------

    def poll(self):
        """Do what is due; return the milliseconds until there is more.

        Never raises, never waits, allocates nothing in steady state. Mostly nothing is due, which
        is found out before a lock is taken or time is measured.
        """
        now = self._ticks_ms()
        passed = self._ticks_diff(now, self._polled)
        if passed < self._rest_ms and not self.clock.wake:
            if passed < self._listen_ms or not self._readable():
                self._idle_polls += 1
                return self._rest_ms - passed
        began = self._ticks_us()
        taken = False
        left = _AFTER_FAULT_MS
        try:
            taken = self._polling.acquire(0)
            if not taken:
                if not self._is_stuck(now):
                    return _BUSY_MS
                taken = True
            self._poller = self.threads.ident()
            self._poll_began = now
            left = self._run(now)
        except Exception:
            self.faults += 1
            self.sample.faults = self.faults
        finally:  # Ctrl-C, too
            if taken:
                self._rest_ms = left
                self.governor.spent_us += self._ticks_diff(self._ticks_us(), began)
                self._polling.release()
        if self.policy is not None:
            self._deliver()
        return left

    def _is_stuck(self, now):
        """Tell whether Ctrl-C left this thread's poll locked: no poll takes that long."""
        passed = self._ticks_diff(now, self._poll_began)
        return self._poller == self.threads.ident() and passed > _STUCK_MS

    def _run(self, now):
        """Listen, enforce, sample, send; return the ms until there is more."""
        clock = self.clock
        governor = self.governor
        memory = self.memory
        clock.advance()
        clock.wake = False
        governor.refill_host(self._ticks_diff(now, self._polled))
        self._polled = now
        self._rest_ms = 0  # should this fail
        left = _MAX_WAIT_MS
        if self.session is not None:
            left = self._listen()
        if self.policy is not None:
            left = min(left, self.policy.run_due())
        began = self._ticks_us()
        sampled = False
        if governor.interval_ms:
            until = clock.left_ms(self._due_s, self._due_ms)
            if until <= 0:
                if memory.scan():
                    self._take_sample(-until)
                    sampled = True
                    until = clock.left_ms(self._due_s, self._due_ms)
                else:
                    until = _SLICE_PAUSE_MS
            left = min(left, max(0, until))
        if self.session is not None:
            # Rows wait for a turn without a sample, and while a host has had its share.
            until = self.session.pump(not sampled and governor.host_us > 0)
            if until is not None:
                left = min(left, max(until, governor.host_wait_ms()))
        took = self._ticks_diff(self._ticks_us(), began)
        if sampled:
            # Collections and scans of the storage have budgets of their own.
            governor.sample_us += took - memory.spent_us - self.storage.spent_us
            memory.spent_us = 0
        else:
            governor.charge_host(took)
        return left

    def _listen(self):
        """Read the link, unless a host has had its share; return the ms until it is read again."""
        governor = self.governor
        if governor.host_us > 0:
            began = self._ticks_us()
            self.session.process_input()
            governor.charge_host(self._ticks_diff(self._ticks_us(), began))
        self._listen_ms = governor.host_wait_ms()
        return self._listen_ms or _MAX_WAIT_MS

    def is_throttled(self):
        """Tell whether a host has had its share of the core."""
        return self._listen_ms > 0

    def describe(self):
        """Return who the board is, as status() has it."""
        machine, firmware, port, unique_id, reset_cause, version = self.identity
        return {
            "machine": machine,
            "firmware": firmware,
            "port": port,
            "unique_id": unique_id,
            "boot_id": self.boot_id,
            "reset_cause": reset_cause,
            "agent": version,
        }

    def age_ms(self):
        """Return how old the newest sample is, in milliseconds."""
        self.clock.advance()
        return -self.clock.left_ms(self.sample.uptime_s, self.sample.uptime_ms)

    def late_ms(self):
        """Return the milliseconds since something is due that nobody has polled for."""
        return self._ticks_diff(self._ticks_ms(), self._polled) - self._rest_ms

    def _deliver(self):
        """Let the application's own code hear of what happened."""
        try:
            self.policy.deliver()
        except Exception:
            self.faults += 1
            self.sample.faults = self.faults

    def _calibrate(self):
        """Find out what polls cost that find nothing to do: they do not time themselves."""
        began = self._ticks_us()
        for _ in range(_IDLE_POLLS):
            self.poll()
        took = self._ticks_diff(self._ticks_us(), began)
        if self._idle_polls == _IDLE_POLLS:
            self._idle_us = min(took, _MAX_IDLE_US)

    def _take_sample(self, late_ms):
        """Have every sensor read, file the figures, evaluate them, have them sent."""
        clock = self.clock
        sample = self.sample
        governor = self.governor
        sample.period_ms = -clock.left_ms(sample.uptime_s, sample.uptime_ms)
        sample.uptime_s = clock.s
        sample.uptime_ms = clock.ms
        idle_polls = min(self._idle_polls, _MAX_IDLE_POLLS)
        governor.spent_us += idle_polls * self._idle_us // _IDLE_POLLS
        self._idle_polls = 0
        interval_ms = governor.interval_ms
        governor.read(sample, None if self.uplink is None else self.uplink.sent)
        changed = False
        for sensor in self._sensors:
            if sensor.read(sample):
                changed = True
        self.history.add(sample)
        if self.policy is not None:
            self.policy.evaluate(sample.period_ms)
        # The next one is due an interval after this one was; those that are past are left out.
        wait_ms = governor.interval_ms
        clock_ms = clock.ms + wait_ms - late_ms % wait_ms
        self._due_s = clock.s + clock_ms // 1000
        self._due_ms = clock_ms % 1000
        if self.policy is not None and late_ms > interval_ms + _LATE_MS and interval_ms:
            self.policy.events.post("agent", None, "late", late_ms)
        if self.session is not None:
            self.session.on_sample()
            if self.storage.changed_rows:
                self._storage_table.mark_changed(self.storage.changed_rows)
            if changed and self.capabilities.update():
                self._hello_table.mark_dirty(0)

    # --- what may be asked of it ----------------------------------------------------------------

    def start_monitoring(self, interval_ms, budget_permille=None):
        """Sample every interval_ms (20 to 600 000) from now on, within a budget; return the former.

        budget_permille: 1 to 1000, None: as it is. ValueError or TypeError for what makes no sense.
        """
        self.governor.set(interval_ms, budget_permille)
        self.clock.advance()
        self._due_s = self.clock.s
        self._due_ms = self.clock.ms
        self.clock.wake = True
        return interval_ms

    def stop_monitoring(self):
        """Take no more samples; the link goes on, and the last sample says so."""
        self.governor.wanted_ms = self.governor.interval_ms = 0
        self.sample.interval_ms = self.sample.wanted_interval_ms = 0
        if self.session is not None:
            self.session.on_sample()
