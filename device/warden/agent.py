"""The agent: the one place where the parts are made and joined, and the one order of a turn.

listen → enforce → sample → send. Nothing that a host sends changes whether the middle two are done.
"""

from micropython import const, heap_lock, heap_unlock

from warden.clock import Clock
from warden.governor import Governor
from warden.history import History
from warden.sample import Sample
from warden.sensors.capabilities import Capabilities
from warden.sensors.load import Load
from warden.sensors.memory import Memory
from warden.sensors.network import install_network
from warden.sensors.storage import Storage
from warden.sensors.threads import install_threads, new_lock
from warden.host_session import HostSession
from warden.turn_heap import heap_unlocked
from warden.uplink import Uplink

_BUSY_MS = const(10)  # until a poll is tried again that another thread is at
_SLICE_PAUSE_MS = const(2)  # between two slices of a large heap
_AFTER_FAULT_MS = const(1000)
_MAX_WAIT_MS = const(60_000)
_LATE_SAMPLE_MS = const(1000)  # later than two intervals and so much, and an event says so
_IDLE_POLLS = const(16)  # that calibrate what one costs
_MAX_IDLE_US = const(2000)  # and these: so that nothing exceeds 30 bits
_MAX_IDLE_POLLS = const(500_000)
_STUCK_MS = const(5000)  # no poll takes that long


def _nothing():
    """Release nothing."""


class Agent:
    """Measures, decides and sends; `poll()` does what is due.

    board: what `board.detect()` gives; link: or None; limits: the four of ids.LIMITS_SET, None for
    an agent that only watches.
    """

    def __init__(self, board, interval_ms, budget_permille=10, link=None, limits=None):
        self.board = board
        self.ticks_ms = board.ticks_ms
        self.ticks_us = board.ticks_us
        self.ticks_diff = board.ticks_diff
        self.governor = Governor(interval_ms, budget_permille)
        self.clock = clock = Clock(board)
        self.sample = sample = Sample()
        self.threads = install_threads()
        self.network = install_network()
        self.load = Load(board, self.threads.ident)
        self.memory = Memory(board, clock)
        self.storage = Storage(board, clock)
        self.sensors = (self.load, self.threads, self.network, self.storage, self.memory)
        self.history = History(self.memory.total)
        self.boot_id = board.random_30()
        self.identity = board.identity()
        self.capabilities = Capabilities(self)
        self.faults = 0  # exceptions inside the agent itself
        self.due_s = self.due_ms = 0  # when the next sample is
        self.polling = new_lock()
        self.releases = (_nothing, self.polling.release)  # by whether it was taken
        self.poller = None  # the thread that polls, and
        self.poll_began = 0  # since when, in ticks
        self.polled = board.ticks_ms()  # in ticks, when it ran last
        self.rest_ms = 0  # from then on nothing is due,
        self.listen_ms = 0  # and the link is not read: a host has had its share
        self.idle_polls = 0
        self.idle_us = 0  # what so many as _IDLE_POLLS cost
        self.link = link
        self.policy = self.session = self.uplink = None
        if link is not None:
            self.uplink = Uplink(link)
            self.session = HostSession(self)
        if limits is not None:
            from warden.policy.policy import Policy

            self.policy = Policy(self, limits)
        self.run(self.polled)  # so that there are figures from the first moment; it may allocate
        # Polls that find nothing to do do not time themselves.
        began = board.ticks_us()
        for _ in range(_IDLE_POLLS):
            self.poll()
        if self.idle_polls == _IDLE_POLLS:
            self.idle_us = min(board.ticks_diff(board.ticks_us(), began), _MAX_IDLE_US)
        self.governor.spent_us = self.governor.sample_us = 0

    def close(self):
        """Leave everything as it was found."""
        self.stop_monitoring()
        self.load.detach()
        if self.link is not None:
            self.link.close()

    # A call whose variables, and what is on its stack, are more than eleven words takes a block of
    # the heap for them (py/objfun.c, VM_MAX_STATE_ON_STACK), unless that is locked: poll() is not
    # larger, and locks it for all the others.

    def poll(self):
        """Do what is due; return the milliseconds until there is more.

        Never raises, never waits, allocates nothing in steady state. Mostly nothing is due, which
        is found out before a lock is taken or time is measured.
        """
        now = self.ticks_ms()
        passed = self.ticks_diff(now, self.polled)
        if passed < self.rest_ms and not self.clock.wake:
            if passed < self.listen_ms or self.link is None or not self.link.readable():
                self.idle_polls += 1
                return self.rest_ms - passed
        heap_lock()
        try:
            passed = self.turn(now)
        finally:
            heap_unlock()
        if self.policy is not None:
            self.deliver()
        return passed

    def deliver(self):
        """Let the application's own code hear of what happened."""
        try:
            self.policy.deliver()
        except Exception:
            self.faults += 1

    def turn(self, now):
        """Take a turn, if no other thread is at it; return the ms until the next one.

        now: in ticks; with the heap locked.
        """
        began = self.ticks_us()
        left = _AFTER_FAULT_MS
        taken = self.polling.acquire(0)
        try:
            if not taken:
                # Has another thread got it, or did Ctrl-C leave it locked in this one?
                if (
                    self.poller != self.threads.ident()
                    or heap_unlocked.is_open
                    or self.ticks_diff(now, self.poll_began) < _STUCK_MS
                ):
                    return _BUSY_MS
                taken = True
            heap_unlocked.in_turn = True
            self.poller = self.threads.ident()
            self.poll_began = now
            left = self.run(now)
        except Exception:
            self.faults += 1
        finally:  # no jump comes before the release: at one, Ctrl-C may come
            heap_unlocked.in_turn &= not taken
            self.releases[taken]()
        self.rest_ms = left
        self.governor.spent_us += self.ticks_diff(self.ticks_us(), began)
        return left

    def run(self, now):
        """Listen, enforce, sample, send; return the ms until there is more.

        now: in ticks; with the lock of turns held.
        """
        clock = self.clock
        governor = self.governor
        memory = self.memory
        session = self.session
        clock.advance()
        clock.wake = False
        governor.refill_host(self.ticks_diff(now, self.polled))
        self.polled = now
        self.rest_ms = 0  # should this fail
        left = _MAX_WAIT_MS
        began = self.ticks_us()
        if session is not None:
            if governor.host_us > 0:
                session.process_input()
                governor.charge_host(self.ticks_diff(self.ticks_us(), began))
            self.listen_ms = governor.host_wait_ms()
            left = self.listen_ms or left
        if self.policy is not None:
            if self.policy.is_due():
                with heap_unlocked:
                    self.policy.run_due()
            left = min(left, max(0, clock.left_ms(clock.next_s, clock.next_ms)))
        began = self.ticks_us()
        sampled = False
        if governor.interval_ms:
            until = clock.left_ms(self.due_s, self.due_ms)
            if until <= 0:
                if memory.scan():
                    sampled = True
                    until = self.take_sample(-until)
                else:
                    until = _SLICE_PAUSE_MS
            left = min(left, until)
        if session is not None:
            # Rows wait for a turn without a sample, and while a host has had its share.
            until = session.pump(not sampled and governor.host_us > 0)
            if until is not None:
                left = min(left, max(until, governor.host_wait_ms()))
        took = self.ticks_diff(self.ticks_us(), began)
        if sampled:
            # Collections and scans of the storage have budgets of their own.
            governor.sample_us += took - memory.spent_us - self.storage.spent_us
            memory.spent_us = 0
        else:
            governor.charge_host(took)
        return left

    def take_sample(self, late_ms):
        """Read every sensor, file the figures, evaluate them, have them sent.

        late_ms: for how long it has been due. Return the ms until the next one is.
        """
        clock = self.clock
        sample = self.sample
        governor = self.governor
        session = self.session
        sample.period_ms = -clock.left_ms(sample.uptime_s, sample.uptime_ms)
        sample.uptime_s = clock.s
        sample.uptime_ms = clock.ms
        sample.faults = self.faults
        interval_ms = governor.interval_ms
        governor.spent_us += min(self.idle_polls, _MAX_IDLE_POLLS) * self.idle_us // _IDLE_POLLS
        self.idle_polls = 0
        governor.read(sample, None if session is None else self.uplink.sent)
        changed = False
        for sensor in self.sensors:
            if sensor.read(sample):
                changed = True
        self.history.add(sample)
        if self.policy is not None:
            self.policy.evaluate(sample.period_ms)
            if late_ms > interval_ms + _LATE_SAMPLE_MS:
                self.policy.events.post("agent", None, "late", late_ms)
        if session is not None:
            session.on_sample(changed)
        # The next one is due an interval after this one was; those that are past are left out.
        wait_ms = governor.interval_ms
        if self.policy is not None and self.policy.pressure.level:
            wait_ms = min(wait_ms, governor.wanted_ms)  # to look in time matters more than a budget
        wait_ms -= late_ms % wait_ms
        ms = clock.ms + wait_ms
        self.due_s = clock.s + ms // 1000
        self.due_ms = ms % 1000
        return wait_ms

    def start_monitoring(self, interval_ms, budget_permille=None):
        """Sample every interval_ms (20 to 600 000) from now on, within a budget; return the former.

        budget_permille: 1 to 1000, None: as it is. ValueError or TypeError for what makes no sense.
        """
        self.governor.set(interval_ms, budget_permille)
        self.clock.advance()
        self.due_s = self.clock.s
        self.due_ms = self.clock.ms
        self.clock.wake = True
        return interval_ms

    def stop_monitoring(self):
        """Take no more samples; the link goes on, and the last sample says so."""
        self.governor.wanted_ms = self.governor.interval_ms = 0
        self.sample.interval_ms = self.sample.wanted_interval_ms = 0
        if self.session is not None:
            self.session.on_sample(False)
